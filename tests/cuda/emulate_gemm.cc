/* What core/cuda/gemm.h promises, in plain loops: stands in for the library where there is no
 * device. */
#include "core/cuda/gemm.h"
#include "tests/cuda/emulate.h"

static float value(const void *base, fc_dtype type, int64_t at)
{
    return type == FC_F32 ? static_cast<const float *>(base)[at]
                          : __bfloat162float(static_cast<const fc_bf16 *>(base)[at]);
}

void fci_cuda_gemm(const fci_cuda_gemm_args *g)
{
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < g->k; k++) {
                sum +=
                    (double)value(g->a, g->type,
                                  g->a_transposed ? k * g->lda + i : i * g->lda + k) *
                    (double)value(g->b, g->type, g->b_transposed ? j * g->ldb + k : k * g->ldb + j);
            }
            double y = (double)g->alpha * sum;
            const int64_t at = i * g->ldd + j;
            y += g->add != nullptr ? (double)value(g->add, g->d_type, at) : 0;
            y += g->bias != nullptr ? (double)value(g->bias, g->d_type, j) : 0;
            if (g->d_type == FC_F32) {
                static_cast<float *>(g->d)[at] = (float)y;
            } else {
                static_cast<fc_bf16 *>(g->d)[at] = __float2bfloat16((float)y);
            }
        }
    }
}
