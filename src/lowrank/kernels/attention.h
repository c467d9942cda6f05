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

/// packed_attention where all sequences have the same number of query rows, and all the same number of key rows. By the library's
/// attention over one batch, which needs no kernel of ours on any device; but in bfloat16 on a matrix unit by packed_attention, which
/// there takes 0.7 to 1.1 of the library's time forward and 0.1 to 0.7 backward (AMX, one thread: 16 to 1024 rows, d 24 to 160). In
/// float32 the library is up to 1.7 times as fast as packed_attention at 1024 rows, and even at 65.
at::Tensor batch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t sequences, int64_t heads);

}  // namespace lowrank::kernels
