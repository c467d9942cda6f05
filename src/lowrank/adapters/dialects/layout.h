// The names of a diffusion model's layers: diffusers' paths, the original (sgm, ldm) names beside them, and their sizes. Files that
// join names with "_" cannot be split again, so a reader looks names up in a table that is built forward from these lists.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lowrank/adapters/dialects/record.h"

namespace lowrank::adapters {

/// One layer. columns: I, of a convolution I · kh · kw. kernel: 0 linear, k a k×k convolution.
struct KnownModule {
  std::string component, path;
  int64_t out = 0, columns = 0, kernel = 0;
};

struct ModelLayout {
  std::string name;   // "sd15", "sdxl", or where a given model was read from
  std::string title;  // "Stable Diffusion 1.5"
  std::vector<KnownModule> modules;

  const KnownModule* find(const std::string& component, const std::string& path) const;
};

/// A UNet2DConditionModel with two ResNet blocks a level: what its layers' names and sizes follow from.
struct UnetPlan {
  std::vector<int64_t> channels;  // a level
  std::vector<int> depth;         // transformer blocks of a level's attention; 0: no attention there
  int mid_depth = 1;
  int64_t context = 768;           // width of the text states
  int64_t added = 0;               // width of the added condition (SDXL: 2816); 0: none
  bool linear_projection = false;  // proj_in and proj_out: linear, or 1×1 convolutions
};
std::vector<KnownModule> unet_modules(const UnetPlan& plan);

/// CLIP's text model under `component`.
std::vector<KnownModule> clip_modules(const std::string& component, int layers, int64_t width, int64_t projection);

const ModelLayout& sd15_layout();
const ModelLayout& sdxl_layout();

/// The original (sgm) names of the layout's UNet paths, numbered as the layout's own names say; a path without one is its own.
std::map<std::string, std::string> original_unet_names(const ModelLayout& layout);  // path → name

/// From "_"-joined names, diffusers' or sgm's, with or without CLIP's "text_model.", to layers. Ambiguous names are an
/// Error{internal}.
class NameTable {
 public:
  explicit NameTable(const std::vector<const ModelLayout*>& layouts);
  /// nullptr when no layer has this name.
  const KnownModule* find(const std::string& component, const std::string& joined) const;

 private:
  void add(const std::string& component, const std::string& name, const KnownModule& module);
  std::map<std::pair<std::string, std::string>, KnownModule> table_;
};

std::string joined(std::string path);  // "." → "_"

/// Which built-in model an adapter was made for, by the layers' names and sizes.
struct Fit {
  const ModelLayout* layout = nullptr;
  std::vector<std::string> absent;     // modules that the model lacks
  std::vector<std::string> misshapen;  // "unet.…: the file has 320 x 2048, the model 320 x 768"
  bool fits() const { return absent.empty() && misshapen.empty(); }
};
Fit fit(const AdapterRecord& record, const ModelLayout& layout);
/// The model family whose naming an adapter follows: by what fits, else by layers that only SDXL has, else by its metadata.
enum class Family { sd15, sdxl, unknown };
Family family_of(const AdapterRecord& record);
/// "sd15", "sdxl", "unknown".
std::string_view to_string(Family family);
/// The built-in layout that fits, else nullptr.
const ModelLayout* guess_layout(const AdapterRecord& record);
/// 0 for a linear layer, k for a k×k convolution: by the tensors, else by `layout` (nullptr: the family's built-in one), else by name.
int64_t kernel_of(const ModuleRecord& module, const ModelLayout* layout, Family family);
/// Throws Error{shape} saying which model the adapter fits when it does not fit `layout`.
void check_fit(const AdapterRecord& record, const ModelLayout& layout, std::string_view where);

}  // namespace lowrank::adapters
