#include "lowrank/data/images/contact_sheet.h"

#include <algorithm>

#include "lowrank/base/error.h"
#include "lowrank/data/images/grid.h"
#include "lowrank/data/images/resample.h"

namespace lowrank::data {

namespace {

/// The prepared pixels, dimmed where the mask is dark.
Picture visible(const PreparedPicture& prepared) {
  Picture picture = prepared.picture;
  for (size_t i = 0; i < prepared.mask.size(); ++i) {
    for (size_t channel = 0; channel < 3; ++channel) {
      uint8_t& value = picture.rgb[3 * i + channel];
      value = static_cast<uint8_t>(value * (85 + prepared.mask[i]) / 340);
    }
  }
  return picture;
}

Picture fit(const Picture& picture, int64_t cell) {
  const int64_t longer = std::max(picture.size.width, picture.size.height);
  const Size size = {std::max<int64_t>(1, picture.size.width * cell / longer), std::max<int64_t>(1, picture.size.height * cell / longer)};
  return {size, resample(picture.rgb, picture.size, size, 3, choose_filter(picture.size, size)), {}, {}};
}

}  // namespace

Sheet contact_sheet(const ImageSet& set, const ImageDataOptions& options, const SheetOptions& sheet) {
  check(sheet.columns >= 1 && sheet.cell >= 8 && sheet.gap >= 0 && sheet.pictures >= 1, ErrorKind::invalid_argument, "contact sheet",
        "expected columns >= 1, cells >= 8 pixels, pictures >= 1, got {}, {}, {}", sheet.columns, sheet.cell, sheet.pictures);
  const int64_t shown = std::min(set.size(), sheet.pictures);
  Sheet out;
  std::vector<Picture> thumbnails;
  for (int64_t i = 0; i < shown; ++i) {
    out.entries.push_back(i * set.size() / shown);
    thumbnails.push_back(fit(visible(set.prepare(out.entries.back(), options, /*mirrored=*/false)), sheet.cell));
  }
  out.picture = picture_grid(thumbnails, sheet.columns, sheet.gap, {sheet.cell, sheet.cell});
  return out;
}

}  // namespace lowrank::data
