// How long captions become in training, found before it begins: what the text windows cannot hold is named, not cut in silence.
#pragma once

#include <functional>
#include <span>

#include "lowrank/data/images/image_set.h"

namespace lowrank::train {

/// Whether a picture's caption differs from one showing to the next, beyond being left out.
bool captions_vary(const data::CaptionOptions& options);

/// How a caption is made: without the trigger word for prior pictures, which show the kind and not the subject.
data::CaptionOptions caption_options(const data::ImageSample& sample, const data::CaptionOptions& options);

struct CaptionRun {
  int64_t epochs = 1;  // 0: captions are plain, as in validation
  uint64_t seed = 0;
  std::function<int64_t(const std::string&)> count;  // tokens of a text
};

/// Most tokens that the caption of each of `pictures` has in the run, in their order.
std::vector<data::NamedFigure> longest_captions(const data::ImageSet& set, std::span<const int64_t> pictures,
                                                const data::CaptionOptions& options, const CaptionRun& run);

}  // namespace lowrank::train
