#include "core/op/shared.h"

typedef struct layernorm_ctx {
    bool glu; /* of what SwiGLU makes of x */
    fc_tensor *x, *gain, *bias, *y;
    fci_layernorm_args args;
} layernorm_ctx;

static void layernorm_backward(fc_tape *tape, void *ctx)
{
    layernorm_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dx = c->glu ? fci_op_grad(tape, c->x) : fci_op_grad_in_place(tape, c->x, c->y);
    c->args.dgain = fci_op_grad(tape, c->gain);
    c->args.dbias = fci_op_grad(tape, c->bias);
    if (c->glu) {
        FCI_RUN(tape, swiglu_norm_bwd, &c->args);
    } else {
        FCI_RUN(tape, layernorm_bwd, &c->args);
    }
}

/* Either norm; x_name: what x, whose rows become `cols` values, is called. */
static fc_tensor *norm(fc_tape *tape, bool glu, fc_tensor *x, const char *x_name, int64_t cols,
                       fc_tensor *gain, fc_tensor *bias, double eps)
{
    const char *op = glu ? "swiglu_norm" : "layernorm";
    fc_tensor *inputs[3] = {x, gain, bias};
    if (!fci_op_ready(tape, op, 3, inputs, 6U)) {
        return NULL;
    }
    if (fc_tensor_count(gain) != cols) {
        return fci_op_misfit(tape, op, "gain", gain, x_name, x);
    }
    if (fc_tensor_count(bias) != cols) {
        return fci_op_misfit(tape, op, "bias", bias, x_name, x);
    }
    const bool needs_grad = fci_needs_grad(tape, 3, inputs);
    fc_tensor *y = fc_tape_matrix(tape, x->rows, cols, needs_grad);
    fci_layernorm_args args = {.rows = x->rows,
                               .cols = cols,
                               .eps = eps,
                               .x = x->data,
                               .gain = gain->data,
                               .bias = bias->data,
                               .y = y->data,
                               .mean = needs_grad ? fci_tape_notes(tape, x->rows) : NULL,
                               .rstd = needs_grad ? fci_tape_notes(tape, x->rows) : NULL};
    if (glu) {
        FCI_RUN(tape, swiglu_norm_fwd, &args);
    } else {
        FCI_RUN(tape, layernorm_fwd, &args);
    }
    layernorm_ctx *c = fci_tape_node(tape, layernorm_backward, sizeof *c, y, 3, inputs);
    if (c != NULL) {
        *c = (layernorm_ctx){glu, x, gain, bias, y, args};
    }
    return y;
}

fc_tensor *fc_layernorm(fc_tape *tape, fc_tensor *x, fc_tensor *gain, fc_tensor *bias, double eps)
{
    if (x == NULL || gain == NULL || bias == NULL) {
        return NULL;
    }
    return norm(tape, false, x, "x", x->cols, gain, bias, eps);
}

fc_tensor *fc_swiglu_norm(fc_tape *tape, fc_tensor *ab, fc_tensor *gain, fc_tensor *bias,
                          double eps)
{
    if (ab == NULL || gain == NULL || bias == NULL) {
        return NULL;
    }
    if (ab->cols % 2 != 0) {
        return fci_tape_fail(tape, FC_BUG,
                             "swiglu_norm: ab (%lld,%lld) has an odd number of columns",
                             (long long)ab->rows, (long long)ab->cols);
    }
    return norm(tape, true, ab, "ab", ab->cols / 2, gain, bias, eps);
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
