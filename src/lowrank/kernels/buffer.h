// Memory for one thread's intermediate results: not initialised, kept while it is large enough.
#pragma once

#include <cstdint>
#include <memory>

namespace lowrank::kernels {

template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t size = 0) { at_least(size); }
  T* get() const { return data_.get(); }
  /// Room for `size` numbers; what was in it may be lost.
  T* at_least(int64_t size) {
    if (size > size_) data_ = std::make_unique_for_overwrite<T[]>(static_cast<size_t>(size_ = size));
    return data_.get();
  }

 private:
  std::unique_ptr<T[]> data_;
  int64_t size_ = 0;
};

}  // namespace lowrank::kernels
