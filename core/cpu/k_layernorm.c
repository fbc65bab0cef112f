/* Layer norm of rows, whose values stay in the first-level cache between the passes: of rows as
 * they are, or of what SwiGLU makes of them, a row at a time. */
#include "core/cpu/threads.h"

/* One row; y may be x. */
static void row_forward(const real *x, const fci_layernorm_args *a, int64_t i, real *y)
{
    const int64_t n = a->cols;
    const real *restrict gain = a->gain, *restrict bias = a->bias;
    const real count = (real)n;
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
    const real rstd = 1 / fci_sqrt(squares / count + (real)a->eps);
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        y[j] = fci_fma((x[j] - mean) * rstd, gain[j], bias[j]);
    }
    if (a->mean != NULL) {
        ((real *)a->mean)[i] = mean;
        ((real *)a->rstd)[i] = rstd;
    }
}

void FC_FN(layernorm_fwd)(const fci_layernorm_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->rows; i++) {
        row_forward((const real *)a->x + i * n, a, i, (real *)a->y + i * n);
    }
}

void FC_FN(swiglu_norm_fwd)(const fci_swiglu_norm_args *args, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = args->cols;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < args->rows; i++) {
        const real *restrict a = (const real *)args->x + i * 2 * n, *restrict b = a + n;
        real *y = (real *)args->y + i * n;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            y[j] = a[j] * fci_sigmoid(a[j]) * b[j];
        }
        row_forward(y, args, i, y);
    }
}

/* A row's statistics, and the means of d = dy gain and of d times the row normed. */
typedef struct row_means {
    real mean, rstd, d, product;
} row_means;

/* Adds the row to a block's sums dgain and dbias. */
static row_means sum_row(const real *x, const real *dy, const fci_layernorm_args *args, int64_t i,
                         real *restrict dgain, real *restrict dbias)
{
    const int64_t n = args->cols;
    const real *restrict gain = args->gain;
    const real mean = ((const real *)args->mean)[i], rstd = ((const real *)args->rstd)[i];
    real sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t j = 0; j < n; j++) {
        const real normed = (x[j] - mean) * rstd, d = dy[j] * gain[j];
        sum += d;
        product = fci_fma(d, normed, product);
        dgain[j] = fci_fma(dy[j], normed, dgain[j]);
        dbias[j] += dy[j];
    }
    return (row_means){mean, rstd, sum / (real)n, product / (real)n};
}

static inline real slope(real x, real dy, real gain, row_means m)
{
    return m.rstd * (dy * gain - m.d - (x - m.mean) * m.rstd * m.product);
}

/* One row back. dx may be dy. */
static void row_back(const fci_layernorm_args *args, int64_t i, real *restrict dgain,
                     real *restrict dbias)
{
    const int64_t n = args->cols;
    const real *x = (const real *)args->x + i * n, *dy = (const real *)args->dy + i * n;
    const real *restrict gain = args->gain;
    const row_means m = sum_row(x, dy, args, i, dgain, dbias);
    if (args->dx.at == NULL) {
        return;
    }
    real *dx = (real *)args->dx.at + i * n;
    if (args->dx.add) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            dx[j] += slope(x[j], dy[j], gain[j], m);
        }
    } else {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            dx[j] = slope(x[j], dy[j], gain[j], m);
        }
    }
}

/* The same through SwiGLU; h: room for 2 n values, what it made of the row and the sigmoids. */
static void swiglu_row_back(const fci_swiglu_norm_args *args, int64_t i, real *restrict h,
                            real *restrict dgain, real *restrict dbias)
{
    const int64_t n = args->cols;
    const real *restrict a = (const real *)args->x + i * 2 * n, *restrict b = a + n;
    const real *restrict dy = (const real *)args->dy + i * n, *restrict gain = args->gain;
    real *restrict s = h + n;
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        s[j] = fci_sigmoid(a[j]);
        h[j] = a[j] * s[j] * b[j];
    }
    const row_means m = sum_row(h, dy, args, i, dgain, dbias);
    if (args->dx.at == NULL) {
        return;
    }
    real *restrict da = (real *)args->dx.at + i * 2 * n, *restrict db = da + n;
    if (args->dx.add) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            const real dh = slope(h[j], dy[j], gain[j], m);
            da[j] += dh * b[j] * s[j] * (1 + a[j] * (1 - s[j]));
            db[j] += dh * a[j] * s[j];
        }
    } else {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            const real dh = slope(h[j], dy[j], gain[j], m);
            da[j] = dh * b[j] * s[j] * (1 + a[j] * (1 - s[j]));
            db[j] = dh * a[j] * s[j];
        }
    }
}

/* Back through the norm of all rows, of x or with glu of what SwiGLU makes of it. */
static void rows_back(const fci_layernorm_args *a, bool glu, fc_arena *scratch)
{
    enum { BLOCK = 32 }; /* rows summed on their own, which keeps rounding errors from piling up */
    const int64_t n = a->cols;
    const int64_t max_threads = omp_get_max_threads();
    real *dgain = fci_reals(scratch, max_threads * n), *dbias = fci_reals(scratch, max_threads * n);
    real *blocks = fci_reals(scratch, max_threads * 4 * n);
    int threads = 1;
#pragma omp parallel
    {
        const int thread = omp_get_thread_num();
        real *restrict g = dgain + thread * n, *restrict b = dbias + thread * n;
        real *restrict block_g = blocks + thread * 4 * n, *restrict block_b = block_g + n;
        real *row = block_b + n;
        int64_t begin, end;
        fci_share(a->rows, 1, &begin, &end);
        memset(g, 0, (size_t)n * sizeof(real));
        memset(b, 0, (size_t)n * sizeof(real));
        for (int64_t first = begin; first < end; first += BLOCK) {
            memset(block_g, 0, (size_t)(2 * n) * sizeof(real));
            for (int64_t i = first; i < first + BLOCK && i < end; i++) {
                if (glu) {
                    swiglu_row_back(a, i, row, block_g, block_b);
                } else {
                    row_back(a, i, block_g, block_b);
                }
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

void FC_FN(layernorm_bwd)(const fci_layernorm_args *a, fc_arena *scratch)
{
    rows_back(a, false, scratch);
}

void FC_FN(swiglu_norm_bwd)(const fci_swiglu_norm_args *a, fc_arena *scratch)
{
    rows_back(a, true, scratch);
}
