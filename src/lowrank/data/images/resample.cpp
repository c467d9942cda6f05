#include "lowrank/data/images/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

/// The source samples that make one output sample, and their weights (sum 1).
struct Taps {
  int64_t first = 0;
  std::vector<double> weights;
};

double sinc(double x) { return x == 0 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x); }

double lanczos(double x) { return std::abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0; }

Taps area_taps(int64_t at, double scale, int64_t length) {
  const double begin = static_cast<double>(at) * scale, end = std::min(begin + scale, static_cast<double>(length));
  Taps taps{static_cast<int64_t>(begin), {}};
  for (int64_t i = taps.first; i < length && static_cast<double>(i) < end; ++i) {
    const double share = std::min(end, static_cast<double>(i + 1)) - std::max(begin, static_cast<double>(i));
    taps.weights.push_back(std::max(share, 0.0));
  }
  return taps;
}

Taps lanczos_taps(int64_t at, double scale, int64_t length) {
  const double stretch = std::max(scale, 1.0), centre = (static_cast<double>(at) + 0.5) * scale;
  const auto first = std::max<int64_t>(static_cast<int64_t>(centre - 3 * stretch + 0.5), 0);
  const auto last = std::min(static_cast<int64_t>(centre + 3 * stretch + 0.5), length);
  Taps taps{first, {}};
  for (int64_t i = first; i < last; ++i) taps.weights.push_back(lanczos((static_cast<double>(i) - centre + 0.5) / stretch));
  return taps;
}

std::vector<Taps> all_taps(int64_t from, int64_t to, Filter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  std::vector<Taps> all;
  for (int64_t at = 0; at < to; ++at) {
    Taps taps = filter == Filter::area ? area_taps(at, scale, from) : lanczos_taps(at, scale, from);
    double sum = 0;
    for (const double weight : taps.weights) sum += weight;
    for (double& weight : taps.weights) weight /= sum;
    all.push_back(std::move(taps));
  }
  return all;
}

/// Filters along the middle axis: in [outer, from, inner] -> out [outer, to, inner].
template <class Sample>
std::vector<float> pass(const std::vector<Sample>& in, int64_t from, int64_t to, int64_t inner, Filter filter) {
  if (from == to) return {in.begin(), in.end()};
  const auto taps = all_taps(from, to, filter);
  const auto outer = static_cast<int64_t>(in.size()) / (from * inner);
  std::vector<float> out(static_cast<size_t>(outer * to * inner));
  for (int64_t block = 0; block < outer; ++block) {
    for (int64_t at = 0; at < to; ++at) {
      const Taps& tap = taps[static_cast<size_t>(at)];
      float* target = out.data() + (block * to + at) * inner;
      const Sample* source = in.data() + (block * from + tap.first) * inner;
      for (const double weight : tap.weights) {
        for (int64_t i = 0; i < inner; ++i) target[i] += static_cast<float>(weight) * static_cast<float>(source[i]);
        source += inner;
      }
    }
  }
  return out;
}

uint8_t rounded(float value) { return static_cast<uint8_t>(std::clamp(std::floor(value + 0.5F), 0.0F, 255.0F)); }

}  // namespace

Filter choose_filter(Size from, Size to) { return from.width >= to.width && from.height >= to.height ? Filter::area : Filter::lanczos; }

std::vector<uint8_t> resample(const std::vector<uint8_t>& samples, Size from, Size to, int64_t channels, Filter filter) {
  check(from.area() > 0 && to.width > 0 && to.height > 0 && static_cast<int64_t>(samples.size()) == from.area() * channels,
        ErrorKind::internal, "resample", "expected {} samples of {} channels, got {} to be made {}", to_string(from), channels,
        samples.size(), to_string(to));
  if (from == to) return samples;
  std::vector<float> values = pass(samples, from.width, to.width, channels, filter);
  if (filter == Filter::lanczos) {
    for (float& value : values) value = rounded(value);
  }
  values = pass(values, from.height, to.height, to.width * channels, filter);
  std::vector<uint8_t> out(values.size());
  std::transform(values.begin(), values.end(), out.begin(), rounded);
  return out;
}

}  // namespace lowrank::data
