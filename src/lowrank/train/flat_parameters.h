// Everything that trains, in one float32 buffer, and its gradients in another: the optimiser runs one kernel, clipping
// reads one buffer, a checkpoint is one tensor.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>
#include <vector>

namespace lowrank::train {

/// A leaf tensor that trains.
struct Trainable {
  std::string name;
  at::Tensor tensor;
  double rate = 1;  // its share of the learning rate
};

class FlatParameters {
 public:
  struct Entry {
    std::string name;
    at::Tensor tensor;           // the caller's; a view of values() when float32
    at::Tensor value, gradient;  // its parts of values() and gradients(), in its shape
  };

  /// Moves the tensors into the buffer: each float32 tensor becomes a view of it and its grad a view of gradients(), so
  /// that backward accumulates in place. A narrower tensor keeps its storage; the buffer holds its float32 original.
  /// All are set to require gradients. Matrices come first, then what weight decay leaves alone: tensors with one
  /// dimension (biases, norms, magnitudes); in both, tensors of one rate lie together. Throws Error{internal} for a tensor given twice, or
  /// on another device.
  explicit FlatParameters(std::vector<Trainable> parameters);

  const at::Tensor& values() const { return values_; }        // [P]
  const at::Tensor& gradients() const { return gradients_; }  // [P]
  int64_t decayed() const { return decayed_; }                // values()[0 … decayed()-1] are matrices
  /// Runs of values() that are stepped alike, in order.
  struct Segment {
    int64_t begin, end;
    double rate;
    bool decays;
  };
  const std::vector<Segment>& segments() const { return segments_; }
  int64_t count() const;  // of trained numbers, padding left out
  const std::vector<Entry>& entries() const { return entries_; }

  /// After each backward: adds narrower tensors' gradients to gradients() and clears them.
  void gather();
  /// After values() changed: rounds narrower tensors from it, and marks every tensor as changed.
  void publish();
  /// Copies `values` [P] in and publishes it.
  void assign(const at::Tensor& values);

  /// While it lives, every tensor is a view of values(), the narrower ones too: what is saved then was not rounded.
  class Widened {
   public:
    explicit Widened(FlatParameters& parameters);
    ~Widened();
    Widened(const Widened&) = delete;
    Widened& operator=(const Widened&) = delete;

   private:
    std::vector<std::pair<at::Tensor, at::Tensor>> narrow_;  // a tensor, and its own storage
  };

  /// Ends training: no tensor requires or holds a gradient any more. The tensors stay views of values().
  void release();

  /// "gradient of 'x'" or "value of 'x'" for the first tensor that holds NaN or infinity; "" when none does.
  std::string first_non_finite() const;

 private:
  std::vector<Entry> entries_;
  at::Tensor values_, gradients_;
  int64_t decayed_ = 0;
  std::vector<Segment> segments_;
};

}  // namespace lowrank::train
