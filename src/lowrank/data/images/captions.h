// The text a picture is shown with: fixed parts added, then dropped out, shuffled or thinned. kohya's order of steps
// (sd-scripts, library/train_util.py, process_caption), with chances that depend on (seed, epoch, draw) alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lowrank::data {

struct CaptionOptions {
  std::string trigger;               // replaces "[trigger]"; a caption that holds neither gets it in front, never dropped or moved
  std::string prefix, suffix;        // added with a space
  double dropout = 0;                // chance that the whole caption is left out
  int64_t dropout_every_epochs = 0;  // n: every n-th epoch has no captions (epochs 0, n, 2n, …); 0: none
  std::string lines = "first";       // of several lines: the first, or a random one
  std::string separator = ",";
  int64_t keep_tokens = 0;          // parts in front that stay in place
  std::string keep_separator;       // "|||": fixed ||| free ||| fixed; takes the place of keep_tokens where it occurs
  bool shuffle = false;             // the free parts
  double tag_dropout = 0;           // chance that a free part is left out
  std::string secondary_separator;  // becomes `separator` in the end: parts that move as one
};

/// The caption of one draw:
///   1. one line of several (blank ones never), prefix, suffix   2. dropout: ""   3. with shuffle, tag dropout, or a
///   keep_separator in the text: split at `separator`, white space trimmed; fixed parts set aside; free parts shuffled,
///   then thinned; all joined by ", "   4. trigger   5. secondary_separator replaced.
/// Unlike kohya's, the suffix of a caption of several lines is not lost, keep_separator never stays in the text, and a
/// trigger word is there beside any caption.
std::string process_caption(std::string_view caption, const CaptionOptions& options, uint64_t seed, int64_t epoch, uint64_t draw);

/// process_caption without anything random: what the report measures and samples show.
std::string plain_caption(std::string_view caption, const CaptionOptions& options);

}  // namespace lowrank::data
