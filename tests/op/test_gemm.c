/* Matrix products against plain loops: every transposition, strides, alpha and beta, both sides of
 * every border between libraries, and inside a parallel region. */
#include "core/cpu/gemm.h"
#include "core/memory.h"
#include "tests/check.h"
#include "tests/op/grad.h"

#include <math.h>
#include <string.h>

#include <omp.h>

typedef struct sizes {
    int64_t m, n, k;
} sizes;

static const int64_t PAD = 3; /* columns between rows that must stay as they are */

static double *random_array(uint64_t which, int64_t n)
{
    double *x = fc_alloc((size_t)n + 1, sizeof *x);
    fc_grad_random(7, which, x, n);
    return x;
}

static float *to_float(const double *x, int64_t n)
{
    float *y = fc_alloc((size_t)n + 1, sizeof *y);
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)x[i];
    }
    return y;
}

static void plain(bool ta, bool tb, sizes s, double alpha, const double *a, int64_t lda,
                  const double *b, int64_t ldb, double beta, double *c, int64_t ldc)
{
    for (int64_t i = 0; i < s.m; i++) {
        for (int64_t j = 0; j < s.n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < s.k; l++) {
                sum +=
                    (ta ? a[l * lda + i] : a[i * lda + l]) * (tb ? b[j * ldb + l] : b[l * ldb + j]);
            }
            c[i * ldc + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
        }
    }
}

static void check_one(bool ta, bool tb, sizes s, double alpha, double beta)
{
    const int64_t lda = (ta ? s.m : s.k) + PAD, ldb = (tb ? s.k : s.n) + PAD, ldc = s.n + PAD;
    const int64_t na = (ta ? s.k : s.m) * lda, nb = (tb ? s.n : s.k) * ldb, nc = s.m * ldc;
    double *a = random_array(1, na), *b = random_array(2, nb), *c = random_array(3, nc);
    double *want = random_array(3, nc);
    float *fa = to_float(a, na), *fb = to_float(b, nb), *fc = to_float(c, nc);
    plain(ta, tb, s, alpha, a, lda, b, ldb, beta, want, ldc);
    if (beta == 0) { /* must not be read */
        for (int64_t i = 0; i < s.m; i++) {
            for (int64_t j = 0; j < s.n; j++) {
                c[i * ldc + j] = NAN;
                fc[i * ldc + j] = NAN;
            }
        }
    }
    fci_gemm_f64(ta, tb, s.m, s.n, s.k, alpha, a, lda, b, ldb, beta, c, ldc);
    fci_gemm_f32(ta, tb, s.m, s.n, s.k, (float)alpha, fa, lda, fb, ldb, (float)beta, fc, ldc);
    double *wide = fc_alloc((size_t)nc + 1, sizeof *wide);
    for (int64_t i = 0; i < nc; i++) {
        wide[i] = (double)fc[i];
    }
    const double error = fc_check_rel_l2(c, want, nc), error_f = fc_check_rel_l2(wide, want, nc);
    fc_check_true(error <= 1e-14 && error_f <= 1e-6, __FILE__, __LINE__,
                  "%d%d %lldx%lldx%lld alpha %g beta %g: off by %.3g in double, %.3g in float", ta,
                  tb, (long long)s.m, (long long)s.n, (long long)s.k, alpha, beta, error, error_f);
    fc_free(&a);
    fc_free(&b);
    fc_free(&c);
    fc_free(&want);
    fc_free(&fa);
    fc_free(&fb);
    fc_free(&fc);
    fc_free(&wide);
}

static void check_all(sizes s)
{
    for (int t = 0; t < 4; t++) {
        check_one(t & 1, t & 2, s, 1, 0);
        check_one(t & 1, t & 2, s, 1, 1);
        check_one(t & 1, t & 2, s, 0.5, -2);
    }
}

static void check_in_parallel(void)
{
    enum { TASKS = 12, SIDE = 70 };
    const int64_t n = SIDE * SIDE;
    double *a = random_array(4, n), *b = random_array(5, n);
    float *fa = to_float(a, n), *fb = to_float(b, n);
    float *c = fc_alloc(TASKS * SIDE * SIDE, sizeof *c);
#pragma omp parallel for schedule(dynamic) num_threads(3)
    for (int i = 0; i < TASKS; i++) {
        fci_gemm_f32(false, i % 2, SIDE, SIDE, SIDE, 1, fa, SIDE, fb, SIDE, 0, c + i * n, SIDE);
    }
    for (int i = 2; i < TASKS; i++) {
        FC_CHECK(memcmp(c + i * n, c + (i % 2) * n, (size_t)n * sizeof *c) == 0);
    }
    fc_free(&a);
    fc_free(&b);
    fc_free(&fa);
    fc_free(&fb);
    fc_free(&c);
}

int main(void)
{
    const sizes all[] = {{1, 1, 1},    {3, 5, 7},    {1, 64, 197},  {8, 300, 250}, {9, 300, 250},
                         {80, 80, 80}, {81, 82, 83}, {191, 70, 65}, {192, 70, 65}, {33, 257, 129}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        check_all(all[i]);
    }
    omp_set_num_threads(3);
    check_all((sizes){197, 101, 64});
    check_all((sizes){4, 6, 0}); /* c = beta c */
    check_all((sizes){0, 6, 4});
    check_all((sizes){6, 0, 4});
    check_in_parallel();
    return fc_check_end();
}
