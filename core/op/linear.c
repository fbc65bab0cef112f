#include "core/op/shared.h"

typedef struct linear_ctx {
    fc_tensor *x, *w, *b, *residual, *y;
    fci_linear_args args;
} linear_ctx;

static double product_flops(const fci_linear_args *a)
{
    return 2.0 * (double)a->rows * (double)a->inner * (double)a->outer;
}

static void linear_backward(fc_tape *tape, void *ctx)
{
    linear_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dx = fci_op_grad(tape, c->x);
    c->args.dw = fci_op_grad(tape, c->w);
    c->args.dbias = fci_op_grad(tape, c->b);
    FCI_RUN(tape, linear_bwd, &c->args);
    fci_tape_count(tape, product_flops(&c->args) *
                             ((c->args.dx.at != NULL ? 1 : 0) + (c->args.dw.at != NULL ? 1 : 0)));
    if (c->residual != NULL) { /* last, as it gives dy away */
        fci_op_pass_grad(tape, c->residual, c->y);
    }
}

static fc_tensor *linear(fc_tape *tape, const char *op, bool inner_major, fc_tensor *x,
                         fc_tensor *w, fc_tensor *b, fc_tensor *residual)
{
    fc_tensor *inputs[4] = {x, w, b, residual};
    if (x == NULL || w == NULL || !fci_op_ready(tape, op, 4, inputs, 0)) {
        return NULL;
    }
    const int64_t outer = inner_major ? w->cols : w->rows;
    if (x->cols != (inner_major ? w->rows : w->cols)) {
        return fci_op_misfit(tape, op, "x", x, "w", w);
    }
    if (b != NULL && fc_tensor_count(b) != outer) {
        return fci_op_misfit(tape, op, "b", b, "w", w);
    }
    fc_tensor *y = fc_tape_matrix(tape, x->rows, outer, fci_needs_grad(tape, 4, inputs));
    if (residual != NULL && (residual->rows != y->rows || residual->cols != outer)) {
        return fci_op_misfit(tape, op, "residual", residual, "y", y);
    }
    fci_linear_args args = {.rows = x->rows,
                            .inner = x->cols,
                            .outer = outer,
                            .inner_major = inner_major,
                            .x = x->data,
                            .w = w->data,
                            .bias = b != NULL ? b->data : NULL,
                            .residual = residual != NULL ? residual->data : NULL,
                            .y = y->data};
    FCI_RUN(tape, linear_fwd, &args);
    fci_tape_count(tape, product_flops(&args));
    linear_ctx *c = fci_tape_node(tape, linear_backward, sizeof *c, y, 4, inputs);
    if (c != NULL) {
        *c = (linear_ctx){x, w, b, residual, y, args};
    }
    return y;
}

fc_tensor *fc_linear(fc_tape *tape, fc_tensor *x, fc_tensor *w, fc_tensor *b, fc_tensor *residual)
{
    return linear(tape, "linear", false, x, w, b, residual);
}

fc_tensor *fc_project(fc_tape *tape, fc_tensor *x, fc_tensor *w)
{
    return linear(tape, "project", true, x, w, NULL, NULL);
}
