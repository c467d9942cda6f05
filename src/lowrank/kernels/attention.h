// Bidirectional multi-head attention over packed sequences: each sequence attends to itself alone.
#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

namespace lowrank::kernels {

/// For each sequence s and head h: softmax(Q_h·K_hᵀ/√d)·V_h.
/// q [Nq, D], k and v [Nk, D] with D = heads·d, head h in columns h·d … (h+1)·d−1; result [Nq, D]. Sequence s has the query
/// rows query_offsets[s] … query_offsets[s+1]−1 and likewise key rows: equal offsets for self-attention, one query row a
/// sequence where only its first token is wanted.
/// Only the row statistics are kept: the backward pass computes the probabilities again.
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<int64_t>& query_offsets,
                            const std::vector<int64_t>& key_offsets, int64_t heads);

}  // namespace lowrank::kernels
