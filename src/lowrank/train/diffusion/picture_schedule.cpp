#include "lowrank/train/diffusion/picture_schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "lowrank/base/random.h"

namespace lowrank::train {

namespace {

/// Hashes of the pictures that are held out.
std::set<std::string> choose(const data::ImageSet& set, double fraction, uint64_t seed) {
  std::map<uint64_t, std::string> order;
  for (const auto& entry : set.entries) {
    uint64_t number = 0;
    std::from_chars(entry.content_hash.data(), entry.content_hash.data() + 16, number, 16);
    if (!entry.sample.is_prior) order[RandomStream(seed, "held-out pictures", 0, number).next_u64()] = entry.content_hash;
  }
  const auto count = static_cast<size_t>(std::llround(fraction * static_cast<double>(order.size())));
  std::set<std::string> chosen;
  for (auto it = order.begin(); chosen.size() < count && it != order.end(); ++it) chosen.insert(it->second);
  return chosen;
}

}  // namespace

PictureSchedule::PictureSchedule(const data::ImageSet& set, double fraction, const TrainOptions& options)
    : set_(set), batch_size_(options.batch_size) {
  const auto seed = static_cast<uint64_t>(options.seed);
  const std::set<std::string> chosen = choose(set, fraction, seed);
  std::vector<data::Size> buckets;
  std::vector<int64_t> repeats;
  for (int64_t i = 0; i < set.size(); ++i) {
    const auto& entry = set.entries[static_cast<size_t>(i)];
    if (!entry.sample.is_prior && chosen.contains(entry.content_hash)) {
      held_out_.push_back(i);
      continue;
    }
    shown_.push_back(i);
    buckets.push_back(entry.placement.bucket);
    repeats.push_back(entry.sample.repeats);
  }
  const int64_t step = options.batch_size * options.gradient_accumulation;
  batcher_.emplace(buckets, repeats, data::ImageBatchOptions{.batch_size = step, .seed = seed});
}

std::vector<Pass> PictureSchedule::passes(int64_t step) const {
  const data::ImageBatch batch = batcher_->batch(step / steps_per_epoch(), step % steps_per_epoch());
  std::vector<Pass> passes;
  for (size_t i = 0; i < batch.draws.size(); ++i) {
    if (static_cast<int64_t>(i) % batch_size_ == 0) passes.emplace_back();
    const data::Draw draw{shown_[static_cast<size_t>(batch.draws[i].picture)], batch.draws[i].repeat};
    passes.back().items.push_back(static_cast<int64_t>(draw.item()));
    passes.back().weight += 1;
    ++passes.back().units;
  }
  return passes;
}

PictureSchedule::LargestPass PictureSchedule::largest_pass() const {
  const auto entry = [this](int64_t i) -> const data::ImageEntry& { return set_.entries[static_cast<size_t>(i)]; };
  const int64_t largest = *std::ranges::max_element(shown_, {}, [&](int64_t i) { return entry(i).placement.bucket.area(); });
  LargestPass pass{entry(largest).placement.bucket, 0};
  for (const int64_t i : shown_) {
    if (entry(i).placement.bucket == pass.size) pass.pictures += entry(i).sample.repeats;
  }
  pass.pictures = std::min(pass.pictures, batch_size_);
  return pass;
}

}  // namespace lowrank::train
