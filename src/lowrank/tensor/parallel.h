// Loops over libtorch's own threads. at::parallel_for is a template that runs serially in a program compiled without OpenMP, and a
// second OpenMP runtime beside libtorch's would double the threads; so this calls the runtime that libtorch has loaded.
#pragma once

#include <cstdint>
#include <functional>

namespace lowrank::tensor {

/// body(first, last) for pieces of [begin, end) of `grain` items, each thread taking the next piece when it is done with one. Serial, in
/// one piece, inside another such loop, with one thread, and where libtorch has no GNU-compatible OpenMP. The first exception is thrown
/// here.
void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

}  // namespace lowrank::tensor
