#include <ATen/ops/tensor.h>

#include "lowrank/base/error.h"
#include "lowrank/models/config_reader.h"
#include "lowrank/models/image_model.h"
#include "lowrank/tensor/load.h"

namespace lowrank::models {

namespace {

constexpr int64_t kMostResample = 5;

at::Tensor per_channel(const std::array<double, 3>& values, at::Device device) {
  return at::tensor(at::ArrayRef<double>(values), at::kDouble).to(device, at::kFloat).view({3, 1, 1});
}

}  // namespace

ImageProcessor stored_image_processor(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "preprocessor_config.json";
  const Json json = read_json(path);
  check(json.is_object(), ErrorKind::file_format, path.string(), "expected an object");
  ConfigReader reader(json, path.string());
  ImageProcessor processor;
  const auto [height, width] = reader.extent("size");
  processor.height = height;
  processor.width = width;
  processor.resize = reader.flag("do_resize", true);
  processor.resample = reader.integer("resample", processor.resample);
  processor.rescale = reader.number("rescale_factor", processor.rescale);
  processor.mean = reader.three_numbers("image_mean", processor.mean);
  processor.deviation = reader.three_numbers("image_std", processor.deviation);
  if (!reader.flag("do_rescale", true)) processor.rescale = 1.0;
  if (!reader.flag("do_normalize", true)) {
    processor.mean = {0, 0, 0};
    processor.deviation = {1, 1, 1};
  }
  for (const char* key : {"do_center_crop", "do_pad"}) reader.only(key, false);
  for (const char* key : {"crop_size", "pad_size", "size_divisor"}) reader.only(key, Json());
  reader.only("data_format", "channels_first");
  reader.harmless({"image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb", "default_to_square", "device",
                   "disable_grouping", "input_data_format", "return_tensors"});
  reader.finish();
  check(processor.resample <= kMostResample, ErrorKind::unsupported, path.string(), "key 'resample': expected 0 to {}, got {}",
        kMostResample, processor.resample);
  for (const double deviation : processor.deviation) {
    check(deviation > 0, ErrorKind::file_format, path.string(), "key 'image_std': expected numbers over 0, got {}", deviation);
  }
  return processor;
}

Json to_json(const ImageProcessor& processor) {
  return {{"image_processor_type", "ViTImageProcessor"},
          {"do_resize", processor.resize},
          {"size", {{"height", processor.height}, {"width", processor.width}}},
          {"resample", processor.resample},
          {"do_rescale", true},
          {"rescale_factor", processor.rescale},
          {"do_normalize", true},
          {"image_mean", processor.mean},
          {"image_std", processor.deviation}};
}

at::Tensor normalise_pixels(const at::Tensor& pixels, const ImageProcessor& processor) {
  check(pixels.scalar_type() == at::kByte, ErrorKind::invalid_argument, "normalise_pixels", "expected uint8 pixels, got {}",
        at::toString(pixels.scalar_type()));
  check(pixels.dim() == 4 && pixels.size(3) == 3, ErrorKind::shape, "normalise_pixels", "expected [B, height, width, 3], got {}",
        tensor::shape_text(pixels.sizes()));
  const at::Tensor x = pixels.permute({0, 3, 1, 2}).to(at::kFloat, /*non_blocking=*/false, /*copy=*/false, at::MemoryFormat::Contiguous);
  return (x * processor.rescale - per_channel(processor.mean, x.device())) / per_channel(processor.deviation, x.device());
}

}  // namespace lowrank::models
