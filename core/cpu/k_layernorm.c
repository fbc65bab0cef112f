/* Layer norm of rows, whose values stay in the first-level cache between the passes. */
#include "core/cpu/threads.h"

void FC_FN(layernorm_fwd)(const fci_layernorm_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols;
    const real eps = (real)a->eps, count = (real)n;
    const real *restrict gain = a->gain, *restrict bias = a->bias;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->rows; i++) {
        const real *restrict x = (const real *)a->x + i * n;
        real *restrict y = (real *)a->y + i * n;
        real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < n; j++) {
            sum += x[j];
        }
        const real mean = sum / count;
#pragma omp simd reduction(+ : squares)
        for (int64_t j = 0; j < n; j++) {
            squares = fci_fma(x[j] - mean, x[j] - mean, squares);
        }
        const real rstd = 1 / fci_sqrt(squares / count + eps);
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            y[j] = fci_fma((x[j] - mean) * rstd, gain[j], bias[j]);
        }
        if (a->mean != NULL) {
            ((real *)a->mean)[i] = mean;
            ((real *)a->rstd)[i] = rstd;
        }
    }
}

/* One row back; dgain and dbias are a block's sums. dx may be dy. */
static void row_back(const real *x, const real *dy, const real *restrict gain, real mean, real rstd,
                     int64_t n, fci_out dx, int64_t offset, real *restrict dgain,
                     real *restrict dbias)
{
    real sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t j = 0; j < n; j++) {
        const real normed = (x[j] - mean) * rstd, d = dy[j] * gain[j];
        sum += d;
        product = fci_fma(d, normed, product);
        dgain[j] = fci_fma(dy[j], normed, dgain[j]);
        dbias[j] += dy[j];
    }
    if (dx.at == NULL) {
        return;
    }
    real *to = (real *)dx.at + offset;
    const real a = sum / (real)n, b = product / (real)n;
    if (dx.add) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            to[j] += rstd * (dy[j] * gain[j] - a - (x[j] - mean) * rstd * b);
        }
    } else {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            to[j] = rstd * (dy[j] * gain[j] - a - (x[j] - mean) * rstd * b);
        }
    }
}

void FC_FN(layernorm_bwd)(const fci_layernorm_args *a, fc_arena *scratch)
{
    enum { BLOCK = 32 }; /* rows summed on their own, which keeps rounding errors from piling up */
    const int64_t n = a->cols;
    const int64_t max_threads = omp_get_max_threads();
    real *dgain = fci_reals(scratch, max_threads * n), *dbias = fci_reals(scratch, max_threads * n);
    real *blocks = fci_reals(scratch, max_threads * 2 * n);
    int threads = 1;
#pragma omp parallel
    {
        const int thread = omp_get_thread_num();
        real *restrict g = dgain + thread * n, *restrict b = dbias + thread * n;
        real *restrict block_g = blocks + thread * 2 * n, *restrict block_b = block_g + n;
        int64_t begin, end;
        fci_share(a->rows, 1, &begin, &end);
        memset(g, 0, (size_t)n * sizeof(real));
        memset(b, 0, (size_t)n * sizeof(real));
        for (int64_t first = begin; first < end; first += BLOCK) {
            memset(block_g, 0, (size_t)(2 * n) * sizeof(real));
            for (int64_t i = first; i < first + BLOCK && i < end; i++) {
                row_back((const real *)a->x + i * n, (const real *)a->dy + i * n, a->gain,
                         ((const real *)a->mean)[i], ((const real *)a->rstd)[i], n, a->dx, i * n,
                         block_g, block_b);
            }
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                g[j] += block_g[j];
                b[j] += block_b[j];
            }
        }
#pragma omp master
        threads = omp_get_num_threads();
    }
    if (a->dgain.at != NULL) {
        fci_sum_parts(a->dgain, dgain, threads, n);
    }
    if (a->dbias.at != NULL) {
        fci_sum_parts(a->dbias, dbias, threads, n);
    }
}
