// A normalised text cut into pieces: the input of the model, piece by piece.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "lowrank/text/normalized.h"

namespace lowrank::text {

/// Bytes [begin, end) of sources[source].text. A piece that is an added token is final: it is neither cut nor
/// tokenized.
struct Piece {
  uint32_t source, begin, end;
  int32_t added_id = -1;
};

struct PreTokenized {
  std::vector<Normalized> sources;
  std::vector<Piece> pieces;

  std::string_view text(const Piece& piece) const {
    return std::string_view(sources[piece.source].text).substr(piece.begin, piece.end - piece.begin);
  }
};

/// A stretch of a piece; those of one piece cover it without gaps, in order.
struct Match {
  uint32_t begin, end;
  bool is_match;
};

/// What becomes of a delimiter: "a-b" at '-' gives a|b, a|-|b, a-|b, a|-b; Contiguous joins neighbouring delimiters.
enum class Behaviour { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// `matches` after the behaviour: is_match is left true only for what must be removed.
void apply_behaviour(std::vector<Match>& matches, Behaviour behaviour);

/// Cuts each piece that is no added token: find(text, matches) fills `matches` for it. Empty pieces vanish.
template <class F>
void split_pieces(PreTokenized& in, Behaviour behaviour, F find) {
  std::vector<Piece> out;
  out.reserve(in.pieces.size() * 2);
  std::vector<Match> matches;
  for (const Piece& piece : in.pieces) {
    if (piece.added_id >= 0) {
      out.push_back(piece);
      continue;
    }
    matches.clear();
    find(in.text(piece), matches);
    apply_behaviour(matches, behaviour);
    for (const auto& [begin, end, removed] : matches) {
      if (!removed && begin < end) out.push_back({piece.source, piece.begin + begin, piece.begin + end});
    }
  }
  in.pieces = std::move(out);
}

/// split_pieces at every code point for which is_delimiter(c).
template <class F>
void split_at(PreTokenized& in, Behaviour behaviour, F is_delimiter) {
  split_pieces(in, behaviour, [&](std::string_view text, std::vector<Match>& matches) {
    uint32_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      const auto start = static_cast<uint32_t>(at);
      if (!is_delimiter(next_code_point(text, at))) continue;
      if (begin < start) matches.push_back({begin, start, false});
      begin = static_cast<uint32_t>(at);
      matches.push_back({start, begin, true});
    }
    if (begin < text.size()) matches.push_back({begin, static_cast<uint32_t>(text.size()), false});
  });
}

}  // namespace lowrank::text
