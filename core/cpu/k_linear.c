/* y = x w^T + bias + residual. The product adds to a y that already holds bias and residual: y is
 * then written once more, but read while it is still in cache, instead of a pass over it after the
 * product. */
#include "core/cpu/threads.h"

static void fill(const fci_linear_args *a)
{
    const int64_t n = a->outer;
    const real *bias = a->bias;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->rows; i++) {
        real *restrict y = (real *)a->y + i * n;
        if (a->residual == NULL) {
            memcpy(y, bias, (size_t)n * sizeof(real));
            continue;
        }
        const real *restrict r = (const real *)a->residual + i * n;
        if (bias == NULL) {
            memcpy(y, r, (size_t)n * sizeof(real));
            continue;
        }
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            y[j] = r[j] + bias[j];
        }
    }
}

void FC_FN(linear_fwd)(const fci_linear_args *a, fc_arena *scratch)
{
    (void)scratch;
    bool filled = a->bias != NULL || a->residual != NULL;
    if (filled) {
        fill(a);
    }
    fci_gemm(false, !a->inner_major, a->rows, a->outer, a->inner, 1, a->x, a->inner, a->w,
             a->inner_major ? a->outer : a->inner, filled ? 1 : 0, a->y, a->outer);
}

/* sum[j] += the columns' sums of rows [begin, end). Eight rows at a time: fewer passes over sum,
 * and the rounding error grows with an eighth of the rows. */
static void add_columns(real *restrict sum, const real *restrict x, int64_t begin, int64_t end,
                        int64_t n)
{
    int64_t i = begin;
    for (; i + 8 <= end; i += 8) {
        const real *restrict r = x + i * n;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            sum[j] += ((r[j] + r[j + n]) + (r[j + 2 * n] + r[j + 3 * n])) +
                      ((r[j + 4 * n] + r[j + 5 * n]) + (r[j + 6 * n] + r[j + 7 * n]));
        }
    }
    for (; i < end; i++) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            sum[j] += x[i * n + j];
        }
    }
}

static void sum_columns(fci_out out, const real *x, int64_t rows, int64_t n, fc_arena *scratch)
{
    real *parts = fci_reals(scratch, omp_get_max_threads() * n);
    int threads = 1;
#pragma omp parallel
    {
        real *part = parts + omp_get_thread_num() * n;
        int64_t begin, end;
        fci_share(rows, 8, &begin, &end);
        memset(part, 0, (size_t)n * sizeof(real));
        add_columns(part, x, begin, end, n);
#pragma omp master
        threads = omp_get_num_threads();
    }
    fci_sum_parts(out, parts, threads, n);
}

void FC_FN(linear_bwd)(const fci_linear_args *a, fc_arena *scratch)
{
    const int64_t t = a->rows, k = a->inner, n = a->outer;
    if (a->dbias.at != NULL) {
        sum_columns(a->dbias, a->dy, t, n, scratch);
    }
    if (a->dx.at != NULL) {
        fci_gemm(false, a->inner_major, t, k, n, 1, a->dy, n, a->w, a->inner_major ? n : k,
                 a->dx.add, a->dx.at, k);
    }
    if (a->dw.at != NULL && a->inner_major) {
        fci_gemm(true, false, k, n, t, 1, a->x, k, a->dy, n, a->dw.add, a->dw.at, n);
    } else if (a->dw.at != NULL) {
        fci_gemm(true, false, n, k, t, 1, a->dy, n, a->x, k, a->dw.add, a->dw.at, k);
    }
}
