// An adapter as any file says it: modules by component and diffusers path, each with its tensors under our names. Readers of
// all dialects make this, writers start from it, and delta() says once, in float64, what it means.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "lowrank/tensor/load.h"

namespace lowrank::adapters {

/// How ΔW is made of its tensors; s is ModuleRecord::scale().
///   lora  s·B·A; with lora_mid (Tucker) s·Σ_pq B[o,p]·mid[p,q,y,x]·A[q,i]
///   loha  s·(w1_a·w1_b) ⊙ (w2_a·w2_b); with t1, t2 each half is Σ_pq t[p,q,y,x]·w_a[p,o]·w_b[q,i]
///   lokr  s·(W1 ⊗ W2); with t2, W2 = Σ_pq t2[p,q,y,x]·w2_a[p,o]·w2_b[q,i]
///   full  diff
enum class Update { lora, loha, lokr, full };
/// "lora" and so on.
std::string_view to_string(Update update);

/// Which norms of W + ΔW the magnitude replaces: each row's (PEFT; LyCORIS from 3.2) or each input channel's (LyCORIS before).
enum class MagnitudeAxis { none, output, input };

/// one: the tensors are ΔW as they are (full; LyCORIS's LoKr with two whole factors).
enum class ScaleRule { alpha_over_rank, alpha_over_root_rank, one };

struct ModuleRecord {
  std::string component;      // "unet", "text_encoder", "text_encoder_2"
  std::string module;         // dotted, as diffusers and transformers name it
  tensor::TensorMap tensors;  // lora_A, lora_B, lora_mid, lora_magnitude_vector, lokr_…, hada_…, diff, diff_b; as stored
  Update update = Update::lora;
  MagnitudeAxis axis = MagnitudeAxis::none;
  ScaleRule rule = ScaleRule::alpha_over_rank;
  int64_t rank = 0;  // 0 for full, and for LoKr with two whole factors in a file that says no rank
  double alpha = 0;

  double scale() const;
  bool has(const std::string& tensor) const { return tensors.contains(tensor); }
  std::string name() const { return component.empty() ? module : component + "." + module; }
  /// "LoRA", "LoCon (Tucker)", "DoRA on LoKr, input axis": for people.
  std::string method() const;
};

/// O and columns of delta(), from the tensors' shapes alone. Throws c10::Error when they do not fit each other.
struct MatrixShape {
  int64_t out, columns;
};
MatrixShape matrix_shape(const ModuleRecord& module);

/// Sets update, axis and rank from the tensors' names and shapes. Throws Error{file_format} naming the module for a set of
/// tensors that is none of the forms above, shapes that do not fit, a dtype that is not floating point, and NaN or infinity.
void classify(ModuleRecord& module, std::string_view where);

/// ΔW [O, columns] in float64, columns = I · kh · kw; the magnitude is not applied. For a norm's difference [O, 1].
at::Tensor delta(const ModuleRecord& module);

/// ‖ΔW‖ (Frobenius); of plain B·A through the factors' Gram matrices, ‖B·A‖² = Σ (BᵀB ⊙ AAᵀ), without the product.
double update_norm(const ModuleRecord& module);

/// W' [O, columns] in float64 for the base weight w (any shape with O first): w + ΔW, with rows or input channels scaled to the
/// magnitude. A norm of 0 divides as 1.
at::Tensor adapted(const ModuleRecord& module, const at::Tensor& w);

/// Everything of one adapter.
struct AdapterRecord {
  std::vector<ModuleRecord> modules;  // sorted by component, then module
  io::Metadata metadata;              // as the file has it
  std::vector<std::string> notes;     // what was assumed in reading, for the report
  std::vector<std::string> unknown;   // tensors that no rule knows, each with the reason; never dropped in silence
};

void sort_modules(AdapterRecord& record);
/// The runs of modules of one component, of a sorted record.
std::vector<std::span<const ModuleRecord>> components_of(const AdapterRecord& record);

}  // namespace lowrank::adapters
