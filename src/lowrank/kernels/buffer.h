// Memory for one thread's intermediate results: not initialised, kept while it is large enough.
#pragma once

#include <c10/core/CPUAllocator.h>
#include <cstdint>

namespace lowrank::kernels {

/// From libtorch's allocator: on whole cache lines, of which a tile's rows are then one each.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t size = 0) { at_least(size); }
  T* get() const { return static_cast<T*>(data_.get()); }
  /// Room for `size` numbers; what was in it may be lost.
  T* at_least(int64_t size) {
    if (size > size_) {
      data_.clear();
      data_ = c10::GetCPUAllocator()->allocate(static_cast<size_t>(size_ = size) * sizeof(T));
    }
    return get();
  }

 private:
  at::DataPtr data_;
  int64_t size_ = 0;
};

}  // namespace lowrank::kernels
