// The "decoder" of tokenizer.json: WordPiece, ByteLevel, BPEDecoder, ByteFallback, Fuse, Strip, Replace, Sequence.
// Source: tokenizers 0.23, src/decoders/.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lowrank/text/component.h"

namespace lowrank::text {

/// Rewrites the list of token texts; the decoded text is their concatenation.
using Decoder = std::function<std::vector<std::string>(std::vector<std::string>)>;

/// Throws Error{unsupported} naming the component and its place.
Decoder make_decoder(const Component& component);
Decoder word_piece_decoder(std::string prefix, bool cleanup);

}  // namespace lowrank::text
