/* fc_gelu and fc_swiglu. */
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

static fc_tensor *swiglu(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_swiglu(tape, in[0]);
}

static fc_tensor *swiglu_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, fc_swiglu(tape, in[0]), fc_swiglu(tape, in[0]));
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
    fc_tensor *x = fc_tape_matrix(tape, 1, N + 1, false);
    double in[N + 1], erf_want[N + 1], quick_want[N + 1], glu_want[(N + 1) / 2];
    for (int i = 0; i <= N; i++) {
        in[i] = (double)(float)((i - N / 2) * 0.05);
        if (dtype == FC_F64) {
            ((double *)x->data)[i] = in[i];
        } else {
            ((float *)x->data)[i] = (float)in[i];
        }
        erf_want[i] = gelu_of(in[i]);
        quick_want[i] = in[i] * sigmoid(1.702 * in[i]);
    }
    for (int i = 0; i < (N + 1) / 2; i++) {
        glu_want[i] = in[i] * sigmoid(in[i]) * in[i + (N + 1) / 2];
    }
    const fc_tensor *y[3] = {fc_gelu(tape, x, FC_GELU_ERF), fc_gelu(tape, x, FC_GELU_QUICK),
                             fc_swiglu(tape, x)};
    const double *want[3] = {erf_want, quick_want, glu_want};
    for (int k = 0; k < 3; k++) {
        const int64_t n = fc_tensor_count(y[k]);
        double got[N + 1];
        for (int64_t i = 0; i < n; i++) {
            got[i] = dtype == FC_F64 ? ((const double *)y[k]->data)[i]
                                     : (double)((const float *)y[k]->data)[i];
        }
        FC_CHECK_NEAR(fc_check_rel_l2(got, want[k], n), 0, tolerance);
        FC_CHECK_NEAR(fc_check_max_abs(got, want[k], n), 0, 300 * tolerance);
    }
    fc_tape_destroy(&tape);
}

static void check_failure(void)
{
    fc_tape *tape = fc_tape_create(FC_F64);
    FC_CHECK(fc_swiglu(tape, fc_tape_matrix(tape, 2, 5, false)) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "swiglu: ab (2,5)");
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
        {"swiglu", 1, {{5, 26}}, .forward = swiglu},
        {"swiglu, no rows", 1, {{0, 26}}, .forward = swiglu},
        {"swiglu, used twice", 1, {{3, 6}}, .forward = swiglu_twice},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fc_check_gradient(&cases[i]);
    }
    check_values(FC_F64, 1e-15);
    check_values(FC_F32, 2e-7);
    check_failure();
    return fc_check_end();
}
