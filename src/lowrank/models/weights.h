// Between a model's parameters and the tensors of files under other names.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <torch/nn/module.h>

#include "lowrank/base/error.h"
#include "lowrank/io/names/ldm.h"
#include "lowrank/tensor/load.h"

namespace lowrank::models {

/// How a parameter is kept.
struct Storage {
  at::ScalarType dtype;
  at::MemoryFormat layout = at::MemoryFormat::Contiguous;
};

/// Puts a copy of a stored tensor behind a parameter. What is wrong with it (shape, dtype, NaN), else nothing.
std::optional<std::string> put(at::Tensor& parameter, const io::TensorView& view, Storage storage, io::LdmPart part = io::LdmPart::whole);

/// Error{invalid_argument} when a host has an adapter that is not merged, which saving would lose.
void refuse_unmerged(const torch::nn::Module& model);

/// The name and part of the stored tensor that a parameter is.
using SourceOf = std::function<io::LdmTensor(const std::string& parameter)>;

/// A file's tensors, each to be taken by a model.
class StoredTensors {
 public:
  /// `key_of` brings a stored name to the spelling that SourceOf gives; "" leaves the tensor unread (named in a log notice).
  StoredTensors(const io::TensorFile& file, const std::function<std::string(const std::string&)>& key_of);

  bool any_with(std::string_view prefix) const;
  /// Fills every parameter of `model`, cast to `dtype`.
  void fill(torch::nn::Module& model, const SourceOf& source_of, at::ScalarType dtype);
  /// Throws Error{file_format} listing what is missing, misshapen, not finite, or belongs to nothing.
  void finish();

 private:
  struct Stored {
    const io::TensorView* view;
    bool taken = false;
  };

  std::string path_;
  Problems problems_;
  std::map<std::string, Stored, std::less<>> stored_;
};

/// Adds the parameters of `model` to `tensors` under their stored names, fused parts joined.
void collect(const torch::nn::Module& model, const SourceOf& source_of, tensor::TensorMap& tensors);

}  // namespace lowrank::models
