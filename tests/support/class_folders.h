// Folders of little pictures that a small vision transformer learns in seconds: the class is the colour of a square somewhere on noise.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lowrank/base/random.h"
#include "lowrank/data/images/picture.h"

namespace lowrank::test {

inline const std::vector<std::string> kColours = {"blue", "green", "red"};

inline data::Picture coloured_square(size_t label, uint64_t item, int64_t side = 20) {
  RandomStream stream(3, "coloured square", label, item);
  data::Picture picture{{side, side}, std::vector<uint8_t>(static_cast<size_t>(3 * side * side)), {}, {}};
  for (auto& value : picture.rgb) value = static_cast<uint8_t>(stream.below(120));
  const auto half = side / 2, left = static_cast<int64_t>(stream.below(static_cast<uint64_t>(half)));
  for (int64_t y = half / 2; y < half / 2 + half; ++y) {
    for (int64_t x = left; x < left + half; ++x) picture.rgb[static_cast<size_t>(3 * (y * side + x)) + 2 - label] = 255;
  }
  return picture;
}

/// `each` pictures in each of folder/blue, folder/green, folder/red, from number `first` on.
inline void write_class_folders(const std::filesystem::path& folder, int64_t each, int64_t first = 0) {
  for (size_t label = 0; label < kColours.size(); ++label) {
    std::filesystem::create_directories(folder / kColours[label]);
    for (int64_t i = first; i < first + each; ++i) {
      data::write_png(folder / kColours[label] / ("p" + std::to_string(i) + ".png"), coloured_square(label, static_cast<uint64_t>(i)));
    }
  }
}

}  // namespace lowrank::test
