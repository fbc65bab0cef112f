#include "core/op/shared.h"

typedef struct gather_ctx {
    fc_tensor *x, *y;
    fci_gather_rows_args args;
} gather_ctx;

static void gather_backward(fc_tape *tape, void *ctx)
{
    gather_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dx = fci_op_grad(tape, c->x);
    FCI_RUN(tape, gather_rows_bwd, &c->args);
}

fc_tensor *fc_gather_rows(fc_tape *tape, fc_tensor *x, const int64_t *index, int64_t n)
{
    if (x == NULL || !fci_op_ready(tape, "gather_rows", 1, &x, 0)) {
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        if (index[i] < 0 || index[i] >= x->rows) {
            return fci_tape_fail(tape, FC_BUG, "gather_rows: index %lld is %lld, x (%lld,%lld)",
                                 (long long)i, (long long)index[i], (long long)x->rows,
                                 (long long)x->cols);
        }
    }
    fc_tensor *y = fc_tape_matrix(tape, n, x->cols, fci_needs_grad(tape, 1, &x));
    fci_gather_rows_args args = {.rows = x->rows,
                                 .cols = x->cols,
                                 .count = n,
                                 .index = fci_tape_copy(tape, index, (size_t)n * sizeof *index),
                                 .x = x->data,
                                 .y = y->data};
    FCI_RUN(tape, gather_rows_fwd, &args);
    gather_ctx *c = fci_tape_node(tape, gather_backward, sizeof *c, y, 1, &x);
    if (c != NULL) {
        *c = (gather_ctx){x, y, args};
    }
    return y;
}

typedef struct concat_ctx {
    fc_tensor *a, *b, *y;
    fci_concat_rows_args args;
} concat_ctx;

static void concat_backward(fc_tape *tape, void *ctx)
{
    concat_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.da = fci_op_grad(tape, c->a);
    c->args.db = fci_op_grad(tape, c->b);
    FCI_RUN(tape, concat_rows_bwd, &c->args);
}

fc_tensor *fc_concat_rows(fc_tape *tape, fc_tensor *a, fc_tensor *b)
{
    fc_tensor *inputs[2] = {a, b};
    if (a == NULL || b == NULL || !fci_op_ready(tape, "concat_rows", 2, inputs, 0)) {
        return NULL;
    }
    if (a->cols != b->cols) {
        return fci_op_misfit(tape, "concat_rows", "a", a, "b", b);
    }
    fc_tensor *y =
        fc_tape_matrix(tape, a->rows + b->rows, a->cols, fci_needs_grad(tape, 2, inputs));
    fci_concat_rows_args args = {.count_a = fc_tensor_count(a),
                                 .count_b = fc_tensor_count(b),
                                 .a = a->data,
                                 .b = b->data,
                                 .y = y->data};
    FCI_RUN(tape, concat_rows_fwd, &args);
    concat_ctx *c = fci_tape_node(tape, concat_backward, sizeof *c, y, 2, inputs);
    if (c != NULL) {
        *c = (concat_ctx){a, b, y, args};
    }
    return y;
}
