#include "lowrank/adapters/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>
#include <pcre2.h>

#include "lowrank/base/error.h"

namespace lowrank::adapters {

namespace {

// Real patterns take some hundred steps on a name; the default of ten million takes a second.
constexpr uint32_t kMaxSteps = 100'000;
constexpr size_t kMaxExpression = 16'384;

PCRE2_SPTR bytes_of(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.empty() ? "" : text.data()); }

std::string message_of(int code) {
  std::array<unsigned char, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

NamePattern::NamePattern(std::string expression, std::string_view where) : expression_(std::move(expression)), where_(where) {
  check(expression_.size() <= kMaxExpression, ErrorKind::invalid_argument, where_,
        "expected a regular expression of at most {} bytes, got {}", kMaxExpression, expression_.size());
  int error = 0;
  size_t position = 0;
  auto* code = pcre2_compile(bytes_of(expression_), expression_.size(), PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C,
                             &error, &position, nullptr);
  check(code != nullptr, ErrorKind::invalid_argument, where_, "regular expression '{}' does not compile at byte {}: {}", expression_,
        position, message_of(error));
  code_ = std::shared_ptr<void>(code, [](void* old) { pcre2_code_free(static_cast<pcre2_code*>(old)); });
}

bool NamePattern::matches(std::string_view name) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr),
                                                                                 &pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(pcre2_match_context_create(nullptr),
                                                                                          &pcre2_match_context_free);
  pcre2_set_match_limit(context.get(), kMaxSteps);
  const int rc = pcre2_match(static_cast<const pcre2_code*>(code_.get()), bytes_of(name), name.size(), 0, 0, data.get(), context.get());
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0) {
    fail(ErrorKind::invalid_argument, where_, fmt::format("regular expression '{}' gave up on '{}': {}", expression_, name, message_of(rc)),
         "nested repeats such as (a+)+ take exponential time; write it without them");
  }
  return true;
}

NamePattern suffix_pattern(const std::string& key, std::string_view where) { return {"(.*\\.)?(" + key + ")", where}; }

bool matches_glob(std::string_view glob, std::string_view text) {
  size_t g = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g, ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', g) == std::string_view::npos;
}

bool is_portable_regex(std::string_view expression) {
  static const NamePattern foreign(R"((?s).*(\\[pPhHRKQEGXNzg]|\(\*|\(\?(<\w|'|\||&|R|P>|[-+]?\d)|\[\[?:).*)", "internal");
  return !foreign.matches(expression);
}

}  // namespace lowrank::adapters
