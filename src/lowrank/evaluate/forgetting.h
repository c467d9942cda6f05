// What adaptation did to the model's original use: the similarities it gives to pairs of texts, before and after.
#pragma once

#include <ATen/core/Tensor.h>

namespace lowrank::evaluate {

struct SimilarityDrift {
  double rank_agreement = 1;    // Spearman's correlation of the pair similarities before and after; 1: nothing changed
  double similarity_shift = 0;  // mean |cosine after − cosine before|
};

/// before, after [n, D]: unit-length embeddings of the same texts. Compares the cosine of every pair (i, j), i < j < 500.
SimilarityDrift similarity_drift(const at::Tensor& before, const at::Tensor& after);

}  // namespace lowrank::evaluate
