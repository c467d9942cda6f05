#include "lowrank/adapters/dialects/rewrite.h"

#include <ATen/ops/einsum.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/mm.h>
#include <algorithm>

#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

using Pair = std::pair<at::Tensor, at::Tensor>;

at::Tensor exact(const ModuleRecord& module, const std::string& name) { return module.tensors.at(name).to(at::kDouble); }
at::Tensor flat(const at::Tensor& t) { return t.flatten(1); }

// float64 stays, anything narrower becomes float32.
c10::ScalarType dtype_of(const ModuleRecord& module) {
  return module.tensors.begin()->second.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Σ_q core[p,q,y,x]·in[q,i] as [p, i, y, x].
at::Tensor contract(const at::Tensor& core, const at::Tensor& in) { return at::einsum("pqyx,qi->piyx", {core, flat(in)}); }

// A whole factor as itself times the identity of its smaller side.
Pair factors(const ModuleRecord& m, const std::string& name) {
  if (!m.has(name)) return {exact(m, name + "_a"), flat(exact(m, name + "_b"))};
  const at::Tensor whole = flat(exact(m, name));
  const auto identity = [](int64_t n) { return at::eye(n, at::kDouble); };
  return whole.size(0) < whole.size(1) ? Pair{identity(whole.size(0)), whole} : Pair{whole, identity(whole.size(1))};
}

// scale·B·A with the layer's alpha as it was: readers differ on files whose layers have several.
void put_pair(ModuleRecord& m, at::Tensor b, const at::Tensor& a, double scale, int64_t kernel) {
  const auto dtype = dtype_of(m);
  const auto magnitude = m.tensors.find("lora_magnitude_vector");
  tensor::TensorMap tensors;
  if (magnitude != m.tensors.end()) tensors.insert(*magnitude);
  const int64_t rank = a.size(0);
  if (m.alpha <= 0) m.alpha = static_cast<double>(rank);
  b = b * (scale * static_cast<double>(rank) / m.alpha);
  tensors["lora_A"] = (kernel > 0 ? a.reshape({rank, -1, kernel, kernel}) : a).to(dtype).contiguous();
  tensors["lora_B"] = (kernel > 0 ? b.reshape({-1, rank, 1, 1}) : b).to(dtype).contiguous();
  m.tensors = std::move(tensors);
  m.update = Update::lora;
  m.rule = ScaleRule::alpha_over_rank;
  m.rank = rank;
}

}  // namespace

void fold_scale(ModuleRecord& module) {
  const auto dtype = dtype_of(module);
  module.tensors["lokr_w1"] = (exact(module, "lokr_w1") * module.scale()).to(dtype);
  module.rule = ScaleRule::one;
}

void drop_core(ModuleRecord& module) {
  const auto dtype = dtype_of(module);
  if (module.has("lora_mid")) {
    module.tensors["lora_A"] = contract(exact(module, "lora_mid"), exact(module, "lora_A")).to(dtype).contiguous();
    module.tensors.erase("lora_mid");
  } else if (module.has("lokr_t2")) {
    module.tensors["lokr_w2_b"] = contract(exact(module, "lokr_t2"), exact(module, "lokr_w2_b")).flatten(1).to(dtype).contiguous();
    module.tensors["lokr_w2_a"] = exact(module, "lokr_w2_a").t().to(dtype).contiguous();
    module.tensors.erase("lokr_t2");
  } else {
    for (const std::string half : {"1", "2"}) {
      const std::string name = "hada_w" + half;
      module.tensors[name + "_b"] = contract(exact(module, "hada_t" + half), exact(module, name + "_b")).flatten(1).to(dtype).contiguous();
      module.tensors[name + "_a"] = exact(module, name + "_a").t().to(dtype).contiguous();
      module.tensors.erase("hada_t" + half);
    }
  }
}

int64_t lora_rank(const ModuleRecord& m) {
  if (m.update == Update::loha) return m.tensors.at("hada_w1_b").size(0) * m.tensors.at("hada_w2_b").size(0);
  return factors(m, "lokr_w1").second.size(0) * factors(m, "lokr_w2").second.size(0);
}

void to_lora(ModuleRecord& m, int64_t kernel) {
  const double scale = m.scale();
  if (m.update == Update::lokr) {
    const auto [a1, b1] = factors(m, "lokr_w1");
    const auto [a2, b2] = factors(m, "lokr_w2");
    put_pair(m, at::kron(a1, a2), at::kron(b1, b2), scale, kernel);
    return;
  }
  const at::Tensor b = at::einsum("op,oq->opq", {exact(m, "hada_w1_a"), exact(m, "hada_w2_a")}).flatten(1);
  const at::Tensor a = at::einsum("pi,qi->pqi", {flat(exact(m, "hada_w1_b")), flat(exact(m, "hada_w2_b"))}).flatten(0, 1);
  put_pair(m, b, a, scale, kernel);
}

void approximate(ModuleRecord& m, const at::Tensor& update, int64_t rank, int64_t kernel) {
  // Singular vectors of the smaller side from its Gram matrix, eigenvalues ascending.
  const bool wide = update.size(0) <= update.size(1);
  const at::Tensor gram = wide ? at::mm(update, update.t()) : at::mm(update.t(), update);
  const auto [values, vectors] = at::linalg_eigh(gram);
  const double floor = 1e-20 * std::max(values.max().item<double>(), 1e-300);
  const int64_t nonzero = std::max<int64_t>((values > floor).sum().item<int64_t>(), 1);
  const int64_t kept = std::min(rank, nonzero);
  const at::Tensor u = vectors.slice(1, vectors.size(1) - kept);
  const at::Tensor root = values.slice(0, values.size(0) - kept).clamp_min(floor).pow(0.25);  // √ of the singular values
  m.tensors.erase("lora_magnitude_vector");
  m.axis = MagnitudeAxis::none;
  if (wide) {
    put_pair(m, u * root, at::mm(u.t(), update) / root.unsqueeze(1), 1, kernel);
  } else {
    put_pair(m, at::mm(update, u) / root, u.t() * root.unsqueeze(1), 1, kernel);
  }
}

}  // namespace lowrank::adapters
