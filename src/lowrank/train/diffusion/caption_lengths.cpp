#include "lowrank/train/diffusion/caption_lengths.h"

#include <algorithm>

namespace lowrank::train {

bool captions_vary(const data::CaptionOptions& options) { return options.shuffle || options.tag_dropout > 0 || options.lines == "random"; }

data::CaptionOptions caption_options(const data::ImageSample& sample, const data::CaptionOptions& options) {
  data::CaptionOptions own = options;
  if (sample.is_prior) own.trigger.clear();
  return own;
}

std::vector<data::NamedFigure> longest_captions(const data::ImageSet& set, std::span<const int64_t> pictures,
                                                const data::CaptionOptions& options, const CaptionRun& run) {
  std::vector<data::NamedFigure> lengths;
  for (const int64_t picture : pictures) {
    const data::ImageSample& sample = set.entries[static_cast<size_t>(picture)].sample;
    const data::CaptionOptions own = caption_options(sample, options);
    int64_t most = 0;
    for (int64_t epoch = 0; captions_vary(own) && epoch < run.epochs; ++epoch) {
      for (int64_t repeat = 0; repeat < sample.repeats; ++repeat) {
        const uint64_t draw = data::Draw{picture, repeat}.item();
        most = std::max(most, run.count(data::process_caption(sample.caption, own, run.seed, epoch, draw)));
      }
    }
    if (!captions_vary(own) || run.epochs == 0) most = run.count(data::plain_caption(sample.caption, own));
    lengths.push_back({sample.name, static_cast<double>(most)});
  }
  return lengths;
}

}  // namespace lowrank::train
