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

/// packed_attention where all sequences have the same number of query rows, and all the same number of key rows: the library's
/// attention over one batch, which needs no kernel of ours on any device. On two cores 32 sequences of 65 and 197 rows, D 192 and
/// 768, take it 0.64 to 0.96 of packed_attention's time forward, 0.87 to 1.08 with backward.
at::Tensor batch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t sequences, int64_t heads);

}  // namespace lowrank::kernels
