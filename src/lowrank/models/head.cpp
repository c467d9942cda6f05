#include "lowrank/models/head.h"

#include <set>

#include "lowrank/base/error.h"

namespace lowrank::models {

namespace {

constexpr std::string_view kSingle = "single_label_classification", kMulti = "multi_label_classification", kRegression = "regression";

std::vector<std::string> labels_of(const Json& config, const std::string& where) {
  const auto map = config.find("id2label");
  if (map == config.end() || map->is_null()) {
    std::vector<std::string> labels;
    const auto count = json_get<int64_t>(config, "num_labels", json_get<int64_t>(config, "_num_labels", 2, where), where);
    for (int64_t i = 0; i < count; ++i) labels.push_back(fmt::format("LABEL_{}", i));
    return labels;
  }
  check(map->is_object(), ErrorKind::file_format, where, "key 'id2label': expected an object, got {}", map->dump());
  std::vector<std::string> labels(map->size());
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto label = map->find(std::to_string(i));
    check(label != map->end() && label->is_string(), ErrorKind::file_format, where,
          "key 'id2label': expected names for 0 to {}, got none for {}", labels.size() - 1, i);
    labels[i] = label->get<std::string>();
  }
  return labels;
}

HeadKind kind_of(const std::string& problem, size_t labels, const std::string& where) {
  if (problem.empty()) return labels == 1 ? HeadKind::regression : HeadKind::single_label;
  if (problem == kSingle) return HeadKind::single_label;
  if (problem == kMulti) return HeadKind::multi_label;
  check(problem == kRegression, ErrorKind::unsupported, where, "key 'problem_type': expected {}, {} or {}, got '{}'", kSingle, kMulti,
        kRegression, problem);
  check(labels == 1, ErrorKind::unsupported, where, "regression: expected one output, got {}", labels);
  return HeadKind::regression;
}

}  // namespace

HeadOptions stored_head(const std::filesystem::path& folder) {
  const std::string where = (folder / "config.json").string();
  const Json config = read_json(folder / "config.json");
  HeadOptions head;
  const auto names = json_get<std::vector<std::string>>(config, "architectures", {}, where);
  const auto is_head = [&](std::string_view ending) { return !names.empty() && names.front().ends_with(ending); };
  if (!is_head("ForSequenceClassification") && !is_head("ForImageClassification")) return head;
  head.labels = labels_of(config, where);
  head.kind = kind_of(json_get<std::string>(config, "problem_type", "", where), head.labels.size(), where);
  return head;
}

int64_t outputs_of(const HeadOptions& head) {
  const size_t least = head.kind == HeadKind::single_label ? 2 : head.kind == HeadKind::multi_label ? 1 : 0;
  check(head.labels.size() >= least, ErrorKind::invalid_argument, "head", "expected at least {} labels, got {}", least, head.labels.size());
  check(head.kind != HeadKind::regression || head.labels.size() <= 1, ErrorKind::invalid_argument, "head",
        "expected at most one name for a regression's output, got {}", head.labels.size());
  std::set<std::string_view> seen;
  for (const auto& label : head.labels) {
    check(!label.empty(), ErrorKind::invalid_argument, "head", "expected labels with a name, got an empty one");
    check(seen.insert(label).second, ErrorKind::invalid_argument, "head", "label '{}' is there twice", label);
  }
  return head.kind == HeadKind::regression ? 1 : static_cast<int64_t>(head.labels.size());
}

at::Tensor head_forward(nn::Linear& layer, const at::Tensor& x, const nn::RowKeys* keys) {
  return layer.forward(x.to(layer.weight().scalar_type()), keys);
}

at::Tensor head_logits(nn::Linear& layer, const at::Tensor& x, const nn::RowKeys* keys) {
  const at::Tensor logits = head_forward(layer, x, keys);
  return logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
}

void require_head(const Model& model) {
  check(model.head().kind != HeadKind::none, ErrorKind::invalid_argument, "classify", "expected a model with a head, got the bare {}",
        model.architecture());
}

void write_head(Json& config, const HeadOptions& head) {
  for (const char* key : {"problem_type", "id2label", "label2id", "num_labels", "_num_labels"}) config.erase(key);
  if (head.kind == HeadKind::none) return;
  config["problem_type"] = head.kind == HeadKind::single_label ? kSingle : head.kind == HeadKind::multi_label ? kMulti : kRegression;
  const std::vector<std::string> labels = head.labels.empty() ? std::vector<std::string>{"LABEL_0"} : head.labels;
  for (size_t i = 0; i < labels.size(); ++i) {
    config["id2label"][std::to_string(i)] = labels[i];
    config["label2id"][labels[i]] = i;
  }
}

}  // namespace lowrank::models
