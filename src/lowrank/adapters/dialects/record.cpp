#include "lowrank/adapters/dialects/record.h"

#include <ATen/ops/einsum.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

using Names = std::vector<std::string>;

at::Tensor exact(const ModuleRecord& module, const std::string& name) { return module.tensors.at(name).to(at::kDouble); }

at::Tensor flat(const at::Tensor& t) { return t.dim() > 1 ? t.flatten(1) : t.unsqueeze(1); }

// Σ_pq core[p,q,taps]·out[p,o]·in[q,i] as [O, I·taps].
at::Tensor tucker(const at::Tensor& core, const at::Tensor& out, const at::Tensor& in) {
  return at::einsum("pqt,po,qi->oit", {core.flatten(2), out, in}).flatten(1);
}

at::Tensor lora_update(const ModuleRecord& m) {
  const at::Tensor a = flat(exact(m, "lora_A")), b = flat(exact(m, "lora_B"));
  return m.has("lora_mid") ? tucker(exact(m, "lora_mid"), b.t(), a) : at::mm(b, a);
}

at::Tensor loha_half(const ModuleRecord& m, const std::string& number) {
  const at::Tensor a = exact(m, "hada_w" + number + "_a"), b = flat(exact(m, "hada_w" + number + "_b"));
  return m.has("hada_t" + number) ? tucker(exact(m, "hada_t" + number), a, b) : at::mm(a, b);
}

at::Tensor lokr_factor(const ModuleRecord& m, const std::string& name) {
  if (m.has(name)) return flat(exact(m, name));
  const at::Tensor a = exact(m, name + "_a"), b = flat(exact(m, name + "_b"));
  const std::string core = name == "lokr_w1" ? "lokr_t1" : "lokr_t2";
  return m.has(core) ? tucker(exact(m, core), a, b) : at::mm(a, b);
}

// What must be there together; the first name tells the form.
struct Part {
  Update update;
  Names needed, allowed;
};

const std::vector<Part>& parts() {
  static const std::vector<Part> table = {
      {Update::lora, {"lora_A", "lora_B"}, {"lora_mid"}},
      {Update::loha, {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, {"hada_t1", "hada_t2"}},
      {Update::lokr, {}, {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"}},
      {Update::full, {"diff"}, {"diff_b"}},
  };
  return table;
}

bool contains(const Names& names, const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); }

bool lokr_is_complete(const ModuleRecord& m) {
  const auto side = [&](const std::string& w) {
    return m.has(w) != (m.has(w + "_a") && m.has(w + "_b")) && m.has(w + "_a") == m.has(w + "_b");
  };
  return side("lokr_w1") && side("lokr_w2") && (!m.has("lokr_t2") || m.has("lokr_w2_a"));
}

bool fits(const ModuleRecord& m, const Part& part) {
  if (!std::all_of(part.needed.begin(), part.needed.end(), [&](const auto& name) { return m.has(name); })) return false;
  const bool only = std::all_of(m.tensors.begin(), m.tensors.end(), [&](const auto& entry) {
    return contains(part.needed, entry.first) || contains(part.allowed, entry.first) || entry.first == "lora_magnitude_vector";
  });
  if (part.update == Update::loha && m.has("hada_t1") != m.has("hada_t2")) return false;
  return only && (part.update != Update::lokr || lokr_is_complete(m));
}

int64_t rank_of(const ModuleRecord& m) {
  const auto rows = [&](const std::string& name) { return m.tensors.at(name).size(0); };
  switch (m.update) {
    case Update::lora: return rows("lora_A");
    case Update::loha: return rows("hada_w1_b");
    case Update::lokr: return m.has("lokr_w2_b") ? rows("lokr_w2_b") : m.has("lokr_w1_b") ? rows("lokr_w1_b") : 0;
    case Update::full: return 0;
  }
  return 0;
}

std::string listed(const ModuleRecord& m) {
  Names names;
  for (const auto& [name, value] : m.tensors) names.push_back(name + " " + tensor::shape_text(value.sizes()));
  return fmt::format("{}", fmt::join(names, ", "));
}

void check_values(const ModuleRecord& m, std::string_view where) {
  for (const auto& [name, value] : m.tensors) {
    check(value.is_floating_point(), ErrorKind::file_format, where, "'{}' {}: expected floating point, got {}", m.name(), name,
          c10::toString(value.scalar_type()));
    check(value.dim() > 0 && value.numel() > 0, ErrorKind::file_format, where, "'{}' {}: expected a tensor with elements, got shape {}",
          m.name(), name, tensor::shape_text(value.sizes()));
    check(at::isfinite(value.to(at::kFloat)).all().item<bool>(), ErrorKind::file_format, where, "'{}' {} holds NaN or infinity", m.name(),
          name);
  }
}

// By shape, as LyCORIS stores it: [O, 1, …] is the output axis, [1, I, 1, …] the input axis.
MagnitudeAxis axis_of(const ModuleRecord& m, std::string_view where) {
  if (!m.has("lora_magnitude_vector")) return MagnitudeAxis::none;
  const at::Tensor& magnitude = m.tensors.at("lora_magnitude_vector");
  const auto [out, columns] = matrix_shape(m);
  const int64_t count = magnitude.numel();
  if (magnitude.size(0) == out && count == out) return MagnitudeAxis::output;
  const bool one_row = magnitude.dim() > 1 && magnitude.size(0) == 1 && magnitude.size(1) == count;
  check(one_row && columns % count == 0, ErrorKind::file_format, where,
        "'{}' magnitude: expected one number for each of {} outputs or of the input channels, got shape {}", m.name(), out,
        tensor::shape_text(magnitude.sizes()));
  return MagnitudeAxis::input;
}

}  // namespace

std::string_view to_string(Update update) {
  constexpr std::array<std::string_view, 4> names = {"lora", "loha", "lokr", "full"};
  return names[static_cast<size_t>(update)];
}

double ModuleRecord::scale() const {
  if (rule == ScaleRule::one || rank == 0) return 1;
  const auto r = static_cast<double>(rank);
  return rule == ScaleRule::alpha_over_rank ? alpha / r : alpha / std::sqrt(r);
}

MatrixShape matrix_shape(const ModuleRecord& module) {
  ModuleRecord shapes = module;  // delta() without its arithmetic
  for (auto& [name, value] : shapes.tensors) value = value.to(at::kMeta);
  const at::Tensor result = delta(shapes);
  return {result.size(0), result.size(1)};
}

std::string ModuleRecord::method() const {
  const bool has_core = has("lora_mid") || has("lokr_t2") || has("hada_t1");
  const bool convolution = update == Update::lora && tensors.at("lora_A").dim() == 4;
  std::string form = update == Update::lora   ? (convolution ? "LoCon" : "LoRA")
                     : update == Update::loha ? "LoHa"
                     : update == Update::lokr ? "LoKr"
                                              : "full difference";
  if (has_core) form += " (Tucker)";
  if (axis == MagnitudeAxis::none) return form;
  const std::string dora = form == "LoRA" ? "DoRA" : "DoRA on " + form;
  return axis == MagnitudeAxis::input ? dora + ", input axis" : dora;
}

void classify(ModuleRecord& module, std::string_view where) {
  check_values(module, where);
  const Part* found = nullptr;
  for (const auto& part : parts()) {
    if (fits(module, part)) found = &part;
  }
  check(found != nullptr, ErrorKind::file_format, where, "'{}': these tensors together are no adapter that is known: {}", module.name(),
        listed(module));
  module.update = found->update;
  module.rank = rank_of(module);
  try {
    (void)matrix_shape(module);
    module.axis = axis_of(module, where);
  } catch (const c10::Error&) {
    fail(ErrorKind::file_format, where, fmt::format("'{}': shapes do not fit each other: {}", module.name(), listed(module)));
  }
}

at::Tensor delta(const ModuleRecord& m) {
  switch (m.update) {
    case Update::lora: return m.scale() * lora_update(m);
    case Update::loha: {
      const at::Tensor one = loha_half(m, "1"), two = loha_half(m, "2");
      check(one.sizes() == two.sizes(), ErrorKind::file_format, "LoHa", "'{}': expected two halves of one shape, got {} and {}", m.name(),
            tensor::shape_text(one.sizes()), tensor::shape_text(two.sizes()));
      return m.scale() * one * two;
    }
    case Update::lokr: return m.scale() * at::kron(lokr_factor(m, "lokr_w1"), lokr_factor(m, "lokr_w2"));
    case Update::full: return flat(exact(m, "diff"));
  }
  return {};
}

double update_norm(const ModuleRecord& m) {
  if (m.update != Update::lora || m.has("lora_mid")) return delta(m).norm().item<double>();
  const at::Tensor a = flat(exact(m, "lora_A")), b = flat(exact(m, "lora_B"));
  const double square = (at::mm(b.t(), b) * at::mm(a, a.t())).sum().item<double>();
  return std::abs(m.scale()) * std::sqrt(std::max(square, 0.0));
}

at::Tensor adapted(const ModuleRecord& m, const at::Tensor& w) {
  const at::Tensor sum = flat(w.to(at::kDouble)) + delta(m);
  if (m.axis == MagnitudeAxis::none) return sum;
  const at::Tensor magnitude = exact(m, "lora_magnitude_vector").flatten();
  const bool by_rows = m.axis == MagnitudeAxis::output;
  const at::Tensor channels = sum.view({sum.size(0), by_rows ? 1 : magnitude.size(0), -1});
  const at::Tensor norms = at::linalg_vector_norm(channels, 2, by_rows ? at::IntArrayRef{1, 2} : at::IntArrayRef{0, 2}, true);
  const at::Tensor gain = magnitude.view_as(norms) / at::where(norms == 0, at::ones_like(norms), norms);
  return (channels * gain).flatten(1);
}

void sort_modules(AdapterRecord& record) {
  std::sort(record.modules.begin(), record.modules.end(),
            [](const auto& a, const auto& b) { return std::tie(a.component, a.module) < std::tie(b.component, b.module); });
}

std::vector<std::span<const ModuleRecord>> components_of(const AdapterRecord& record) {
  std::vector<std::span<const ModuleRecord>> runs;
  const std::span<const ModuleRecord> all = record.modules;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    while (end < all.size() && all[end].component == all[begin].component) ++end;
    runs.push_back(all.subspan(begin, end - begin));
    begin = end;
  }
  return runs;
}

}  // namespace lowrank::adapters
