#include "operator_times.h"

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>
#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

namespace lowrank::bench {

namespace {

struct Sum {
  double seconds = 0, flops = 0;
  int64_t calls = 0;
};

struct Open {
  double start, inside = 0;
};

struct Recording {
  int64_t rank = 0;
  bool optimiser = false;
  std::vector<Open> open;
  std::map<std::string, Sum> groups, operators;
};
Recording recording;  // libtorch's callbacks are plain functions

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool contains(const std::string& name, std::initializer_list<const char*> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](const char* part) { return name.find(part) != std::string::npos; });
}

/// Rows, depth and columns of a matrix product; empty for anything else.
std::vector<int64_t> product_sizes(const std::string& name, c10::ArrayRef<const c10::IValue> inputs) {
  size_t first = 0;
  if (name == "aten::mm" || name == "aten::bmm")
    first = 0;
  else if (name == "aten::addmm" || name == "aten::addmm_")
    first = 1;
  else
    return {};
  const at::Tensor &a = inputs[first].toTensor(), &b = inputs[first + 1].toTensor();
  return {a.numel() / a.size(-1), a.size(-1), b.size(-1)};
}

std::string group_of(const std::string& name, const std::vector<int64_t>& sizes) {
  if (recording.optimiser) return "optimiser";
  if (!sizes.empty()) {
    return *std::min_element(sizes.begin(), sizes.end()) <= recording.rank ? "adapter products" : "frozen products";
  }
  if (contains(name, {"LowRank"})) return "adapter products";
  if (contains(name, {"conv"})) return "convolutions";
  if (contains(name, {"packed_attention", "PackedAttention", "scaled_dot_product"})) return "attention";
  if (contains(name, {"_norm", "gelu", "tanh", "silu", "Norm", "Gelu"})) return "norms and activations";
  return "other";
}

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& /*function*/) {
  recording.open.push_back({now()});
  return nullptr;
}

void end(const at::RecordFunction& function, at::ObserverContext* /*context*/) {
  const Open open = recording.open.back();
  recording.open.pop_back();
  const double total = now() - open.start;
  if (!recording.open.empty()) recording.open.back().inside += total;
  const std::string name = function.name();
  const auto sizes = product_sizes(name, function.inputs());
  const double flops = sizes.empty() ? 0 : 2.0 * static_cast<double>(sizes[0] * sizes[1] * sizes[2]);
  for (Sum* sum : {&recording.groups[group_of(name, sizes)], &recording.operators[name]}) {
    sum->seconds += total - open.inside;
    sum->flops += flops;
    ++sum->calls;
  }
}

Json to_json(const std::map<std::string, Sum>& sums) {
  Json json = Json::object();
  for (const auto& [name, sum] : sums) json[name] = {{"seconds", sum.seconds}, {"calls", sum.calls}, {"flops", sum.flops}};
  return json;
}

}  // namespace

OperatorTimes::OperatorTimes(int64_t rank) {
  recording = {.rank = rank};
  handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(begin, end).needsInputs(true));
}

OperatorTimes::~OperatorTimes() { at::removeCallback(handle_); }

void OperatorTimes::in_optimiser(bool value) { recording.optimiser = value; }

Json OperatorTimes::to_json() const {
  return {{"groups", bench::to_json(recording.groups)}, {"operators", bench::to_json(recording.operators)}};
}

}  // namespace lowrank::bench
