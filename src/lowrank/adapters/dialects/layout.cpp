#include "lowrank/adapters/dialects/layout.h"

#include <algorithm>
#include <array>
#include <set>

#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

class UnetBuilder {
 public:
  explicit UnetBuilder(const UnetPlan& plan) : plan_(plan) {}

  std::vector<KnownModule> build() {
    const int64_t first = plan_.channels.front(), last = plan_.channels.back();
    add("conv_in", first, 4, 3);
    linear_pair("time_embedding", first, 4 * first);
    if (plan_.added > 0) linear_pair("add_embedding", plan_.added, 4 * first);
    down_blocks();
    resnet("mid_block.resnets.0", last, last);
    transformer("mid_block.attentions.0", last, plan_.mid_depth);
    resnet("mid_block.resnets.1", last, last);
    up_blocks();
    norm("conv_norm_out", first);
    add("conv_out", 4, first, 3);
    return std::move(modules_);
  }

 private:
  void add(const std::string& path, int64_t out, int64_t in, int64_t kernel = 0) {
    modules_.push_back({"unet", path, out, kernel == 0 ? in : in * kernel * kernel, kernel});
  }
  int64_t projection_kernel() const { return plan_.linear_projection ? 0 : 1; }
  void norm(const std::string& path, int64_t width) { add(path, width, 1); }

  void linear_pair(const std::string& path, int64_t in, int64_t out) {
    add(path + ".linear_1", out, in);
    add(path + ".linear_2", out, out);
  }

  void resnet(const std::string& path, int64_t in, int64_t out) {
    norm(path + ".norm1", in);
    add(path + ".conv1", out, in, 3);
    add(path + ".time_emb_proj", out, 4 * plan_.channels.front());
    norm(path + ".norm2", out);
    add(path + ".conv2", out, out, 3);
    if (in != out) add(path + ".conv_shortcut", out, in, 1);
  }

  void attention(const std::string& path, int64_t width, int64_t context) {
    add(path + ".to_q", width, width);
    add(path + ".to_k", width, context);
    add(path + ".to_v", width, context);
    add(path + ".to_out.0", width, width);
  }

  void transformer(const std::string& path, int64_t width, int depth) {
    norm(path + ".norm", width);
    add(path + ".proj_in", width, width, projection_kernel());
    for (int i = 0; i < depth; ++i) {
      const std::string block = fmt::format("{}.transformer_blocks.{}", path, i);
      attention(block + ".attn1", width, width);
      attention(block + ".attn2", width, plan_.context);
      add(block + ".ff.net.0.proj", 8 * width, width);
      add(block + ".ff.net.2", width, 4 * width);
      for (int n = 1; n <= 3; ++n) norm(fmt::format("{}.norm{}", block, n), width);
    }
    add(path + ".proj_out", width, width, projection_kernel());
  }

  void down_blocks() {
    int64_t in = plan_.channels.front();
    for (size_t i = 0; i < plan_.channels.size(); ++i) {
      const int64_t width = plan_.channels[i];
      for (int j = 0; j < 2; ++j) {
        resnet(fmt::format("down_blocks.{}.resnets.{}", i, j), j == 0 ? in : width, width);
        if (plan_.depth[i] > 0) transformer(fmt::format("down_blocks.{}.attentions.{}", i, j), width, plan_.depth[i]);
      }
      if (i + 1 < plan_.channels.size()) add(fmt::format("down_blocks.{}.downsamplers.0.conv", i), width, width, 3);
      in = width;
    }
  }

  // Up block i mirrors level n-1-i and takes the down blocks' outputs beside its own.
  void up_blocks() {
    const size_t levels = plan_.channels.size();
    int64_t previous = plan_.channels.back();
    for (size_t i = 0; i < levels; ++i) {
      const size_t level = levels - 1 - i;
      const int64_t width = plan_.channels[level], below = plan_.channels[level == 0 ? 0 : level - 1];
      for (int j = 0; j < 3; ++j) {
        const int64_t skip = j == 2 ? below : width;
        resnet(fmt::format("up_blocks.{}.resnets.{}", i, j), (j == 0 ? previous : width) + skip, width);
        if (plan_.depth[level] > 0) transformer(fmt::format("up_blocks.{}.attentions.{}", i, j), width, plan_.depth[level]);
      }
      if (level > 0) add(fmt::format("up_blocks.{}.upsamplers.0.conv", i), width, width, 3);
      previous = width;
    }
  }

  const UnetPlan& plan_;
  std::vector<KnownModule> modules_;
};

// A Tucker form's down is 1×1: the window is the core's.
int64_t kernel_from_core(const ModuleRecord& module) {
  for (const auto* name : {"lora_mid", "lokr_t2", "hada_t1"}) {
    if (module.has(name)) return module.tensors.at(name).size(2);
  }
  return 1;
}

void append(std::vector<KnownModule>& to, std::vector<KnownModule> more) { to.insert(to.end(), more.begin(), more.end()); }

}  // namespace

std::vector<KnownModule> unet_modules(const UnetPlan& plan) { return UnetBuilder(plan).build(); }

std::vector<KnownModule> clip_modules(const std::string& component, int layers, int64_t width, int64_t projection) {
  std::vector<KnownModule> modules;
  const auto add = [&](const std::string& path, int64_t out, int64_t in) { modules.push_back({component, path, out, in}); };
  add("text_model.embeddings.token_embedding", 49408, width);
  add("text_model.embeddings.position_embedding", 77, width);
  for (int i = 0; i < layers; ++i) {
    const std::string layer = fmt::format("text_model.encoder.layers.{}", i);
    for (const auto* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) add(fmt::format("{}.self_attn.{}", layer, name), width, width);
    add(layer + ".mlp.fc1", 4 * width, width);
    add(layer + ".mlp.fc2", width, 4 * width);
    add(layer + ".layer_norm1", width, 1);
    add(layer + ".layer_norm2", width, 1);
  }
  add("text_model.final_layer_norm", width, 1);
  if (projection > 0) add("text_projection", projection, width);
  return modules;
}

const ModelLayout& sd15_layout() {
  static const ModelLayout layout = [] {
    ModelLayout l{"sd15", "Stable Diffusion 1.5", unet_modules({{320, 640, 1280, 1280}, {1, 1, 1, 0}, 1, 768, 0, false})};
    append(l.modules, clip_modules("text_encoder", 12, 768, 0));
    return l;
  }();
  return layout;
}

const ModelLayout& sdxl_layout() {
  static const ModelLayout layout = [] {
    ModelLayout l{"sdxl", "Stable Diffusion XL", unet_modules({{320, 640, 1280}, {0, 2, 10}, 10, 2048, 2816, true})};
    append(l.modules, clip_modules("text_encoder", 12, 768, 0));
    append(l.modules, clip_modules("text_encoder_2", 32, 1280, 1280));
    return l;
  }();
  return layout;
}

const KnownModule* ModelLayout::find(const std::string& component, const std::string& path) const {
  const auto found =
      std::find_if(modules.begin(), modules.end(), [&](const auto& m) { return m.component == component && m.path == path; });
  return found == modules.end() ? nullptr : &*found;
}

Fit fit(const AdapterRecord& record, const ModelLayout& layout) {
  Fit result{&layout, {}, {}};
  std::map<std::pair<std::string, std::string>, const KnownModule*> by_name;
  for (const auto& module : layout.modules) by_name[{module.component, module.path}] = &module;
  for (const auto& module : record.modules) {
    const auto found = by_name.find({module.component, module.module});
    if (found == by_name.end()) {
      result.absent.push_back(module.name());
      continue;
    }
    const auto [out, columns] = matrix_shape(module);
    const KnownModule& known = *found->second;
    if (known.out == out && known.columns == columns) continue;
    result.misshapen.push_back(
        fmt::format("{}: {} x {} in the file, {} x {} in the model", module.name(), out, columns, known.out, known.columns));
  }
  return result;
}

const ModelLayout* guess_layout(const AdapterRecord& record) {
  for (const ModelLayout* layout : {&sd15_layout(), &sdxl_layout()}) {
    if (!record.modules.empty() && fit(record, *layout).fits()) return layout;
  }
  return nullptr;
}

Family family_of(const AdapterRecord& record) {
  if (const ModelLayout* layout = guess_layout(record)) return layout == &sdxl_layout() ? Family::sdxl : Family::sd15;
  const auto says = [&](const char* key, std::string_view text) {
    const auto found = record.metadata.find(key);
    return found != record.metadata.end() && found->second.starts_with(text);
  };
  bool known = !record.modules.empty();
  for (const auto& module : record.modules) {
    const bool in_sd15 = sd15_layout().find(module.component, module.module) != nullptr;
    if (!in_sd15 && sdxl_layout().find(module.component, module.module) != nullptr) return Family::sdxl;
    known = known && in_sd15;
  }
  if (says("ss_base_model_version", "sdxl") || says("modelspec.architecture", "stable-diffusion-xl")) return Family::sdxl;
  return known ? Family::sd15 : Family::unknown;
}

std::string_view to_string(Family family) {
  constexpr std::array<std::string_view, 3> names = {"sd15", "sdxl", "unknown"};
  return names[static_cast<size_t>(family)];
}

int64_t kernel_of(const ModuleRecord& module, const ModelLayout* layout, Family family) {
  for (const auto& [name, value] : module.tensors) {
    if (value.dim() == 4 && name != "lora_magnitude_vector" && name != "lora_B") return std::max(value.size(2), kernel_from_core(module));
  }
  if (layout == nullptr) layout = family == Family::sdxl ? &sdxl_layout() : &sd15_layout();
  const KnownModule* known = layout->find(module.component, module.module);
  return known == nullptr ? 0 : known->kernel;
}

void check_fit(const AdapterRecord& record, const ModelLayout& layout, std::string_view where) {
  const Fit found = fit(record, layout);
  if (found.fits()) return;
  const ModelLayout* other = guess_layout(record);
  Problems problems(ErrorKind::shape, std::string(where));
  for (const auto& name : found.absent) problems.add(fmt::format("{}: {} has no such layer", name, layout.title));
  for (const auto& sentence : found.misshapen) problems.add(sentence);
  const bool xl = other == nullptr && family_of(record) == Family::sdxl;  // of another size, or a small copy of it
  const bool image = std::ranges::any_of(record.modules, [](const auto& module) { return !module.component.empty(); });
  problems.raise_if_any(other != nullptr && other != &layout ? fmt::format("this adapter was made for {}", other->title)
                        : xl                                 ? "this adapter has layers that only SDXL has"
                        : image                              ? "the adapter was made for another model"
                                : "the adapter is for no part of an image model: for a language model or a vision transformer, perhaps");
}

}  // namespace lowrank::adapters
