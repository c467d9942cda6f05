#include "lowrank/adapters/dialects/convert.h"

#include <algorithm>
#include <map>

#include "lowrank/adapters/dialects/rewrite.h"
#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

bool has_core(const ModuleRecord& m) { return m.has("lora_mid") || m.has("lokr_t2") || m.has("hada_t1"); }

class Fitting {
 public:
  Fitting(AdapterRecord& record, const Dialect& target, const ConvertOptions& options)
      : record_(record), target_(target), options_(options), family_(family_of(record)), refused_(ErrorKind::unsupported, "convert") {}

  std::vector<LayerChange> run() {
    const std::vector<ModuleRecord> before = record_.modules;
    constexpr int kSteps = 5;  // more than any chain of rewritings
    for (int step = 0; step < kSteps; ++step) {
      const auto refusals = refusals_now();
      for (const auto& [index, reason] : refusals) advance(record_.modules[index], reason);
      refused_.raise_if_any(hint());
      if (refusals.empty()) break;
    }
    for (size_t i = 0; i < before.size(); ++i) measure(before[i], record_.modules[i]);
    return std::move(changes_);
  }

 private:
  std::map<size_t, std::string> refusals_now() const {
    std::map<size_t, std::string> refusals;
    for (const auto component : components_of(record_)) {
      for (const auto& module : component) {
        std::string reason = target_.refusal(module, component);
        if (!reason.empty()) refusals[static_cast<size_t>(&module - record_.modules.data())] = std::move(reason);
      }
    }
    return refusals;
  }

  // One rewriting, the exact ones first.
  void advance(ModuleRecord& m, const std::string& reason) {
    const bool whole = m.update == Update::lokr && m.has("lokr_w1") && m.has("lokr_w2");
    if (whole && m.scale() != 1) {
      fold_scale(m);
      note(m, "scale folded into w1", false);
    } else if (has_core(m)) {
      drop_core(m);
      note(m, "Tucker core multiplied out", false);
    } else if ((m.update == Update::loha || m.update == Update::lokr) && m.axis != MagnitudeAxis::input && affordable(m)) {
      const std::string from = m.update == Update::loha ? "LoHa" : "LoKr";
      to_lora(m, kernel(m));
      note(m, from + " as LoRA", false);
    } else {
      shorten(m, reason);
    }
  }

  // Beyond the layer's own rank a product of factors is no longer an adapter.
  static bool affordable(const ModuleRecord& m) {
    const auto [out, columns] = matrix_shape(m);
    return lora_rank(m) <= std::min(out, columns);
  }

  void shorten(ModuleRecord& m, const std::string& reason) {
    const bool norm = m.update == Update::full && m.tensors.at("diff").dim() == 1;
    const bool possible = m.update != Update::lora || m.axis != MagnitudeAxis::none;
    if (options_.approximate == 0 || norm || !possible) {
      refused_.add(fmt::format("{} ({}): {}", m.name(), m.method(), reason));
      return;
    }
    if (m.axis != MagnitudeAxis::none && options_.base == nullptr) {
      refused_.add(fmt::format("{} ({}): {}; to approximate it the base weights are needed", m.name(), m.method(), reason));
      return;
    }
    const std::string what = m.method() + " as its nearest LoRA" + (m.has("diff_b") ? ", its bias difference is lost" : "");
    const int64_t k = kernel(m);
    approximate(m, effect(m), options_.approximate, k);
    note(m, what, true);
  }

  int64_t kernel(const ModuleRecord& m) const {
    return kernel_of(m, options_.base == nullptr ? nullptr : &options_.base->layout(), family_);
  }

  at::Tensor effect(const ModuleRecord& m) const {
    if (m.axis == MagnitudeAxis::none || options_.base == nullptr) return delta(m);
    const at::Tensor w = options_.base->weight(m).to(at::kDouble).flatten(1);
    return adapted(m, w) - w;
  }

  void note(const ModuleRecord& m, const std::string& what, bool lossy) {
    LayerChange& change = by_module_[m.name()];
    change.what += change.what.empty() ? what : ", then " + what;
    change.lossy = change.lossy || lossy;
  }

  // Magnitudes stay as they are in exact rewritings, so ΔW under them is what can change.
  void measure(const ModuleRecord& before, const ModuleRecord& after) {
    const auto found = by_module_.find(after.name());
    if (found == by_module_.end()) return;
    LayerChange change = found->second;
    const bool same_axis = before.axis == after.axis;
    const at::Tensor was = same_axis ? delta(before) : effect(before), is = delta(after);
    const double size = was.norm().item<double>(), gap = (was - is).norm().item<double>();
    change.module = after.name();
    change.rank = after.rank;
    change.error = gap == 0 ? 0 : gap / size;
    changes_.push_back(std::move(change));
  }

  std::string hint() const {
    if (options_.approximate == 0)
      return "merge the adapter into its model, choose another dialect, or give --approximate RANK to accept a loss that is then "
             "reported layer by layer";
    return options_.base == nullptr ? "give --model with the diffusers folder that the adapter was trained on" : "";
  }

  AdapterRecord& record_;
  const Dialect& target_;
  const ConvertOptions& options_;
  Family family_;
  Problems refused_;
  std::map<std::string, LayerChange> by_module_;
  std::vector<LayerChange> changes_;
};

}  // namespace

std::vector<LayerChange> fit_to(AdapterRecord& record, const Dialect& target, const ConvertOptions& options) {
  Problems unknown(ErrorKind::file_format, "convert");
  for (const auto& key : record.unknown) unknown.add(key);
  unknown.raise_if_any("nothing is dropped in silence: remove these tensors, or give --model with the model that they belong to");
  return Fitting(record, target, options).run();
}

}  // namespace lowrank::adapters
