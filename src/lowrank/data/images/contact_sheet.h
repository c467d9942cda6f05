// One picture of many: what the network will see, in a grid.
#pragma once

#include <cstdint>

#include "lowrank/data/images/image_set.h"

namespace lowrank::data {

struct SheetOptions {
  int64_t columns = 8, cell = 128, gap = 4;  // cell: the longer side of a thumbnail, in pixels
  int64_t pictures = 400;                    // at most so many, spread evenly over the set
};

struct Sheet {
  Picture picture;
  std::vector<int64_t> entries;  // that are shown, from left to right and top to bottom
};

/// Prepared pictures (cut to their buckets, over their background), scaled into cells; what a mask leaves out is dimmed to a
/// quarter. Throws what ImageSet::prepare throws.
Sheet contact_sheet(const ImageSet& set, const ImageDataOptions& options, const SheetOptions& sheet);

}  // namespace lowrank::data
