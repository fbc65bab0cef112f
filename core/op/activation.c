#include "core/op/shared.h"

typedef struct gelu_ctx {
    fc_tensor *x, *y;
    fci_gelu_args args;
} gelu_ctx;

static void gelu_backward(fc_tape *tape, void *ctx)
{
    gelu_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dx = fci_op_grad_in_place(tape, c->x, c->y);
    FCI_RUN(tape, gelu_bwd, &c->args);
}

fc_tensor *fc_gelu(fc_tape *tape, fc_tensor *x, fc_gelu_kind kind)
{
    if (x == NULL || !fci_op_ready(tape, "gelu", 1, &x, 0)) {
        return NULL;
    }
    fc_tensor *y = fc_tape_matrix(tape, x->rows, x->cols, fci_needs_grad(tape, 1, &x));
    fci_gelu_args args = {
        .count = fc_tensor_count(x), .quick = kind == FC_GELU_QUICK, .x = x->data, .y = y->data};
    FCI_RUN(tape, gelu_fwd, &args);
    gelu_ctx *c = fci_tape_node(tape, gelu_backward, sizeof *c, y, 1, &x);
    if (c != NULL) {
        *c = (gelu_ctx){x, y, args};
    }
    return y;
}

typedef struct swiglu_ctx {
    fc_tensor *ab, *y;
    fci_swiglu_args args;
} swiglu_ctx;

static void swiglu_backward(fc_tape *tape, void *ctx)
{
    swiglu_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dab = fci_op_grad(tape, c->ab);
    FCI_RUN(tape, swiglu_bwd, &c->args);
}

fc_tensor *fc_swiglu(fc_tape *tape, fc_tensor *ab)
{
    if (ab == NULL || !fci_op_ready(tape, "swiglu", 1, &ab, 0)) {
        return NULL;
    }
    if (ab->cols % 2 != 0) {
        return fci_tape_fail(tape, FC_BUG, "swiglu: ab (%lld,%lld) has an odd number of columns",
                             (long long)ab->rows, (long long)ab->cols);
    }
    fc_tensor *y = fc_tape_matrix(tape, ab->rows, ab->cols / 2, fci_needs_grad(tape, 1, &ab));
    fci_swiglu_args args = {.rows = y->rows, .cols = y->cols, .ab = ab->data, .y = y->data};
    FCI_RUN(tape, swiglu_fwd, &args);
    swiglu_ctx *c = fci_tape_node(tape, swiglu_backward, sizeof *c, y, 1, &ab);
    if (c != NULL) {
        *c = (swiglu_ctx){ab, y, args};
    }
    return y;
}
