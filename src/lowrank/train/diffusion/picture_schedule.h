// Which pictures a run shows, in which step and pass, and which it holds out to validate on.
#pragma once

#include <optional>

#include "lowrank/data/images/image_set.h"
#include "lowrank/train/job.h"
#include "lowrank/train/options.h"

namespace lowrank::train {

/// data::Draw::item() read back.
inline data::Draw draw_of(int64_t item) { return {item & ((int64_t{1} << 40) - 1), item >> 40}; }

class PictureSchedule {
 public:
  /// Holds out a share `fraction` of the pictures, chosen by their bytes and options.seed: equal ones go together, prior pictures are
  /// always shown. A step is one batch of one bucket. `set` must outlive this.
  PictureSchedule(const data::ImageSet& set, double fraction, const TrainOptions& options);

  /// Places in the set, ascending.
  const std::vector<int64_t>& shown() const { return shown_; }
  const std::vector<int64_t>& held_out() const { return held_out_; }
  int64_t steps_per_epoch() const { return batcher_->batches_per_epoch(); }
  /// Items are data::Draw::item() of places in the set; a pass has options.batch_size of them at most, and weight 1 for each.
  std::vector<Pass> passes(int64_t step) const;

  struct LargestPass {
    data::Size size;
    int64_t pictures;
  };
  /// The pass of the largest pictures that are shown, for the memory plan.
  LargestPass largest_pass() const;

 private:
  const data::ImageSet& set_;
  int64_t batch_size_;
  std::vector<int64_t> shown_, held_out_;
  std::optional<data::BucketBatcher> batcher_;  // over shown_
};

}  // namespace lowrank::train
