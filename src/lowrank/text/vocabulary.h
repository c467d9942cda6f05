// Tokens and their ids, both ways. Ids need not be dense, but are distinct.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lowrank/text/component.h"

namespace lowrank::text {

/// Text to id: open addressing over one block of bytes; built once, then read by many threads.
class StringTable {
 public:
  /// Entries are views that must outlive this call only.
  explicit StringTable(const std::vector<std::pair<std::string_view, int32_t>>& entries = {});

  /// The id, or -1.
  int32_t find(std::string_view text) const;
  /// Bytes of the longest entry: longer texts need not be looked up.
  size_t longest() const { return longest_; }

 private:
  struct Slot {
    uint32_t hash = 0, begin = 0, length = 0;
    int32_t id = -1;  // -1: free
  };
  std::vector<Slot> slots_;
  std::string bytes_;
  size_t longest_ = 0;
};

class Vocabulary {
 public:
  Vocabulary() = default;
  /// From the "vocab" object of a model. Throws Error{file_format} for ids that are negative, too large or used twice.
  explicit Vocabulary(const Component& model);
  /// From tokens in order: the i-th has id i. Throws Error{file_format} naming `where` for a duplicate.
  Vocabulary(std::vector<std::string> tokens, const std::string& where);

  int32_t find(std::string_view token) const { return table_.find(token); }
  size_t longest() const { return table_.longest(); }
  /// nullptr when no token has this id.
  const std::string* token(int32_t id) const;
  int32_t size() const { return size_; }
  /// One more than the greatest id.
  int32_t end_id() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  void build_table();
  std::vector<std::string> tokens_;  // by id
  std::vector<bool> used_;
  int32_t size_ = 0;
  StringTable table_;
};

}  // namespace lowrank::text
