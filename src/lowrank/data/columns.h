// Which column of a table holds the text, its pair and the label.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lowrank/data/table.h"

namespace lowrank::data {

/// Named columns must exist; the others are found by their usual names, in any case, in this order:
/// pairs sentence1/sentence2, text/text_pair, text1/text2, premise/hypothesis, question1/question2, question/sentence,
/// anchor/positive; text: text, sentence, content, description, review, comment, message, document, body, question,
/// tweet, utterance; label: label, labels, class, category, section, target, score, intent, sentiment, topic, tags. A
/// pair is looked for only when neither text column is named. Throws Error{invalid_argument} with near misses when a
/// named column is absent, Error{file_format} when no text column is found, no label column is found though required,
/// or two columns share a name.
Columns detect_columns(const std::vector<std::string>& names, const TableOptions& options, std::string_view where);

}  // namespace lowrank::data
