/* fc_layernorm, fc_swiglu_norm and fc_l2norm. */
#include "core/memory.h"
#include "tests/check.h"
#include "tests/op/grad.h"

#include <math.h>
#include <string.h>

static fc_tensor *layernorm(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    return fc_layernorm(tape, in[0], in[1], in[2], ctx != NULL ? *(const double *)ctx : 1e-6);
}

/* x has a gradient already when the norm's arrives, and not. */
static fc_tensor *layernorm_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    fc_tensor *a = fc_layernorm(tape, in[0], in[1], in[2], 1e-5);
    fc_tensor *b = fc_layernorm(tape, in[0], in[2], in[1], 1e-5);
    return fc_layernorm(tape, fc_concat_rows(tape, a, fc_concat_rows(tape, in[0], b)), in[1], in[2],
                        1e-5);
}

static fc_tensor *swiglu_norm(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_swiglu_norm(tape, in[0], in[1], in[2], 1e-6);
}

static fc_tensor *swiglu_norm_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, fc_swiglu_norm(tape, in[0], in[1], in[2], 1e-5),
                          fc_swiglu_norm(tape, in[0], in[2], in[1], 1e-5));
}

static fc_tensor *l2norm(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_l2norm(tape, in[0]);
}

static fc_tensor *l2norm_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, fc_l2norm(tape, in[0]),
                          fc_concat_rows(tape, in[0], fc_l2norm(tape, in[0])));
}

static int affine(fc_params *p, fc_tensor **views)
{
    const int64_t shape[1] = {7};
    const int gain = fc_params_add(p, "ln.weight", 1, shape);
    const int bias = fc_params_add(p, "ln.bias", 1, shape);
    views[0] = fc_params_view(p, gain, 1, 0, 7);
    views[1] = fc_params_view(p, bias, 1, 0, 7);
    return 2;
}

static void check_values(void)
{
    enum { T = 5, D = 19 };
    const double eps = 0.25;
    const fc_grad_case c = {.name = "layernorm values",
                            .leaves = 3,
                            .shape = {{T, D}, {1, D}, {1, D}},
                            .forward = layernorm,
                            .ctx = &eps};
    fc_grad_result r;
    fc_grad_run(&c, 3, FC_F64, &r);
    double want[T * D], bias_grad[D] = {0};
    for (int i = 0; i < T; i++) {
        double mean = 0, variance = 0;
        for (int j = 0; j < D; j++) {
            mean += r.leaf[0][i * D + j] / D;
            bias_grad[j] += r.dy[i * D + j];
        }
        for (int j = 0; j < D; j++) {
            variance += pow(r.leaf[0][i * D + j] - mean, 2) / D;
        }
        for (int j = 0; j < D; j++) {
            want[i * D + j] =
                (r.leaf[0][i * D + j] - mean) / sqrt(variance + eps) * r.leaf[1][j] + r.leaf[2][j];
        }
    }
    FC_CHECK_NEAR(fc_check_rel_l2(r.y, want, T * D), 0, 1e-14);
    FC_CHECK_NEAR(fc_check_rel_l2(r.leaf_grad[2], bias_grad, D), 0, 1e-14);
    fc_grad_result_fini(&r);
}

/* Against the norm alone, of what plain code makes of ab; and with gradients of `wanted` (bits: ab,
 * gain, bias) alone, which are the same then. */
static void check_swiglu_norm(unsigned wanted)
{
    enum { T = 37, F = 21 };
    fc_tape *tape = fc_tape_create(FC_F64);
    fc_tensor *in[3] = {fc_tape_matrix(tape, T, 2 * F, (wanted & 1U) != 0),
                        fc_tape_matrix(tape, 1, F, (wanted & 2U) != 0),
                        fc_tape_matrix(tape, 1, F, (wanted & 4U) != 0)};
    fc_tensor *plain[3] = {fc_tape_matrix(tape, T, F, true), fc_tape_matrix(tape, 1, F, true),
                           fc_tape_matrix(tape, 1, F, true)};
    double *ab = in[0]->data, *h = plain[0]->data, dy[T * F], want[T * 2 * F], s[T * F];
    for (int i = 0; i < 3; i++) {
        fc_grad_random(5, (uint64_t)i, in[i]->data, fc_tensor_count(in[i]));
    }
    for (int i = 1; i < 3; i++) {
        memcpy(plain[i]->data, in[i]->data, F * sizeof(double));
    }
    for (int i = 0; i < T * F; i++) {
        const double a = ab[i / F * 2 * F + i % F], b = ab[i / F * 2 * F + F + i % F];
        s[i] = 1 / (1 + exp(-a));
        h[i] = a * s[i] * b;
    }
    fc_grad_random(5, 3, dy, (int64_t)T * F);
    fc_tensor *y[2] = {fc_swiglu_norm(tape, in[0], in[1], in[2], 1e-6),
                       fc_layernorm(tape, plain[0], plain[1], plain[2], 1e-6)};
    FC_CHECK_NEAR(fc_check_rel_l2(y[0]->data, y[1]->data, (int64_t)T * F), 0, 1e-15);
    fc_tape_seed(tape, y[0], dy);
    fc_tape_seed(tape, y[1], dy);
    FC_CHECK_OK(fc_backward(tape, 2, y, NULL));
    const double *dh = plain[0]->grad;
    for (int i = 0; i < T * F; i++) {
        const int at = i / F * 2 * F + i % F;
        want[at] = dh[i] * ab[at + F] * s[i] * (1 + ab[at] * (1 - s[i]));
        want[at + F] = dh[i] * ab[at] * s[i];
    }
    const double *grads[3] = {want, plain[1]->grad, plain[2]->grad};
    for (int i = 0; i < 3; i++) {
        if ((wanted >> i & 1U) == 0) {
            FC_CHECK(in[i]->grad == NULL);
        } else {
            FC_CHECK_NEAR(fc_check_rel_l2(in[i]->grad, grads[i], fc_tensor_count(in[i])), 0, 1e-14);
        }
    }
    fc_tape_destroy(&tape);
}

static void check_misfits(void)
{
    fc_tape *tape = fc_tape_create(FC_F64);
    fc_tensor *six = fc_tape_matrix(tape, 1, 6, false);
    FC_CHECK(fc_swiglu_norm(tape, fc_tape_matrix(tape, 2, 5, false), six, six, 1e-6) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "swiglu_norm: ab (2,5)");
    fc_tape_destroy(&tape);
    tape = fc_tape_create(FC_F64);
    six = fc_tape_matrix(tape, 1, 6, false);
    FC_CHECK(fc_swiglu_norm(tape, fc_tape_matrix(tape, 2, 12, false), six, six, 1e-6) != NULL);
    FC_CHECK(fc_swiglu_norm(tape, six, six, six, 1e-6) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "swiglu_norm: gain (1,6) does not fit ab (1,6)");
    fc_tape_destroy(&tape);
}

/* Rows of length 0 and far below the smallest norm stay finite. */
static void check_short_rows(void)
{
    fc_tape *tape = fc_tape_create(FC_F64);
    fc_tensor *x = fc_tape_matrix(tape, 3, 2, true);
    double *v = x->data;
    v[0] = v[1] = 0;
    v[2] = 3e-14, v[3] = -4e-14;
    v[4] = 3, v[5] = 4;
    fc_tensor *y = fc_l2norm(tape, x);
    const double *got = y->data, seed[6] = {0, 0, 1e-12, 0, 1, 0};
    FC_CHECK(got[0] == 0 && got[1] == 0);
    FC_CHECK_NEAR(got[2], 0.03, 1e-15);
    FC_CHECK_NEAR(got[3], -0.04, 1e-15);
    FC_CHECK_NEAR(got[5], 0.8, 1e-15);
    fc_tape_seed(tape, y, seed);
    FC_CHECK_OK(fc_backward(tape, 1, &y, NULL));
    const double *grad = x->grad;
    FC_CHECK(grad[0] == 0 && grad[1] == 0);
    FC_CHECK_NEAR(grad[2], 1, 1e-12);
    FC_CHECK_NEAR(grad[4], (1 - 0.36) / 5, 1e-15);
    fc_tape_destroy(&tape);
}

/* NaN in one row stays in that row. */
static void check_nan(void)
{
    fc_tape *tape = fc_tape_create(FC_F32);
    fc_tensor *x = fc_tape_matrix(tape, 2, 3, false), *one = fc_tape_matrix(tape, 1, 3, false);
    for (int i = 0; i < 6; i++) {
        ((float *)x->data)[i] = i == 1 ? NAN : (float)i;
    }
    for (int i = 0; i < 3; i++) {
        ((float *)one->data)[i] = 1;
    }
    const float *y = fc_layernorm(tape, x, one, one, 1e-5)->data, *z = fc_l2norm(tape, x)->data;
    FC_CHECK(isnan(y[0]) && isnan(y[2]) && isnan(z[0]));
    FC_CHECK(isfinite(y[3]) && isfinite(z[5]));
    FC_CHECK(fc_layernorm(tape, x, x, one, 1e-5) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "layernorm: gain (2,3) does not fit x (2,3)");
    fc_tape_destroy(&tape);
}

int main(void)
{
    const fc_grad_case cases[] = {
        {"layernorm", 3, {{5, 19}, {1, 19}, {1, 19}}, .forward = layernorm},
        {"layernorm, many rows",
         3,
         {{71, 3}, {1, 3}, {1, 3}},
         .forward = layernorm,
         .float_tolerance = 2e-5},
        {"layernorm, no rows", 3, {{0, 3}, {1, 3}, {1, 3}}, .forward = layernorm},
        {"layernorm, parameters", 1, {{5, 7}}, .parameters = affine, .forward = layernorm},
        {"layernorm, used twice",
         3,
         {{4, 9}, {1, 9}, {1, 9}},
         .forward = layernorm_twice,
         .float_tolerance = 1e-5},
        {"swiglu norm", 3, {{5, 26}, {1, 13}, {1, 13}}, .forward = swiglu_norm},
        {"swiglu norm, many rows",
         3,
         {{71, 6}, {1, 3}, {1, 3}},
         .forward = swiglu_norm,
         .float_tolerance = 2e-5},
        {"swiglu norm, no rows", 3, {{0, 6}, {1, 3}, {1, 3}}, .forward = swiglu_norm},
        {"swiglu norm, parameters", 1, {{5, 14}}, .parameters = affine, .forward = swiglu_norm},
        {"swiglu norm, used twice",
         3,
         {{4, 18}, {1, 9}, {1, 9}},
         .forward = swiglu_norm_twice,
         .float_tolerance = 1e-5},
        {"l2norm", 1, {{6, 17}}, .forward = l2norm},
        {"l2norm, no rows", 1, {{0, 17}}, .forward = l2norm},
        {"l2norm, used twice", 1, {{6, 5}}, .forward = l2norm_twice},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fc_check_gradient(&cases[i]);
    }
    check_values();
    for (unsigned wanted = 1; wanted < 8; wanted++) {
        check_swiglu_norm(wanted);
    }
    check_misfits();
    check_short_rows();
    check_nan();
    return fc_check_end();
}
