// Pictures side by side in one.
#pragma once

#include <span>

#include "lowrank/data/images/picture.h"

namespace lowrank::data {

/// Cells of `cell` size ({0, 0}: the largest picture's sides), `columns` a row, `gap` dark pixels around each; pictures lie in the middle
/// of their cells. Error{invalid_argument} for a picture that is larger than its cell.
Picture picture_grid(std::span<const Picture> pictures, int64_t columns, int64_t gap, Size cell = {});

}  // namespace lowrank::data
