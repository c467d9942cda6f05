// Progress of anything that may take over two seconds. The library reports; the program decides how it looks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace lowrank {

struct Progress {
  std::string stage;            // "train", "validate", "tokenize"
  int64_t done = 0, total = 0;  // in `unit`; total 0 when unknown
  std::string unit = "steps";
  std::vector<std::pair<std::string, std::string>> figures;  // ("loss", "0.412"), in the order to show them
};

using ProgressSink = std::function<void(const Progress&)>;

}  // namespace lowrank
