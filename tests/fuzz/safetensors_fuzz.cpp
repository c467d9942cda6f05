// Any bytes: the reader either refuses them with an Error, or what it read is inside the file, complete, and comes back
// the same when written and read again.
#include <algorithm>
#include <cstdlib>

#include "lowrank/base/error.h"
#include "lowrank/io/formats/safetensors.h"

namespace {

using namespace lowrank::io;

void require(bool ok) {
  if (!ok) std::abort();
}

std::string written_again(const Contents& contents) {
  std::vector<TensorOut> tensors;
  for (const auto& tensor : contents.tensors) tensors.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
  std::string file = safetensors_header(tensors, contents.metadata, "fuzz");
  for (const auto& tensor : tensors) file.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  return file;
}

void require_same(const Contents& a, const Contents& b) {
  require(a.metadata == b.metadata && a.tensors.size() == b.tensors.size());
  for (const auto& left : a.tensors) {
    const auto right = std::ranges::find(b.tensors, left.name, &TensorView::name);
    require(right != b.tensors.end() && left.dtype == right->dtype && left.shape == right->shape);
    require(std::ranges::equal(left.bytes, right->bytes));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  Contents contents;
  try {
    contents = parse_safetensors(file, "fuzz");
  } catch (const lowrank::Error& error) {
    require(!error.problem().empty() && error.problem().size() < 2048);
    return 0;
  }
  for (const auto& tensor : contents.tensors) {
    require(tensor.bytes.data() >= file.data() && tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size());
    require(static_cast<size_t>(tensor.numel()) * byte_size(tensor.dtype) == tensor.bytes.size());
  }
  const std::string again = written_again(contents);
  require_same(contents, parse_safetensors(std::as_bytes(std::span(again.data(), again.size())), "fuzz"));
  return 0;
}
