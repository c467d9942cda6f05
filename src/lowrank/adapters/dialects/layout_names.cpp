#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "lowrank/adapters/dialects/layout.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array kOutside = {Pair{"conv_in", "input_blocks.0.0"},
                                 Pair{"conv_out", "out.2"},
                                 Pair{"conv_norm_out", "out.0"},
                                 Pair{"time_embedding.linear_1", "time_embed.0"},
                                 Pair{"time_embedding.linear_2", "time_embed.2"},
                                 Pair{"add_embedding.linear_1", "label_emb.0.0"},
                                 Pair{"add_embedding.linear_2", "label_emb.0.2"}};

constexpr std::array kResnet = {Pair{"norm1", "in_layers.0"},  Pair{"conv1", "in_layers.2"},  Pair{"time_emb_proj", "emb_layers.1"},
                                Pair{"norm2", "out_layers.0"}, Pair{"conv2", "out_layers.3"}, Pair{"conv_shortcut", "skip_connection"}};

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t dot = std::min(path.find('.', begin), path.size());
    parts.push_back(path.substr(begin, dot - begin));
    begin = dot + 1;
  }
  return parts;
}

std::string join_from(const std::vector<std::string>& parts, size_t from) {
  return fmt::format("{}", fmt::join(parts.begin() + static_cast<std::ptrdiff_t>(std::min(from, parts.size())), parts.end(), "."));
}

int number(const std::string& text) {
  int value = -1;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string inside_resnet(const std::string& rest) {
  for (const auto& [ours, theirs] : kResnet) {
    if (rest == ours) return std::string(theirs);
  }
  return rest;
}

std::string in_down_block(const std::vector<std::string>& parts, int layers) {
  const int block = number(parts[1]), inner = number(parts[3]);
  const std::string rest = join_from(parts, 4);
  if (parts[2] == "resnets") return fmt::format("input_blocks.{}.0.{}", (layers + 1) * block + inner + 1, inside_resnet(rest));
  if (parts[2] == "attentions") return fmt::format("input_blocks.{}.1.{}", (layers + 1) * block + inner + 1, rest);
  return fmt::format("input_blocks.{}.0.op", (layers + 1) * (block + 1));
}

std::string in_up_block(const std::vector<std::string>& parts, int layers, bool attention_above) {
  const int block = number(parts[1]), inner = number(parts[3]);
  const std::string rest = join_from(parts, 4);
  if (parts[2] == "resnets") return fmt::format("output_blocks.{}.0.{}", (layers + 1) * block + inner, inside_resnet(rest));
  if (parts[2] == "attentions") return fmt::format("output_blocks.{}.1.{}", (layers + 1) * block + inner, rest);
  return fmt::format("output_blocks.{}.{}.conv", (layers + 1) * block + layers, attention_above ? 2 : 1);
}

}  // namespace

std::string joined(std::string path) {
  std::replace(path.begin(), path.end(), '.', '_');
  return path;
}

std::string original_unet_name(const std::string& path, int layers, bool attention_above) {
  for (const auto& [ours, theirs] : kOutside) {
    if (path == ours) return std::string(theirs);
  }
  const auto parts = split(path);
  if (parts.size() >= 5 && parts[0] == "down_blocks") return in_down_block(parts, layers);
  if (parts.size() >= 5 && parts[0] == "up_blocks") return in_up_block(parts, layers, attention_above);
  if (parts.size() >= 4 && parts[0] == "mid_block") {
    if (parts[1] == "attentions") return fmt::format("middle_block.{}.{}", 2 * number(parts[2]) + 1, join_from(parts, 3));
    return fmt::format("middle_block.{}.{}", 2 * number(parts[2]), inside_resnet(join_from(parts, 3)));
  }
  return path;
}

std::map<std::string, std::string> original_unet_names(const ModelLayout& layout) {
  int layers = 1;
  std::set<std::string> with_attention;  // up blocks' numbers
  for (const auto& module : layout.modules) {
    const auto parts = split(module.path);
    if (module.component != "unet" || parts.size() < 4) continue;
    if (parts[0] == "down_blocks" && parts[2] == "resnets") layers = std::max(layers, number(parts[3]) + 1);
    if (parts[0] == "up_blocks" && parts[2] == "attentions") with_attention.insert(parts[1]);
  }
  std::map<std::string, std::string> names;
  for (const auto& module : layout.modules) {
    if (module.component != "unet") continue;
    const auto parts = split(module.path);
    names[module.path] = original_unet_name(module.path, layers, parts.size() > 1 && with_attention.contains(parts[1]));
  }
  return names;
}

NameTable::NameTable(const std::vector<const ModelLayout*>& layouts) {
  constexpr std::string_view kText = "text_model.";
  for (const ModelLayout* layout : layouts) {
    const auto originals = original_unet_names(*layout);
    for (const auto& module : layout->modules) {
      add(module.component, module.path, module);
      if (module.component == "unet") add("unet", originals.at(module.path), module);
      if (module.path.starts_with(kText)) add(module.component, module.path.substr(kText.size()), module);
    }
  }
}

void NameTable::add(const std::string& component, const std::string& name, const KnownModule& module) {
  const auto [entry, fresh] = table_.try_emplace({component, joined(name)}, module);
  check(fresh || entry->second.path == module.path, ErrorKind::internal, "module names", "'{}' stands for both '{}' and '{}'", joined(name),
        entry->second.path, module.path);
}

const KnownModule* NameTable::find(const std::string& component, const std::string& joined) const {
  const auto found = table_.find({component, joined});
  return found == table_.end() ? nullptr : &found->second;
}

}  // namespace lowrank::adapters
