// Small row-major matrix products on raw pointers, for kernels that run many of them side by side. The routines are the
// BLAS that libtorch carries; inside at::parallel_for each runs on its own thread.
#pragma once

#include <cstdint>

extern "C" {
void sgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k, const float* alpha, const float* a,
            const int* lda, const float* b, const int* ldb, const float* beta, float* c, const int* ldc);
void dgemm_(const char* transa, const char* transb, const int* m, const int* n, const int* k, const double* alpha, const double* a,
            const int* lda, const double* b, const int* ldb, const double* beta, double* c, const int* ldc);
}

namespace lowrank::kernels {

/// Row-major C [m, n] = alpha·op(A)·op(B) + beta·C; op is 'N' or 'T' of the row-major matrix.
template <class T>
void gemm(char op_a, char op_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b, int64_t ldb, T beta,
          T* c, int64_t ldc) {
  // A row-major matrix is its transpose in BLAS's column order, so C^T = op(B)^T·op(A)^T is asked for.
  const int rows = static_cast<int>(m), columns = static_cast<int>(n), depth = static_cast<int>(k), a_stride = static_cast<int>(lda),
            b_stride = static_cast<int>(ldb), c_stride = static_cast<int>(ldc);
  if constexpr (sizeof(T) == sizeof(float)) {
    sgemm_(&op_b, &op_a, &columns, &rows, &depth, &alpha, b, &b_stride, a, &a_stride, &beta, c, &c_stride);
  } else {
    dgemm_(&op_b, &op_a, &columns, &rows, &depth, &alpha, b, &b_stride, a, &a_stride, &beta, c, &c_stride);
  }
}

/// C = alpha·A·B + beta·C
template <class T>
void gemm_nn(int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  gemm('N', 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
/// C = alpha·A·Bᵀ + beta·C, B [n, k]
template <class T>
void gemm_nt(int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  gemm('N', 'T', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
/// C = alpha·Aᵀ·B + beta·C, A [k, m]
template <class T>
void gemm_tn(int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  gemm('T', 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace lowrank::kernels
