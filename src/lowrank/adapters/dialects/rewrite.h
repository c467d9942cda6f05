// The same update in another form. Exact ones change ΔW by no more than float32's rounding; approximate() says what it loses.
#pragma once

#include "lowrank/adapters/dialects/record.h"

namespace lowrank::adapters {

/// LoKr of two whole factors with the scale multiplied into lokr_w1.
void fold_scale(ModuleRecord& module);

/// Tucker forms without their core, same rank: A'[p,(i,y,x)] = Σ_q mid[p,q,y,x]·A[q,i]; LoKr's second factor likewise.
void drop_core(ModuleRecord& module);

/// The rank that to_lora() would give: LoHa r², LoKr R1·R2 where a whole factor counts with its smaller side.
int64_t lora_rank(const ModuleRecord& module);

/// LoHa or LoKr without a core as B·A. LoHa: B[o,(p,q)] = w1_a[o,p]·w2_a[o,q], A[(p,q),i] = w1_b[p,i]·w2_b[q,i]; LoKr:
/// B = W1_a⊗W2_a, A = W1_b⊗W2_b, a whole factor being itself times the identity. `kernel` as in kernel_of().
void to_lora(ModuleRecord& module, int64_t kernel);

/// The B·A of at most `rank` that is nearest to `update` [O, columns] (Frobenius norm), in place of the module's tensors, scale 1.
void approximate(ModuleRecord& module, const at::Tensor& update, int64_t rank, int64_t kernel);

}  // namespace lowrank::adapters
