// Gradient checkpointing: a part of the network is run again in the backward pass instead of keeping what it computed.
// Chen et al., arXiv 1604.06174; PyTorch's re-entrant `torch.utils.checkpoint`.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <vector>

namespace lowrank::nn {

using Recomputed = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

/// run(inputs), of which only the inputs (all defined) are kept for the backward pass. `run` must give the same again,
/// is kept until then with all it refers to, and may use parameters beside its inputs: their gradients are accumulated
/// in backward(), but torch::autograd::grad() of them sees none. Without gradients to take it is just run.
at::Tensor recompute(Recomputed run, const std::vector<at::Tensor>& inputs);

}  // namespace lowrank::nn
