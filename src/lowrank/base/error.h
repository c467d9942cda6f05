// The one error type of the project, and the one way to raise it.
//
// A message reads "[where] expected X, got Y", followed by a hint when a remedy is known. The category lets a caller
// map an error to an exit code or an HTTP status without reading the text.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lowrank {

enum class ErrorKind {
  invalid_argument,  // the caller or user asked for something that makes no sense
  file_format,       // a file's content breaks its format
  shape,             // tensors that do not fit each other
  unsupported,       // sensible, but not built
  io,                // the operating system refused
  out_of_memory,     // it cannot fit
  cancelled,         // the user stopped it
  internal,          // a defect of this program
};

/// "file_format" and so on: the enumerator's own name.
std::string_view to_string(ErrorKind kind);

/// Process exit status for an error of this kind: 2 invalid_argument, 3 file_format, 4 shape, 5 unsupported, 6 io,
/// 7 out_of_memory, 130 cancelled (as after Ctrl-C), 70 internal.
int exit_status(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string where, std::string problem, std::string hint = {});

  ErrorKind kind() const { return kind_; }
  const std::string& where() const { return where_; }
  const std::string& problem() const { return problem_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorKind kind_;
  std::string where_, problem_, hint_;
};

[[noreturn]] void fail(ErrorKind kind, std::string_view where, std::string problem, std::string hint = {});

/// Throws Error{kind} with the formatted problem unless `ok`.
template <class... Args>
void check(bool ok, ErrorKind kind, std::string_view where, fmt::format_string<Args...> problem, Args&&... args) {
  if (!ok) [[unlikely]] {
    fail(kind, where, fmt::format(problem, std::forward<Args>(args)...));
  }
}

/// Collects every problem of a file or configuration, so that the user mends them in one go.
class Problems {
 public:
  explicit Problems(ErrorKind kind, std::string where) : kind_(kind), where_(std::move(where)) {}

  void add(std::string problem) { list_.push_back(std::move(problem)); }
  bool empty() const { return list_.empty(); }
  /// Throws one Error that lists all problems (the first 20, then a count), if there are any.
  void raise_if_any(std::string hint = {}) const;

 private:
  ErrorKind kind_;
  std::string where_;
  std::vector<std::string> list_;
};

/// ", did you mean 'x', 'y'?" from the candidates closest to `name` by edit distance; "" when none is close.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace lowrank
