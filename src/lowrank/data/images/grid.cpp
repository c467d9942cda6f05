#include "lowrank/data/images/grid.h"

#include <algorithm>

#include "lowrank/base/error.h"

namespace lowrank::data {

namespace {

constexpr uint8_t kGround = 40;  // dark grey: neither white nor black pictures melt into it

void paste(const Picture& source, Picture& target, int64_t left, int64_t top) {
  for (int64_t y = 0; y < source.size.height; ++y) {
    const auto row = source.rgb.begin() + y * source.size.width * 3;
    std::copy(row, row + source.size.width * 3, target.rgb.begin() + ((top + y) * target.size.width + left) * 3);
  }
}

}  // namespace

Picture picture_grid(std::span<const Picture> pictures, int64_t columns, int64_t gap, Size cell) {
  check(!pictures.empty() && columns >= 1 && gap >= 0, ErrorKind::invalid_argument, "grid",
        "expected pictures, at least one column and a gap >= 0, got {}, {}, {}", pictures.size(), columns, gap);
  for (const Picture& picture : pictures) {
    if (cell.area() > 0) {
      check(picture.size.width <= cell.width && picture.size.height <= cell.height, ErrorKind::invalid_argument, "grid",
            "expected pictures of at most {}, got {}", to_string(cell), to_string(picture.size));
    }
  }
  if (cell.area() == 0) {
    for (const Picture& picture : pictures) cell = {std::max(cell.width, picture.size.width), std::max(cell.height, picture.size.height)};
  }
  const auto count = static_cast<int64_t>(pictures.size());
  columns = std::min(columns, count);
  const int64_t rows = (count + columns - 1) / columns;
  Picture out;
  out.size = {columns * (cell.width + gap) + gap, rows * (cell.height + gap) + gap};
  out.rgb.assign(static_cast<size_t>(out.size.area() * 3), kGround);
  for (int64_t i = 0; i < count; ++i) {
    const Picture& picture = pictures[static_cast<size_t>(i)];
    paste(picture, out, gap + i % columns * (cell.width + gap) + (cell.width - picture.size.width) / 2,
          gap + i / columns * (cell.height + gap) + (cell.height - picture.size.height) / 2);
  }
  return out;
}

}  // namespace lowrank::data
