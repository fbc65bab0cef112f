#include "core/op/shared.h"

typedef struct layernorm_ctx {
    fc_tensor *x, *gain, *bias, *y;
    fci_layernorm_args args;
} layernorm_ctx;

static void layernorm_backward(fc_tape *tape, void *ctx)
{
    layernorm_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dx = fci_op_grad_in_place(tape, c->x, c->y);
    c->args.dgain = fci_op_grad(tape, c->gain);
    c->args.dbias = fci_op_grad(tape, c->bias);
    FCI_RUN(tape, layernorm_bwd, &c->args);
}

static void swiglu_norm_backward(fc_tape *tape, void *ctx)
{
    layernorm_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dx = fci_op_grad(tape, c->x);
    c->args.dgain = fci_op_grad(tape, c->gain);
    c->args.dbias = fci_op_grad(tape, c->bias);
    FCI_RUN(tape, swiglu_norm_bwd, &c->args);
}

/* Either norm, before its kernel runs: checks, the result and what the kernel is told. x_name: what
 * x, whose rows become `cols` values, is called. False: nothing to do. */
static bool begin(fc_tape *tape, layernorm_ctx *c, const char *op, const char *x_name, int64_t cols,
                  double eps)
{
    fc_tensor *inputs[3] = {c->x, c->gain, c->bias};
    if (!fci_op_ready(tape, op, 3, inputs, 6U)) {
        return false;
    }
    for (int i = 1; i < 3; i++) {
        if (fc_tensor_count(inputs[i]) != cols) {
            (void)fci_op_misfit(tape, op, i == 1 ? "gain" : "bias", inputs[i], x_name, c->x);
            return false;
        }
    }
    const bool needs_grad = fci_needs_grad(tape, 3, inputs);
    c->y = fc_tape_matrix(tape, c->x->rows, cols, needs_grad);
    c->args = (fci_layernorm_args){.rows = c->x->rows,
                                   .cols = cols,
                                   .eps = eps,
                                   .x = c->x->data,
                                   .gain = c->gain->data,
                                   .bias = c->bias->data,
                                   .y = c->y->data,
                                   .mean = needs_grad ? fci_tape_notes(tape, c->x->rows) : NULL,
                                   .rstd = needs_grad ? fci_tape_notes(tape, c->x->rows) : NULL};
    return true;
}

/* And after it. */
static fc_tensor *end(fc_tape *tape, const layernorm_ctx *c, void (*backward)(fc_tape *, void *))
{
    fc_tensor *inputs[3] = {c->x, c->gain, c->bias};
    layernorm_ctx *kept = fci_tape_node(tape, backward, sizeof *kept, c->y, 3, inputs);
    if (kept != NULL) {
        *kept = *c;
    }
    return c->y;
}

fc_tensor *fc_layernorm(fc_tape *tape, fc_tensor *x, fc_tensor *gain, fc_tensor *bias, double eps)
{
    layernorm_ctx c = {.x = x, .gain = gain, .bias = bias};
    if (x == NULL || gain == NULL || bias == NULL ||
        !begin(tape, &c, "layernorm", "x", x->cols, eps)) {
        return NULL;
    }
    FCI_RUN(tape, layernorm_fwd, &c.args);
    return end(tape, &c, layernorm_backward);
}

fc_tensor *fc_swiglu_norm(fc_tape *tape, fc_tensor *ab, fc_tensor *gain, fc_tensor *bias,
                          double eps)
{
    layernorm_ctx c = {.x = ab, .gain = gain, .bias = bias};
    if (ab == NULL || gain == NULL || bias == NULL) {
        return NULL;
    }
    if (ab->cols % 2 != 0) {
        return fci_tape_fail(tape, FC_BUG,
                             "swiglu_norm: ab (%lld,%lld) has an odd number of columns",
                             (long long)ab->rows, (long long)ab->cols);
    }
    if (!begin(tape, &c, "swiglu_norm", "ab", ab->cols / 2, eps)) {
        return NULL;
    }
    FCI_RUN(tape, swiglu_norm_fwd, &c.args);
    return end(tape, &c, swiglu_norm_backward);
}

typedef struct l2norm_ctx {
    fc_tensor *x, *y;
    fci_l2norm_args args;
} l2norm_ctx;

static void l2norm_backward(fc_tape *tape, void *ctx)
{
    l2norm_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dx = fci_op_grad_in_place(tape, c->x, c->y);
    FCI_RUN(tape, l2norm_bwd, &c->args);
}

fc_tensor *fc_l2norm(fc_tape *tape, fc_tensor *x)
{
    if (x == NULL || !fci_op_ready(tape, "l2norm", 1, &x, 0)) {
        return NULL;
    }
    const bool needs_grad = fci_needs_grad(tape, 1, &x);
    fc_tensor *y = fc_tape_matrix(tape, x->rows, x->cols, needs_grad);
    fci_l2norm_args args = {.rows = x->rows,
                            .cols = x->cols,
                            .x = x->data,
                            .y = y->data,
                            .norm = needs_grad ? fci_tape_notes(tape, x->rows) : NULL};
    FCI_RUN(tape, l2norm_fwd, &args);
    l2norm_ctx *c = fci_tape_node(tape, l2norm_backward, sizeof *c, y, 1, &x);
    if (c != NULL) {
        *c = (l2norm_ctx){x, y, args};
    }
    return y;
}
