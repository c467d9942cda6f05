// What a model learns from rows of text. The head, the loss and the metric follow from it.
#pragma once

#include <string>
#include <string_view>

namespace lowrank::data {

enum class Task {
  single_label,  // one of C classes
  multi_label,   // any subset of C classes
  regression,    // one number
  embedding,     // two texts whose vectors should be as similar as the number says (1 when none is given)
};

/// The enumerator's own name.
std::string_view to_string(Task task);

/// Throws Error{invalid_argument} naming the choices.
Task parse_task(std::string_view name);

}  // namespace lowrank::data
