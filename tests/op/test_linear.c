/* fc_linear and fc_project: gradients, values, views of parameters, inputs used twice. */
#include "core/memory.h"
#include "tests/check.h"
#include "tests/op/grad.h"

#include <math.h>

static fc_tensor *with_all(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_linear(tape, in[0], in[1], in[2], in[3]);
}

static fc_tensor *without_bias(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_linear(tape, in[0], in[1], NULL, in[2]);
}

static fc_tensor *alone(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_linear(tape, in[0], in[1], NULL, NULL);
}

static fc_tensor *projected(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_project(tape, in[0], in[1]);
}

/* x is input and residual of one op, and used by another. */
static fc_tensor *twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    fc_tensor *a = fc_linear(tape, in[0], in[1], in[2], in[0]);
    fc_tensor *b = fc_linear(tape, in[0], in[1], in[2], a);
    return fc_linear(tape, a, in[1], NULL, b);
}

/* q, k, v of one width side by side with an absent key bias, then rows of one of them. */
static int fused_parameters(fc_params *p, fc_tensor **views)
{
    const int64_t matrix[2] = {5, 5}, vector[1] = {5};
    const int q = fc_params_add(p, "q.weight", 2, matrix);
    (void)fc_params_add(p, "k.weight", 2, matrix);
    (void)fc_params_add(p, "v.weight", 2, matrix);
    const int q_bias = fc_params_add(p, "q_bias", 1, vector);
    const int k_bias = fc_params_add(p, "k_bias", 1, vector);
    (void)fc_params_add(p, "v_bias", 1, vector);
    const int64_t joint_shape[2] = {15, 5};
    const int joint = fc_params_add(p, "in_proj_weight", 2, joint_shape);
    (void)k_bias;
    views[0] = fc_params_view(p, q, 3, 15, 5);
    views[1] = fc_params_view(p, q_bias, 3, 0, 15);
    views[2] = fc_params_rows(p, joint, 10, 5);
    return 3;
}

static fc_tensor *fused(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    fc_tensor *qkv = fc_linear(tape, in[0], in[1], in[2], NULL);
    fc_tensor *v = fc_linear(tape, in[0], in[3], NULL, in[0]);
    return fc_concat_rows(tape, fc_reshape(tape, qkv, 2, (const int64_t[2]){21, 5}), v);
}

static void check_values(void)
{
    enum { T = 9, K = 11, N = 6 };
    const fc_grad_case c = {.name = "linear values",
                            .leaves = 4,
                            .shape = {{T, K}, {N, K}, {1, N}, {T, N}},
                            .forward = with_all};
    fc_grad_result r;
    fc_grad_run(&c, 3, FC_F64, &r);
    double want[T * N];
    for (int i = 0; i < T; i++) {
        for (int j = 0; j < N; j++) {
            double sum = r.leaf[2][j] + r.leaf[3][i * N + j];
            for (int k = 0; k < K; k++) {
                sum += r.leaf[0][i * K + k] * r.leaf[1][j * K + k];
            }
            want[i * N + j] = sum;
        }
    }
    FC_CHECK_NEAR(fc_check_rel_l2(r.y, want, T * N), 0, 1e-14);
    FC_CHECK_NEAR(fc_check_rel_l2(r.leaf_grad[3], r.dy, T * N), 0, 0);
    fc_grad_result_fini(&r);
}

static void check_frozen_and_failures(void)
{
    fc_tape *tape = fc_tape_create(FC_F32);
    fc_tensor *x = fc_tape_matrix(tape, 4, 3, false), *w = fc_tape_matrix(tape, 2, 3, true);
    fc_tensor *other = fc_tape_matrix(tape, 2, 4, true);
    float values[12] = {0}, seed[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (int i = 0; i < 12; i++) {
        values[i] = ((float *)x->data)[i] = (float)i;
    }
    for (int i = 0; i < 6; i++) {
        ((float *)w->data)[i] = 1;
    }
    fc_tensor *y = fc_linear(tape, x, w, NULL, NULL);
    FC_CHECK(fc_tape_flops(tape, true) == 2.0 * 4 * 3 * 2);
    fc_tape_seed(tape, y, seed);
    FC_CHECK_OK(fc_backward(tape, 1, &y, NULL));
    FC_CHECK(fc_tape_flops(tape, true) == 2.0 * 4 * 3 * 2); /* no dx */
    FC_CHECK(x->grad == NULL && w->grad != NULL);
    FC_CHECK_NEAR(((float *)w->grad)[1], values[1] + values[4] + values[7] + values[10], 0);
    fc_tape_push(tape, "visual.blocks.3");
    FC_CHECK(fc_linear(tape, x, other, NULL, NULL) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG,
                   "visual.blocks.3: linear: x (4,3) does not fit w (2,4)");
    FC_CHECK(fc_linear(tape, x, w, NULL, NULL) == NULL); /* failures pass through */
    fc_tape_reset(tape);
    x = fc_tape_matrix(tape, 4, 3, false);
    w = fc_tape_matrix(tape, 2, 3, true);
    FC_CHECK(fc_linear(tape, x, w, NULL, x) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "residual (4,3)");
    fc_tape_destroy(&tape);
}

int main(void)
{
    const fc_grad_case cases[] = {
        {"linear", 4, {{9, 11}, {6, 11}, {1, 6}, {9, 6}}, .forward = with_all},
        {"linear, odd", 4, {{1, 3}, {1, 3}, {1, 1}, {1, 1}}, .forward = with_all},
        {"linear, many rows", 4, {{37, 3}, {5, 3}, {1, 5}, {37, 5}}, .forward = with_all},
        {"linear, no rows", 4, {{0, 3}, {5, 3}, {1, 5}, {0, 5}}, .forward = with_all},
        {"linear, no bias", 3, {{7, 4}, {3, 4}, {7, 3}}, .forward = without_bias},
        {"linear, alone", 2, {{7, 4}, {3, 4}}, .forward = alone},
        {"project", 2, {{7, 4}, {4, 5}}, .forward = projected},
        {"project, no rows", 2, {{0, 4}, {4, 5}}, .forward = projected},
        {"linear, used twice", 3, {{7, 4}, {4, 4}, {1, 4}}, .forward = twice},
        {"linear, views", 1, {{7, 5}}, .parameters = fused_parameters, .forward = fused},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fc_check_gradient(&cases[i]);
    }
    check_values();
    check_frozen_and_failures();
    return fc_check_end();
}
