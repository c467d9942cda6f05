// Two targets in one. First byte even: the rest is a tokenizer.json, which must load and encode or throw
// lowrank::Error. Odd: the rest is a text (any bytes) for one of the small tokenizers of tests/golden/text, whose
// encoding must be in order.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <unistd.h>
#include <vector>

#include "lowrank/base/error.h"
#include "lowrank/text/tokenizer.h"
#include "lowrank/text/utf8.h"

namespace {

using lowrank::text::Encoding;
using lowrank::text::Tokenizer;

void expect(bool ok) {
  if (!ok) std::abort();
}

void check_encoding(const Tokenizer& tokenizer, std::string_view text) {
  const Encoding e = tokenizer.encode(text);
  expect(e.ids.size() == e.offsets.size() && e.ids.size() == e.type_ids.size() && e.ids.size() == e.special.size());
  const auto length = static_cast<int32_t>(lowrank::text::count_code_points(lowrank::text::repair_utf8(text)));
  for (size_t i = 0; i < e.ids.size(); ++i) {
    expect(0 <= e.offsets[i].begin && e.offsets[i].begin <= e.offsets[i].end && e.offsets[i].end <= length);
    expect(!tokenizer.id_to_token(e.ids[i]).empty() || e.special[i] != 0);
  }
  expect(lowrank::text::is_utf8(tokenizer.decode(e.ids)));
}

const std::vector<Tokenizer>& known() {
  static const std::vector<Tokenizer> tokenizers = [] {
    std::vector<Tokenizer> out;
    for (const char* name : {"gpt2", "roberta", "llama3", "qwen2", "smollm2", "byte_fallback", "suffix", "word_piece"}) {
      out.push_back(Tokenizer::load(std::string(LOWRANK_SOURCE_DIR "/tests/golden/text/") + name + ".tokenizer.json"));
    }
    return out;
  }();
  return tokenizers;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  try {
    if (data[0] % 2 != 0) {
      check_encoding(known()[data[0] / 2 % known().size()], rest);
    } else {
      const std::string path = "/dev/shm/lowrank-fuzz-" + std::to_string(::getpid()) + ".json";
      std::ofstream(path) << rest;
      const Tokenizer tokenizer = Tokenizer::load(path);
      tokenizer.encode("Hello, wörld 123 <s>[CLS]\xF0\x9F\x99\x82\xFF", "second text");
    }
  } catch (const lowrank::Error&) {}
  return 0;
}
