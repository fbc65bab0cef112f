/* Rows of unit length. */
#include "core/cpu/threads.h"

static const real SMALLEST = (real)1e-12;

static real dot(const real *x, const real *y, int64_t n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        sum = fci_fma(x[j], y[j], sum);
    }
    return sum;
}

void FC_FN(l2norm_fwd)(const fci_l2norm_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->rows; i++) {
        const real *restrict x = (const real *)a->x + i * n;
        real *restrict y = (real *)a->y + i * n;
        real norm = fci_sqrt(dot(x, x, n));
        norm = norm < SMALLEST ? SMALLEST : norm;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            y[j] = x[j] / norm;
        }
        if (a->norm != NULL) {
            ((real *)a->norm)[i] = norm;
        }
    }
}

/* dx = (dy - y <y, dy>) / |x|; below the smallest norm the divisor is constant and dx = dy / 1e-12.
 * dx may be dy. */
void FC_FN(l2norm_bwd)(const fci_l2norm_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols;
    if (a->dx.at == NULL) {
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->rows; i++) {
        const real *y = (const real *)a->y + i * n, *dy = (const real *)a->dy + i * n;
        real *dx = (real *)a->dx.at + i * n;
        const real norm = ((const real *)a->norm)[i];
        const real along = norm > SMALLEST ? dot(y, dy, n) : 0;
        if (a->dx.add) {
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                dx[j] += (dy[j] - y[j] * along) / norm;
            }
        } else {
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                dx[j] = (dy[j] - y[j] * along) / norm;
            }
        }
    }
}
