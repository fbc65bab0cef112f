/* Segments that run again on the way back give the bits of those that do not. */
#include "core/memory.h"
#include "tests/check.h"
#include "tests/op/grad.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 8, HIDDEN = WIDTH, ROWS = 7 }; /* all norms have the same gains */

/* A small eva02 block: every kind of op a model's block has. */
typedef struct block {
    fc_tensor *gain, *bias, *qkv, *qkv_bias, *proj, *w12, *w3;
} block;

static int add_block(fc_params *p, fc_tensor **views)
{
    const int64_t shapes[7][2] = {{WIDTH, 0},     {WIDTH, 0},     {3 * WIDTH, WIDTH},
                                  {3 * WIDTH, 0}, {WIDTH, WIDTH}, {2 * HIDDEN, WIDTH},
                                  {WIDTH, HIDDEN}};
    const char *names[7] = {"gain", "bias", "qkv", "qkv_bias", "proj", "w12", "w3"};
    for (int i = 0; i < 7; i++) {
        const bool matrix = shapes[i][1] > 0;
        const int first = fc_params_add(p, names[i], matrix ? 2 : 1, shapes[i]);
        views[i] = fc_params_view(p, first, 1, matrix ? shapes[i][0] : 0,
                                  matrix ? shapes[i][1] : shapes[i][0]);
    }
    return 7;
}

static fc_tensor *run_block(fc_tape *tape, void *ctx, fc_tensor *x)
{
    static const int64_t offsets[] = {0, 3, 7};
    const block *b = ctx;
    const fc_attention_spec spec = {.heads = 2, .sequences = 2, .q_offsets = offsets};
    fc_tensor *h = fc_layernorm(tape, x, b->gain, b->bias, 1e-5);
    h = fc_attention(tape, fc_linear(tape, h, b->qkv, b->qkv_bias, NULL), &spec);
    x = fc_linear(tape, h, b->proj, NULL, x);
    h = fc_linear(tape, fc_layernorm(tape, x, b->gain, b->bias, 1e-5), b->w12, NULL, NULL);
    h = fc_swiglu_norm(tape, h, b->gain, b->bias, 1e-5);
    return fc_linear(tape, h, b->w3, NULL, x);
}

typedef struct variant {
    bool recompute;
    bool x_again; /* x is used after the segment as well: then sums are taken in another order */
} variant;

/* Two blocks with the same parameters. */
static fc_tensor *forward(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    const variant *v = ctx;
    block *b = fc_tape_alloc(tape, sizeof *b);
    *b = (block){in[1], in[2], in[3], in[4], in[5], in[6], in[7]};
    fc_tensor *h = fc_segment(tape, run_block, b, in[0], v->recompute);
    h = fc_gelu(tape, h, FC_GELU_ERF);
    h = fc_segment(tape, run_block, b, h, v->recompute);
    return fc_l2norm(tape, v->x_again ? fc_concat_rows(tape, h, in[0]) : h);
}

static void check_same_bits(fc_dtype dtype)
{
    static const variant off = {false, false}, on = {true, false};
    fc_grad_case c = {.name = "segments",
                      .leaves = 1,
                      .shape = {{ROWS, WIDTH}},
                      .parameters = add_block,
                      .forward = forward};
    fc_grad_result kept, again;
    c.ctx = &off;
    fc_grad_run(&c, 1, dtype, &kept);
    c.ctx = &on;
    fc_grad_run(&c, 1, dtype, &again);
    FC_CHECK(fc_grad_same(&kept, &again));
    double size = 0;
    for (int64_t i = 0; i < kept.params_count; i++) {
        size += fabs(kept.params_grad[i]);
    }
    FC_CHECK(size > 1);
    fc_grad_result_fini(&kept);
    fc_grad_result_fini(&again);
}

/* The work of the model is counted once. */
static void check_cost(void)
{
    double flops[2];
    for (int i = 0; i < 2; i++) {
        fc_params *p = fc_params_create(FC_F32);
        fc_tensor *in[8] = {NULL};
        FC_CHECK_INT(add_block(p, in + 1), 7);
        fc_params_commit(p);
        fc_tape *tape = fc_tape_create(FC_F32);
        const variant v = {.recompute = i == 1};
        in[0] = fc_tape_matrix(tape, ROWS, WIDTH, false);
        memset(in[0]->data, 0, ROWS * WIDTH * sizeof(float));
        fc_tensor *y = forward(tape, in, &v);
        const float seed[ROWS * WIDTH] = {1};
        fc_tape_seed(tape, y, seed);
        FC_CHECK_OK(fc_backward(tape, 1, &y, NULL));
        flops[i] = fc_tape_flops(tape, true);
        fc_tape_destroy(&tape);
        fc_params_destroy(&p);
    }
    FC_CHECK(flops[0] > 0);
    FC_CHECK_NEAR(flops[1], flops[0], 0);
}

int main(void)
{
    static const variant off = {false, true}, on = {true, true};
    fc_grad_case c = {.name = "segments, kept",
                      .leaves = 1,
                      .shape = {{ROWS, WIDTH}},
                      .parameters = add_block,
                      .forward = forward,
                      .ctx = &off,
                      .float_tolerance = 2e-5};
    fc_check_gradient(&c);
    c.name = "segments, run again";
    c.ctx = &on;
    fc_check_gradient(&c);
    check_same_bits(FC_F64);
    check_same_bits(FC_F32);
    check_cost();
    return fc_check_end();
}
