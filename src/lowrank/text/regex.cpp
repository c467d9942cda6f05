#include "lowrank/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <array>
#include <pcre2.h>

#include "lowrank/text/unicode.h"

namespace lowrank::text {

namespace {

// One match block for each thread, for all patterns: only the whole match is ever asked for.
pcre2_match_data* match_block() {
  struct Delete {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  };
  thread_local const std::unique_ptr<pcre2_match_data, Delete> block(pcre2_match_data_create(1, nullptr));
  return block.get();
}

// `text` with every code point that the reference classifies differently replaced; empty when there is none.
std::string stand_ins(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(text, at);
    const char32_t other = c < 0x300 ? c : regex_stand_in(c);
    if (other == c) continue;
    if (out.empty()) out = text;
    std::string bytes;
    append_utf8(bytes, other);
    out.replace(begin, at - begin, bytes);
  }
  return out;
}

std::string message_of(int code) {
  std::array<unsigned char, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

Pattern::Pattern(const Component& component) {
  component.allow({"String", "Regex"});
  if (component.has("String")) {
    literal_ = component.get<std::string>("String");
    if (literal_.empty()) component.unsupported("an empty pattern");
    return;
  }
  const auto refuse = [&](const std::string& problem) { component.unsupported(problem); };
  compile(translate_regex(component.get<std::string>("Regex"), component), refuse);
}

Pattern::Pattern(const char* expression) {
  compile(expression, [](const std::string& problem) { fail(ErrorKind::internal, "Pattern", problem); });
}

void Pattern::compile(const std::string& expression, const std::function<void(const std::string&)>& refuse) {
  int error = 0;
  size_t position = 0;
  // Neither engine lets '.' match a line feed; '^' and '$' match at every line in the reference's dialect.
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(pcre2_compile_context_create(nullptr),
                                                                                              &pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  auto* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &position, context.get());
  if (!code) refuse(fmt::format("expression does not compile at byte {}: {}", position, message_of(error)));
  code_ = std::shared_ptr<void>(code, [](void* old) { pcre2_code_free(static_cast<pcre2_code*>(old)); });
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
}

std::pair<size_t, size_t> Pattern::next(std::string_view text, size_t at) const {
  if (!code_) {
    const size_t begin = text.find(literal_, at);
    return {begin, begin == std::string_view::npos ? begin : begin + literal_.size()};
  }
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.empty() ? "" : text.data());
  int rc = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, match_block(), nullptr);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    rc = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match_block(), nullptr);
  }
  if (rc == PCRE2_ERROR_NOMATCH) return {std::string_view::npos, std::string_view::npos};
  check(rc >= 0, ErrorKind::unsupported, "Tokenizer::encode", "the split expression gave up on a text of {} bytes: {}", text.size(),
        message_of(rc));
  const size_t* found = pcre2_get_ovector_pointer(match_block());
  return {found[0], found[1]};
}

void Pattern::find(std::string_view text, std::vector<Match>& matches) const {
  const std::string replaced = code_ && !is_ascii(text) ? stand_ins(text) : std::string();
  const std::string_view subject = replaced.empty() ? text : std::string_view(replaced);
  uint32_t previous = 0;
  bool any = false;
  for (size_t at = 0; at <= text.size();) {
    const auto [begin, end] = next(subject, at);
    if (begin == std::string_view::npos) break;
    at = begin < end ? end : end + (end < text.size() ? utf8_length(text[end]) : 1);
    if (begin == end && any && end == previous) continue;  // no empty match right behind another match
    if (previous < begin) matches.push_back({previous, static_cast<uint32_t>(begin), false});
    previous = static_cast<uint32_t>(end);
    matches.push_back({static_cast<uint32_t>(begin), previous, true});
    any = true;
  }
  if (previous < text.size()) matches.push_back({previous, static_cast<uint32_t>(text.size()), false});
}

}  // namespace lowrank::text
