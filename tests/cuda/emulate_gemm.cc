/* What core/cuda/gemm.h promises, in plain loops: stands in for the library where there is no
 * device. */
#include "core/cuda/gemm.h"
#include "tests/cuda/emulate.h"
#include "tests/cuda/toolkit/cuda_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

static float value(const void *base, fc_dtype type, int64_t at)
{
    return type == FC_F32 ? static_cast<const float *>(base)[at]
                          : __bfloat162float(static_cast<const fc_bf16 *>(base)[at]);
}

/* Lines of depth k, one after another: rows of op(a), or columns of op(b). */
static std::vector<double> lines(const void *base, fc_dtype type, int64_t count, int64_t k,
                                 int64_t from_line, int64_t from_depth)
{
    std::vector<double> out((size_t)(count * k));
    for (int64_t i = 0; i < count; i++) {
        for (int64_t d = 0; d < k; d++) {
            out[(size_t)(i * k + d)] = (double)value(base, type, i * from_line + d * from_depth);
        }
    }
    return out;
}

/* In four sums, whose order is always the same. */
static double product(const double *x, const double *y, int64_t k)
{
    double sum[4] = {0, 0, 0, 0};
    int64_t d = 0;
    for (; d + 4 <= k; d += 4) {
        for (int j = 0; j < 4; j++) {
            sum[j] += x[d + j] * y[d + j];
        }
    }
    for (; d < k; d++) {
        sum[0] += x[d] * y[d];
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void put_sums(float *to, const std::vector<double> &x, int64_t count, int64_t k)
{
    for (int64_t i = 0; to != nullptr && i < count; i++) {
        double sum = 0;
        for (int64_t d = 0; d < k; d++) {
            sum += x[(size_t)(i * k + d)];
        }
        to[i] = (float)sum;
    }
}

static bool tuned;

bool fci_cuda_gemm(const fci_cuda_gemm_args *g)
{
    const void *addresses[] = {g->a, g->b, g->d, g->add, g->bias, g->a_sums, g->b_sums};
    emulate_check_addresses(addresses, sizeof addresses);
    emulate_open_memory();
    const std::vector<double> a = lines(g->a, g->type, g->m, g->k, g->a_transposed ? 1 : g->lda,
                                        g->a_transposed ? g->lda : 1);
    const std::vector<double> b = lines(g->b, g->type, g->n, g->k, g->b_transposed ? g->ldb : 1,
                                        g->b_transposed ? 1 : g->ldb);
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            double y = (double)g->alpha * product(a.data() + i * g->k, b.data() + j * g->k, g->k);
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
    const bool wanted = g->a_sums != nullptr || g->b_sums != nullptr, sums = tuned && g->k > 0;
    if (sums) {
        put_sums(g->a_sums, a, g->m, g->k);
        put_sums(g->b_sums, b, g->n, g->k);
    }
    emulate_close_memory();
    return !wanted || sums;
}

fc_status fci_cuda_gemm_start(void)
{
    return FC_OK;
}

void fci_cuda_gemm_stop(void)
{
}

/* Nothing to time, and sums with products; FINECLIP_EMULATED_TUNING shows what was asked for. */
void fci_cuda_gemm_tune(bool on, const char *folder)
{
    tuned = on;
    if (std::getenv("FINECLIP_EMULATED_TUNING") != nullptr) {
        std::fprintf(stderr, "emulate: tuning %s in %s\n", on ? "on" : "off",
                     folder != nullptr ? folder : "nothing");
    }
}
