#include "lowrank/text/post_processor.h"

#include <algorithm>

namespace lowrank::text {

namespace {

TemplatePart special(int32_t id, int32_t type_id = 0) { return {-1, type_id, {id}}; }

// ["[SEP]", 102]
int32_t token_id(const Component& component, const char* key) { return component.get<std::pair<std::string, int32_t>>(key).second; }

std::vector<TemplatePart> read_template(const Component& component, const char* key) {
  std::vector<TemplatePart> parts;
  for (const Component& element : component.children(key)) {
    const bool is_text = element.has("Sequence");
    element.allow({is_text ? "Sequence" : "SpecialToken"});
    const Component inner = element.child(is_text ? "Sequence" : "SpecialToken");
    inner.allow({"id", "type_id"});
    const auto id = inner.get<std::string>("id");
    TemplatePart part{-1, inner.get<int32_t>("type_id"), {}};
    if (is_text) {
      part.text = id == "A" ? 0 : 1;
      if (id != "A" && id != "B") inner.broken("has the id '{}', expected A or B", id);
      if (part.text == 1 && key == std::string_view("single")) inner.broken("uses the second text in the template for one text");
    } else {
      const Component tokens = component.child("special_tokens").child(id.c_str());
      tokens.allow({"id", "ids", "tokens"});
      part.ids = tokens.get<std::vector<int32_t>>("ids");
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

PostProcessor make_roberta(const Component& component) {
  component.allow({"sep", "cls", "trim_offsets", "add_prefix_space"});
  const int32_t cls = token_id(component, "cls"), sep = token_id(component, "sep");
  PostProcessor out;
  out.single = {special(cls), {0, 0, {}}, special(sep)};
  out.pair = {special(cls), {0, 0, {}}, special(sep), special(sep), {1, 0, {}}, special(sep)};
  if (component.get<bool>("trim_offsets")) out.trims = {component.get<bool>("add_prefix_space")};
  return out;
}

PostProcessor make_sequence(const Component& component) {
  component.allow({"processors"});
  PostProcessor out;
  bool has_template = false;
  for (const Component& part : component.children("processors")) {
    PostProcessor next = make_post_processor(part);
    out.trims.insert(out.trims.end(), next.trims.begin(), next.trims.end());
    if (part.type() == "ByteLevel") continue;
    if (std::exchange(has_template, true)) part.unsupported("a second post-processor that adds tokens");
    out.single = std::move(next.single);
    out.pair = std::move(next.pair);
  }
  return out;
}

}  // namespace

int64_t PostProcessor::added(bool is_pair) const {
  int64_t count = 0;
  for (const TemplatePart& part : is_pair ? pair : single) count += static_cast<int64_t>(part.ids.size());
  return count;
}

PostProcessor bert_post_processor(int32_t cls, int32_t sep) {
  PostProcessor out;
  out.single = {special(cls), {0, 0, {}}, special(sep)};
  out.pair = {special(cls), {0, 0, {}}, special(sep), {1, 1, {}}, special(sep, 1)};
  return out;
}

PostProcessor make_post_processor(const Component& component) {
  const std::string type = component.type();
  if (type == "RobertaProcessing") return make_roberta(component);
  if (type == "Sequence") return make_sequence(component);
  if (type == "BertProcessing") {
    component.allow({"sep", "cls"});
    return bert_post_processor(token_id(component, "cls"), token_id(component, "sep"));
  }
  PostProcessor out;
  if (type == "ByteLevel") {
    component.allow({"add_prefix_space", "trim_offsets", "use_regex"});
    if (component.get<bool>("trim_offsets")) out.trims = {component.get<bool>("add_prefix_space")};
    return out;
  }
  if (type != "TemplateProcessing") {
    component.unknown_type("post-processor", "BertProcessing, RobertaProcessing, TemplateProcessing, ByteLevel, Sequence");
  }
  component.allow({"single", "pair", "special_tokens"});
  out.single = read_template(component, "single");
  out.pair = read_template(component, "pair");
  return out;
}

}  // namespace lowrank::text
