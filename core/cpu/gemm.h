/* Matrix products from tuned libraries. Row-major: c (m,n) = alpha op(a) (m,k) op(b) (k,n) + beta
 * c, op(a) = a^T where ta. lda, ldb, ldc: values from one stored row to the next. beta 0 overwrites
 * c whatever it holds. Several threads outside OpenMP parallel regions, one inside. Which library
 * computes which shape was measured: tests/bench/gemm.md. */
#ifndef FC_CORE_CPU_GEMM_H
#define FC_CORE_CPU_GEMM_H

#include <stdbool.h>
#include <stdint.h>

void fci_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                  int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
void fci_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a,
                  int64_t lda, const double *b, int64_t ldb, double beta, double *c, int64_t ldc);

#endif
