// Where the time of a step goes: libtorch's own record of every operator, each with the time that no operator inside it took.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "lowrank/base/json.h"

namespace lowrank::bench {

/// Records this thread while it lives; one at a time.
class OperatorTimes {
 public:
  /// Matrix products with a dimension of at most `rank` count as the adapter's.
  explicit OperatorTimes(int64_t rank);
  ~OperatorTimes();
  OperatorTimes(const OperatorTimes&) = delete;
  OperatorTimes& operator=(const OperatorTimes&) = delete;

  /// Everything until the next call counts as the optimiser's (true), or as what it is (false).
  void in_optimiser(bool value);

  /// {"groups": {"frozen products": {seconds, calls, flops}, …}, "operators": {"aten::gelu": {…}, …}}
  Json to_json() const;

 private:
  uint64_t handle_;
};

}  // namespace lowrank::bench
