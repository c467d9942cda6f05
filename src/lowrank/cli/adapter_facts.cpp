#include "lowrank/cli/adapter_facts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace lowrank::cli {

namespace {

using adapters::AdapterRecord;
using adapters::ModuleRecord;

// Keys that say what a file is; the others (tag counts, folders, arguments of the run) are counted.
constexpr std::array kTelling = {"ss_output_name", "ss_base_model_version", "ss_sd_model_name",   "ss_network_module",
                                 "ss_network_dim", "ss_network_alpha",      "ss_network_args",    "ss_steps",
                                 "ss_epoch",       "ss_learning_rate",      "ss_training_comment"};

std::string number_text(double value) { return fmt::format("{:g}", value); }

// "down_blocks.10" after "down_blocks.9": numbers padded.
std::string natural_key(const std::string& text) {
  std::string key, digits;
  for (const char c : text + ".") {
    if (c >= '0' && c <= '9') {
      digits += c;
      continue;
    }
    if (!digits.empty()) key += std::string(6 - std::min<size_t>(digits.size(), 6), '0') + digits;
    digits.clear();
    key += c;
  }
  return key;
}

// A UNet's block with its part ("down_blocks.1.attentions.0"), a text encoder's layer.
std::string block_of(const ModuleRecord& module) {
  const std::string& path = module.module;
  const size_t layers = path.find(".layers.");
  size_t parts = path.starts_with("mid_block") ? 1 : 4, end = 0;
  if (layers != std::string::npos) {
    end = path.find('.', layers + 8);
  } else if (path.starts_with("down_blocks.") || path.starts_with("up_blocks.") || parts == 1) {
    for (size_t i = 0; i < parts && end != std::string::npos; ++i) end = path.find('.', end + (i > 0 ? 1 : 0));
  } else {
    end = path.find('.');
  }
  return fmt::format("{}.{}", module.component, path.substr(0, end));
}

Json blocks_of(const AdapterRecord& record) {
  std::map<std::string, std::pair<std::string, std::pair<double, int>>> blocks;  // by natural key
  for (const auto& module : record.modules) {
    const std::string name = block_of(module);
    auto& [shown, sum] = blocks[natural_key(name)];
    const double norm = adapters::update_norm(module);
    shown = name;
    sum.first += norm * norm;
    ++sum.second;
  }
  Json rows = Json::array();
  for (const auto& [key, block] : blocks) {
    rows.push_back({{"block", block.first}, {"layers", block.second.second}, {"norm", std::sqrt(block.second.first)}});
  }
  return rows;
}

template <class F>
Json counted(const AdapterRecord& record, F value) {
  std::map<std::string, int> counts;
  for (const auto& module : record.modules) ++counts[value(module)];
  std::vector<std::pair<std::string, int>> sorted(counts.begin(), counts.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return natural_key(a.first) < natural_key(b.first); });
  Json json = Json::object();
  for (const auto& [name, count] : sorted) json[name] = count;
  return json;
}

Json telling_metadata(const io::Metadata& metadata) {
  Json json = Json::object();
  size_t others = 0;
  for (const auto& [key, value] : metadata) {
    const bool telling = std::find(kTelling.begin(), kTelling.end(), key) != kTelling.end() || key.starts_with("modelspec.");
    if (telling && value.size() < 300) {
      json[key] = value;
    } else if (!key.starts_with("sshs_")) {
      ++others;
    }
  }
  if (others > 0) json["other_keys"] = others;
  return json;
}

}  // namespace

std::string family_text(const AdapterRecord& record) {
  if (const auto* layout = adapters::guess_layout(record)) return layout->title;
  switch (adapters::family_of(record)) {
    case adapters::Family::sd15: return "unknown sizes; layers named as in Stable Diffusion 1.5";
    case adapters::Family::sdxl: return "unknown sizes; layers named as in Stable Diffusion XL";
    default: return "unknown";
  }
}

Json methods_of(const AdapterRecord& record) {
  return counted(record, [](const auto& m) { return m.method(); });
}

Json adapter_facts(const adapters::ReadAdapter& adapter) {
  const AdapterRecord& record = adapter.record;
  Json facts;
  facts["dialect"] = adapter.dialect->name();
  facts["family"] = adapters::to_string(adapters::family_of(record));
  facts["base_model_family"] = family_text(record);
  facts["components"] = counted(record, [](const auto& m) { return m.component; });
  facts["methods"] = methods_of(record);
  facts["ranks"] = counted(record, [](const auto& m) { return m.rank == 0 ? "none" : fmt::format("{}", m.rank); });
  facts["alphas"] = counted(record, [](const auto& m) { return m.update == adapters::Update::full ? "none" : number_text(m.alpha); });
  facts["scales"] = counted(record, [](const auto& m) { return number_text(m.scale()); });
  facts["blocks"] = blocks_of(record);
  facts["metadata"] = telling_metadata(record.metadata);
  facts["notes"] = record.notes;
  if (!record.unknown.empty()) facts["would_not_load"] = record.unknown;
  return facts;
}

std::string block_chart(const Json& blocks) {
  constexpr int kWidth = 32;
  constexpr std::array kParts = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  double largest = 0;
  size_t widest = 5;
  for (const auto& row : blocks) {
    largest = std::max(largest, row["norm"].get<double>());
    widest = std::max(widest, row["block"].get<std::string>().size());
  }
  std::string text = fmt::format("{:<{}}  {:>6}  {:>9}\n", "block", widest, "layers", "‖ΔW‖");
  for (const auto& row : blocks) {
    const double norm = row["norm"].get<double>();
    const int eighths = largest > 0 ? static_cast<int>(std::lround(norm / largest * kWidth * 8)) : 0;
    std::string bar;
    for (int i = 0; i < eighths / 8; ++i) bar += "█";
    bar += kParts[static_cast<size_t>(eighths % 8)];
    text += fmt::format("{:<{}}  {:>6}  {:>9.4g}  {}\n", row["block"].get<std::string>(), widest, row["layers"].get<int>(), norm, bar);
  }
  return text;
}

}  // namespace lowrank::cli
