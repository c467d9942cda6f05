// The memory of tensors, kept from step to step.
#pragma once

#include <cstdint>

namespace lowrank::tensor {

/// Has libtorch's CPU tensors come from a pool from now on. A step takes and frees the same few thousand blocks again and
/// again; glibc keeps free blocks of half a megabyte and more in one sorted list, and walks it for each, a twentieth of a step.
/// A freed block serves the next tensor of its size, which is rounded up by a sixteenth at most. When a new one is needed, those that were
/// not used for longest make room for it: what is kept stays below a quarter of what is in use, or what it was.
void install_block_pool();

/// Gives all that is kept back to the heap.
void empty_block_pool();

/// Bytes of freed blocks that are kept.
int64_t pooled_bytes();

}  // namespace lowrank::tensor
