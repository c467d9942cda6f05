// The "post_processor" of tokenizer.json: BertProcessing, RobertaProcessing, TemplateProcessing, ByteLevel, Sequence.
// All come down to two templates (one text, a pair) and the trimming of offsets. Source: tokenizers 0.23,
// src/processors/.
#pragma once

#include <cstdint>
#include <vector>

#include "lowrank/text/component.h"

namespace lowrank::text {

/// A part of a template: a text (0 the first, 1 the second) or special tokens.
struct TemplatePart {
  int text = -1;  // -1: special tokens
  int32_t type_id = 0;
  std::vector<int32_t> ids;
};

struct PostProcessor {
  std::vector<TemplatePart> single = {{0, 0, {}}}, pair = {{0, 0, {}}, {1, 1, {}}};
  /// Each one drops white space from the ends of offsets; the value is its add_prefix_space.
  std::vector<bool> trims;

  int64_t added(bool is_pair) const;
};

/// Throws Error{unsupported} naming the component and its place.
PostProcessor make_post_processor(const Component& component);
/// [cls] A [sep] and [cls] A [sep] B [sep], B with type 1.
PostProcessor bert_post_processor(int32_t cls, int32_t sep);

}  // namespace lowrank::text
