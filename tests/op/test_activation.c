/* fc_gelu. */
#include "core/memory.h"
#include "tests/check.h"
#include "tests/op/grad.h"

#include <math.h>

static const fc_gelu_kind ERF = FC_GELU_ERF, QUICK = FC_GELU_QUICK;

static fc_tensor *gelu(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    return fc_gelu(tape, in[0], *(const fc_gelu_kind *)ctx);
}

static fc_tensor *gelu_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    const fc_gelu_kind kind = *(const fc_gelu_kind *)ctx;
    return fc_gelu(
        tape, fc_concat_rows(tape, fc_gelu(tape, in[0], kind), fc_gelu(tape, in[0], kind)), kind);
}

static double gelu_of(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Values over a wide range, in both types. */
static void check_values(fc_dtype dtype, double tolerance)
{
    enum { N = 501 };
    fc_tape *tape = fc_tape_create(dtype);
    fc_tensor *x = fc_tape_matrix(tape, 1, N, false);
    double in[N], erf_want[N], quick_want[N];
    for (int i = 0; i < N; i++) {
        in[i] = (double)(float)((i - N / 2) * 0.05);
        if (dtype == FC_F64) {
            ((double *)x->data)[i] = in[i];
        } else {
            ((float *)x->data)[i] = (float)in[i];
        }
        erf_want[i] = gelu_of(in[i]);
        quick_want[i] = in[i] * sigmoid(1.702 * in[i]);
    }
    const fc_tensor *y[2] = {fc_gelu(tape, x, FC_GELU_ERF), fc_gelu(tape, x, FC_GELU_QUICK)};
    const double *want[2] = {erf_want, quick_want};
    for (int k = 0; k < 2; k++) {
        double got[N];
        for (int64_t i = 0; i < N; i++) {
            got[i] = dtype == FC_F64 ? ((const double *)y[k]->data)[i]
                                     : (double)((const float *)y[k]->data)[i];
        }
        FC_CHECK_NEAR(fc_check_rel_l2(got, want[k], N), 0, tolerance);
        FC_CHECK_NEAR(fc_check_max_abs(got, want[k], N), 0, 300 * tolerance);
    }
    fc_tape_destroy(&tape);
}

static void check_failure(void)
{
    fc_tape *tape = fc_tape_create(FC_F64);
    FC_CHECK(fc_gelu(tape, NULL, FC_GELU_ERF) == NULL);
    fc_tape_destroy(&tape);
}

int main(void)
{
    const fc_grad_case cases[] = {
        {"gelu erf", 1, {{5, 13}}, .forward = gelu, .ctx = &ERF},
        {"gelu quick", 1, {{5, 13}}, .forward = gelu, .ctx = &QUICK},
        {"gelu, no rows", 1, {{0, 13}}, .forward = gelu, .ctx = &ERF},
        {"gelu erf, used twice", 1, {{5, 13}}, .forward = gelu_twice, .ctx = &ERF},
        {"gelu quick, used twice", 1, {{5, 13}}, .forward = gelu_twice, .ctx = &QUICK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fc_check_gradient(&cases[i]);
    }
    check_values(FC_F64, 1e-15);
    check_values(FC_F32, 2e-7);
    check_failure();
    return fc_check_end();
}
