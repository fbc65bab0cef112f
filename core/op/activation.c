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
