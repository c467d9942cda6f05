#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "lowrank/text/model.h"
#include "lowrank/text/utf8.h"

namespace lowrank::text {

namespace {

struct Merge {
  uint32_t rank = UINT32_MAX;  // UINT32_MAX: the pair does not merge
  int32_t id = -1;
};

// (left id, right id) to the merge: open addressing.
class MergeTable {
 public:
  void reserve(size_t count) { slots_.resize(std::bit_ceil(std::max<size_t>(count * 2, 8))); }
  // A pair given twice has its later rank, as in the reference.
  void set(int32_t left, int32_t right, Merge merge) { slots_[position(key_of(left, right))] = {key_of(left, right), merge}; }
  Merge find(int32_t left, int32_t right) const { return slots_[position(key_of(left, right))].merge; }

 private:
  struct Slot {
    uint64_t key = UINT64_MAX;  // free
    Merge merge;
  };
  static uint64_t key_of(int32_t left, int32_t right) { return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right); }
  size_t position(uint64_t key) const {
    size_t at = (key * 0x9E3779B97F4A7C15U >> 32) & (slots_.size() - 1);
    while (slots_[at].key != key && slots_[at].key != UINT64_MAX) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  std::vector<Slot> slots_;
};

struct Symbol {
  int32_t id;
  uint32_t length;  // bytes; 0: merged into the one before
  int32_t previous, next;
};

struct Candidate {
  uint32_t rank;
  int32_t position, id;
  // Lowest rank first, then leftmost: the order of a max-heap.
  bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : position > other.position; }
};

struct Options {
  std::string unk_token, prefix, suffix;
  bool has_unk = false, fuse_unk = false, byte_fallback = false, ignore_merges = false;
};

class Bpe : public Model {
 public:
  Bpe(Vocabulary vocabulary, Options options, const Component& component) : Model(std::move(vocabulary)), options_(std::move(options)) {
    if (options_.has_unk) {
      unk_id_ = this->vocabulary().find(options_.unk_token);
      if (unk_id_ < 0) component.broken("names an unknown token '{}' that its vocabulary lacks", options_.unk_token);
    }
    read_merges(component);
    std::string bytes;
    for (char32_t c = 0; c < small_.size(); ++c) {
      bytes.clear();
      append_utf8(bytes, c);
      small_[c] = this->vocabulary().find(bytes);
    }
    for (size_t byte = 0; options_.byte_fallback && byte < bytes_.size(); ++byte) {
      bytes_[byte] = this->vocabulary().find(fmt::format("<0x{:02X}>", byte));
    }
  }

  void tokenize(std::string_view piece, std::vector<ModelToken>& out) const override {
    if (options_.ignore_merges) {
      if (const int32_t id = vocabulary().find(piece); id >= 0) {
        out.push_back({id, 0, static_cast<uint32_t>(piece.size())});
        return;
      }
    }
    thread_local std::vector<Symbol> symbols;
    start(piece, symbols);
    merge_all(symbols);
    uint32_t at = 0;
    for (const Symbol& symbol : symbols) {
      if (symbol.length == 0) continue;
      out.push_back({symbol.id, at, at + symbol.length});
      at += symbol.length;
    }
  }

 private:
  void read_merges(const Component& component) {
    const Json& merges = component.value().at("merges");
    merges_.reserve(merges.size());
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      const auto [left, right] = merge_parts(merges[rank], rank, component);
      if (right.size() < options_.prefix.size()) component.broken("has merge {} shorter than the subword prefix", rank);
      const std::array ids = {vocabulary().find(left), vocabulary().find(right),
                              vocabulary().find(left + right.substr(options_.prefix.size()))};
      if (*std::min_element(ids.begin(), ids.end()) < 0) {
        component.broken("has merge {} ('{}' + '{}') of tokens that its vocabulary lacks", rank, left, right);
      }
      merges_.set(ids[0], ids[1], {static_cast<uint32_t>(rank), ids[2]});
    }
  }

  // ["a", "b"], or "a b" in older files.
  static std::pair<std::string, std::string> merge_parts(const Json& merge, size_t rank, const Component& component) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      return {merge[0].get<std::string>(), merge[1].get<std::string>()};
    }
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      component.broken("has merge {} that is no pair: {}", rank, merge.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    return {text.substr(0, space), text.substr(space + 1)};
  }

  static void add(std::vector<Symbol>& symbols, int32_t id, size_t length) {
    const auto position = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, static_cast<uint32_t>(length), position - 1, position + 1});
  }

  int32_t start_id(std::string_view part, bool first, bool last) const {
    if ((first || options_.prefix.empty()) && (!last || options_.suffix.empty())) {
      size_t at = 0;
      const char32_t c = next_code_point(part, at);
      return c < small_.size() ? small_[c] : vocabulary().find(part);
    }
    return vocabulary().find((first ? "" : options_.prefix) + std::string(part) + (last ? options_.suffix : ""));
  }

  // One symbol for each code point; unknown ones as bytes, as the unknown token, or left out, as the options say.
  void start(std::string_view piece, std::vector<Symbol>& symbols) const {
    symbols.clear();
    size_t unknown = 0;  // bytes of the pending unknown token
    const auto flush = [&] {
      if (unknown > 0) add(symbols, unk_id_, unknown);
      unknown = 0;
    };
    for (size_t at = 0; at < piece.size();) {
      const size_t begin = at;
      at += utf8_length(piece[at]);
      const std::string_view part = piece.substr(begin, at - begin);
      const int32_t id = start_id(part, begin == 0, at == piece.size());
      if (id >= 0) {
        flush();
        add(symbols, id, part.size());
      } else if (!(options_.byte_fallback && add_bytes(part, begin == 0, at == piece.size(), symbols)) && options_.has_unk) {
        if (!options_.fuse_unk) flush();
        unknown += part.size();
      }
    }
    flush();
    if (!symbols.empty()) symbols.back().next = -1;
  }

  bool add_bytes(std::string_view part, bool first, bool last, std::vector<Symbol>& symbols) const {
    const std::string whole = (first ? "" : options_.prefix) + std::string(part) + (last ? options_.suffix : "");
    const auto id_of = [&](char byte) { return bytes_[static_cast<uint8_t>(byte)]; };
    if (std::any_of(whole.begin(), whole.end(), [&](char byte) { return id_of(byte) < 0; })) return false;
    for (const char byte : whole) add(symbols, id_of(byte), 1);
    return true;
  }

  void merge_all(std::vector<Symbol>& symbols) const {
    thread_local std::vector<Candidate> heap;
    heap.clear();
    const auto at = [&](int32_t position) -> Symbol& { return symbols[static_cast<size_t>(position)]; };
    const auto consider = [&](int32_t left, int32_t right) {
      const Merge merge = merges_.find(at(left).id, at(right).id);
      if (merge.id >= 0) heap.push_back({merge.rank, left, merge.id});
      return merge.id >= 0;
    };
    for (int32_t i = 0; i + 1 < static_cast<int32_t>(symbols.size()); ++i) consider(i, i + 1);
    std::make_heap(heap.begin(), heap.end());
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const Candidate best = heap.back();
      heap.pop_back();
      Symbol& left = at(best.position);
      if (left.length == 0 || left.next < 0) continue;
      Symbol& right = at(left.next);
      if (merges_.find(left.id, right.id).id != best.id) continue;  // one of the two has been merged since
      left.id = best.id;
      left.length += right.length;
      left.next = right.next;
      right.length = 0;
      if (left.next >= 0) at(left.next).previous = best.position;
      if (left.previous >= 0 && consider(left.previous, best.position)) std::push_heap(heap.begin(), heap.end());
      if (left.next >= 0 && consider(best.position, left.next)) std::push_heap(heap.begin(), heap.end());
    }
  }

  Options options_;
  MergeTable merges_;
  int32_t unk_id_ = -1;
  std::array<int32_t, 0x200> small_{};  // ids of single code points, the byte-level alphabet among them
  std::array<int32_t, 256> bytes_{};    // ids of <0x00> to <0xFF>
};

}  // namespace

std::unique_ptr<Model> make_bpe(const Component& component) {
  component.allow({"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges",
                   "vocab", "merges"});
  if (component.get<double>("dropout", 0) != 0) component.unsupported("merge dropout, which makes ids random");
  if (!component.has("merges") || !component.value().at("merges").is_array()) component.broken("has no list 'merges'");
  Options options;
  options.has_unk = component.has("unk_token");
  options.unk_token = component.get<std::string>("unk_token", "");
  options.prefix = component.get<std::string>("continuing_subword_prefix", "");
  options.suffix = component.get<std::string>("end_of_word_suffix", "");
  options.fuse_unk = component.get<bool>("fuse_unk", false);
  options.byte_fallback = component.get<bool>("byte_fallback", false);
  options.ignore_merges = component.get<bool>("ignore_merges", false);
  return std::make_unique<Bpe>(Vocabulary(component), std::move(options), component);
}

}  // namespace lowrank::text
