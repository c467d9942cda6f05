// lowrank convert: an adapter in another program's words.
#include "lowrank/adapters/dialects/convert.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <optional>

#include "lowrank/base/error.h"
#include "lowrank/cli/adapter_facts.h"
#include "lowrank/cli/command.h"

namespace lowrank::cli {

namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  std::string to, out, model, component, title;
  int64_t approximate = 0;
};

void declare(OptionTable& table, ConvertOptions& options) {
  std::vector<std::string> names;
  for (const auto* dialect : adapters::dialects()) names.push_back(fmt::format("{} ({})", dialect->name(), dialect->title()));
  table.add("to", options.to, fmt::format("the naming to write: {}", fmt::join(names, ", "))).group("Adapter");
  table.add("out", options.out, "file to write, or for peft a folder that does not exist yet").group("Adapter");
  table
      .add("model", options.model,
           "base model, a diffusers folder or an original checkpoint: names and sizes of its layers, weights for DoRA")
      .group("Model");
  table.add("component", options.component, "which part of a pipeline a PEFT folder is for, as in unet").group("Adapter");
  table.add("title", options.title, "modelspec.title [the file's name]").group("Adapter");
  table.add("approximate", options.approximate, "rank of the nearest LoRA for layers that cannot be said exactly; 0 refuses them")
      .range(0, 100000)
      .group("Adapter");
}

Json changes_json(const std::vector<adapters::LayerChange>& changes) {
  Json rows = Json::array();
  for (const auto& change : changes) {
    rows.push_back({{"module", change.module},
                    {"what", change.what},
                    {"rank", change.rank},
                    {"relative_error", change.error},
                    {"lossy", change.lossy}});
  }
  return rows;
}

std::string counts_text(const Json& counts) {
  std::string text;
  for (const auto& [name, count] : counts.items()) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count.get<int>(), name);
  return text;
}

void print(const Json& facts, const std::vector<adapters::LayerChange>& changes, size_t modules) {
  std::cout << fmt::format("read    {}: {} ({})\n", facts["from"].get<std::string>(), counts_text(facts["methods"]),
                           facts["base_model_family"].get<std::string>());
  for (const auto& note : facts["notes"]) std::cout << fmt::format("note    {}\n", note.get<std::string>());
  const auto lossy = std::count_if(changes.begin(), changes.end(), [](const auto& c) { return c.lossy; });
  std::cout << fmt::format("layers  {} as they are, {} rewritten exactly, {} approximated\n", modules - changes.size(),
                           static_cast<int64_t>(changes.size()) - lossy, lossy);
  if (!changes.empty()) std::cout << fmt::format("\n{:<72}{:>6}{:>16}  {}\n", "layer", "rank", "relative error", "what");
  for (const auto& change : changes)
    std::cout << fmt::format("{:<72}{:>6}{:>16.2e}  {}\n", change.module, change.rank, change.error, change.what);
  std::cout << fmt::format("{}saved   {}: {}; read back, ΔW of every layer compared\n", changes.empty() ? "" : "\n",
                           facts["saved"].get<std::string>(), facts["to"].get<std::string>());
}

int run(const std::string& path, const ConvertOptions& options, bool json) {
  check(!path.empty(), ErrorKind::invalid_argument, "convert", "expected an adapter file or folder, got none");
  check(!options.to.empty(), ErrorKind::invalid_argument, "--to", "expected a naming to write, got none");
  check(!options.out.empty(), ErrorKind::invalid_argument, "--out", "expected a file or folder to write, got none");
  const at::NoGradGuard no_grad;
  const adapters::Dialect& target = adapters::dialect_named(options.to);
  std::optional<adapters::BaseWeights> base;
  if (!options.model.empty()) base.emplace(options.model);
  const adapters::ModelLayout* layout = base ? &base->layout() : nullptr;
  adapters::ReadAdapter adapter = adapters::read_adapter(path, {"", layout, options.component});
  if (layout != nullptr) adapters::check_fit(adapter.record, *layout, path);
  Json facts = {{"from", adapter.dialect->name()}, {"to", target.name()}};
  facts["base_model_family"] = family_text(adapter.record);
  facts["methods"] = methods_of(adapter.record);
  const auto changes = adapters::fit_to(adapter.record, target, {options.approximate, base ? &*base : nullptr});
  const std::string title = options.title.empty() ? fs::path(options.out).stem().string() : options.title;
  adapters::save_adapter(options.out, target, adapter.record, {layout, title});
  facts["notes"] = adapter.record.notes;
  facts["modules"] = adapter.record.modules.size();
  facts["changes"] = changes_json(changes);
  facts["saved"] = options.out;
  if (json) {
    std::cout << format_json(facts);
  } else {
    print(facts, changes, adapter.record.modules.size());
  }
  return 0;
}

}  // namespace

void add_convert(CLI::App& app) {
  struct State {
    ConvertOptions options;
    OptionTable table;
    std::string path;
  };
  auto state = std::make_shared<State>();
  auto command = std::make_shared<Command>(app, "convert", "an adapter file in another program's naming, exactly or not at all",
                                           "lowrank convert style.safetensors --to diffusers --out pytorch_lora_weights.safetensors");
  declare(state->table, state->options);
  command->describe(state->table);
  command->positional("path", state->path, "adapter file or folder, in any naming that is known");
  command->on_run([command, state] {
    command->apply(state->table);
    command->finish("convert");
    return run(state->path, state->options, command->json());
  });
}

}  // namespace lowrank::cli
