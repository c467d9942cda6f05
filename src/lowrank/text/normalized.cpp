#include "lowrank/text/normalized.h"

namespace lowrank::text {

void Normalized::reserve(size_t bytes) {
  text.reserve(bytes);
  origin.reserve(bytes);
}

void Normalized::append(char32_t c, Span span) {
  append_utf8(text, c);
  origin.resize(text.size(), span);
}

void Normalized::append(std::string_view bytes, Span span) {
  text += bytes;
  origin.resize(text.size(), span);
}

void Normalized::append(const Normalized& other, size_t begin, size_t end) {
  text.append(other.text, begin, end - begin);
  origin.insert(origin.end(), other.origin.begin() + static_cast<long>(begin), other.origin.begin() + static_cast<long>(end));
}

Normalized identity(std::string_view text, size_t start) {
  Normalized out;
  out.text = text;
  out.origin.resize(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text[at]);
    const Span span{static_cast<uint32_t>(start + at), static_cast<uint32_t>(start + at + length)};
    for (size_t i = 0; i < length; ++i) out.origin[at++] = span;
  }
  return out;
}

Normalized apply_changes(const Normalized& in, const std::vector<Change>& changes) {
  Normalized out;
  out.reserve(in.text.size() + changes.size());
  size_t at = 0;
  for (const auto& [c, change] : changes) {
    const bool replaces = change <= 0 && at < in.text.size();
    const Span span = replaces ? in.origin[at] : at > 0 ? in.origin[at - 1] : Span{0, 0};
    for (int32_t consumed = change; consumed <= 0 && at < in.text.size(); ++consumed) at += utf8_length(in.text[at]);
    out.append(c, span);
  }
  return out;
}

}  // namespace lowrank::text
