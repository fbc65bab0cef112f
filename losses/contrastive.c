/* The contrastive loss over all ranks (METHOD.md section 5), exact with different numbers of rows a
 * rank.
 *
 * With S = s u v^T over the N x N pairs of the global batch and P, Q its row and column softmax,
 * L = (mean_i CE(S_i,:, i) + mean_j CE(S_:,j, j)) / 2 and dL/dS = (P + Q - 2I) / 2N. A rank holds n
 * rows of u and of v. It gathers all u, all v and, once known, the log-sum-exp of every row and
 * column: n x N tiles of S are then enough for the whole gradient of its own rows, so that no
 * gradient has to travel. */
#include "core/device_comm.h"
#include "core/op/shared.h"
#include "losses/loss.h"

#include <math.h>

typedef struct contrastive_ctx {
    const fc_loss_inputs *in;
    fc_tensor *u, *v, *scale, *loss;
    double s;
    void *all_u, *all_v;                 /* (N,D) */
    void *lse_row, *lse_col;             /* (N) of the wide type */
    int64_t first, total;                /* this rank's rows are [first, first+n) of N */
    int64_t other_first, other_count;    /* columns whose other softmax flows back into our rows */
    double feature_factor, scale_factor; /* weights of the gradients of features and of the scale */
} contrastive_ctx;

static void *offset(void *data, fc_dtype dtype, int64_t elements)
{
    return (char *)data + (size_t)elements * fc_dtype_bytes(dtype);
}

/* One direction: rows of `own` against all of `other`. */
static fci_contrastive_args direction(const contrastive_ctx *c, bool text)
{
    fc_tensor *own = text ? c->v : c->u;
    void *lse_own = text ? c->lse_col : c->lse_row;
    return (fci_contrastive_args){
        .rows = own->rows,
        .cols = c->total,
        .width = own->cols,
        .first = c->first,
        .scale = c->s,
        .own = own->data,
        .all = text ? c->all_u : c->all_v,
        .lse_own = offset(lse_own, fc_dtype_wide(own->dtype), c->first),
        .lse_other = text ? c->lse_row : c->lse_col,
        .other_first = c->other_first,
        .other_count = c->other_count,
    };
}

/* Add to the gradient of the logarithm of the scale. */
static void add_scale_gradient(fc_tape *tape, fc_tensor *scale, double value)
{
    bool accumulate;
    void *grad = fci_grad(tape, scale, &accumulate);
    if (grad == NULL) {
        return;
    }
    FC_ASSERT(accumulate || scale->params == NULL);
    const fc_backend *backend = fc_tape_backend(tape);
    const size_t bytes = fc_dtype_bytes(scale->dtype);
    const float single = (float)value;
    if (!accumulate) {
        backend->fill(grad, 0, bytes);
    }
    const fci_add_args args = {
        .count = 1,
        .x = fci_tape_copy(tape, scale->dtype == FC_F64 ? (const void *)&value : &single, bytes),
        .y = {.at = grad, .add = true}};
    backend->kernels(scale->dtype)->add_fwd(&args, fci_tape_scratch(tape));
}

static void backward(fc_tape *tape, void *ctx)
{
    const contrastive_ctx *c = ctx;
    const fc_backend *backend = fc_tape_backend(tape);
    fc_dtype dtype = c->u->dtype;
    double upstream = fc_tape_grad_value(c->loss);
    double parts[2];
    double *sums = fci_tape_room(tape, sizeof parts);
    for (int text = 0; text < 2; text++) {
        fci_contrastive_args args = direction(c, text != 0);
        bool accumulate;
        args.grad = fci_grad(tape, text != 0 ? c->v : c->u, &accumulate);
        if (args.grad != NULL && !accumulate) {
            backend->fill(args.grad, 0, (size_t)(args.rows * args.width) * fc_dtype_bytes(dtype));
        }
        args.factor = upstream * c->feature_factor;
        args.scale_grad = sums + text;
        FCI_RUN(tape, contrastive_bwd, &args);
        fci_tape_count(tape, (args.grad != NULL ? 4.0 : 2.0) * (double)args.rows *
                                 (double)args.cols * (double)args.width);
    }
    backend->download(parts, sums, sizeof parts);
    add_scale_gradient(tape, c->scale, upstream * c->scale_factor * (parts[0] + parts[1]));
}

static fc_status gather(contrastive_ctx *c, fc_tape *tape, const int64_t *rows_of)
{
    fc_comm *comm = c->in->comm;
    int ranks = fc_comm_size(comm);
    fc_dtype dtype = c->u->dtype;
    int64_t *counts = fc_tape_alloc(tape, (size_t)ranks * sizeof *counts);
    for (int r = 0; r < ranks; r++) {
        counts[r] = rows_of[r] * c->u->cols;
    }
    const fc_backend *backend = fc_tape_backend(tape);
    size_t bytes = (size_t)(c->total * c->u->cols) * fc_dtype_bytes(dtype);
    if (ranks == 1) {
        c->all_u = c->u->data;
        c->all_v = c->v->data;
        return FC_OK;
    }
    c->all_u = fci_tape_room(tape, bytes);
    c->all_v = fci_tape_room(tape, bytes);
    FC_TRY(fc_device_all_gather(backend, comm, c->u->data, c->all_u, counts, dtype));
    return fc_device_all_gather(backend, comm, c->v->data, c->all_v, counts, dtype);
}

/* The value over the whole batch; lse_row and lse_col complete on every rank. */
static fc_status forward_value(contrastive_ctx *c, fc_tape *tape, const int64_t *rows_of,
                               bool local, double *value)
{
    const fc_backend *backend = fc_tape_backend(tape);
    fc_dtype wide = fc_dtype_wide(c->u->dtype);
    double parts[2];
    double *sums = fci_tape_room(tape, sizeof parts);
    for (int text = 0; text < 2; text++) {
        *(text != 0 ? &c->lse_col : &c->lse_row) = fci_tape_notes(tape, c->total);
        fci_contrastive_args args = direction(c, text != 0);
        args.loss_sum = sums + text;
        FCI_RUN(tape, contrastive_fwd, &args);
        fci_tape_count(tape, 2.0 * (double)args.rows * (double)args.cols * (double)args.width);
        FC_TRY(fc_device_all_gather(backend, c->in->comm, args.lse_own,
                                    text != 0 ? c->lse_col : c->lse_row, rows_of, wide));
    }
    backend->download(parts, sums, sizeof parts);
    double sum = parts[0] + parts[1];
    /* open_clip's local loss is the mean over ranks of each rank's own mean. */
    int ranks = fc_comm_size(c->in->comm);
    double rows = local ? (double)c->u->rows * ranks : (double)c->total;
    sum = rows > 0 ? sum / (2 * rows) : 0;
    FC_TRY(fc_comm_all_reduce(c->in->comm, &sum, 1, FC_COMM_F64, FC_COMM_SUM));
    *value = sum;
    return FC_OK;
}

/* For fc_loss_inputs.exchange; the numbers are the counts of rows and the loss. */
static void note_exchange(const contrastive_ctx *c)
{
    fc_exchange *e = c->in->exchange;
    if (e != NULL) {
        FC_ASSERT(e->pairs < FC_MOST_PAIRS);
        e->pair[e->pairs].rows = c->u->rows;
        e->pair[e->pairs].width = c->u->cols;
        e->pair[e->pairs++].dtype = c->u->dtype;
        fc_loss_meet(c->in, 2);
    }
}

static fc_status forward(contrastive_ctx *c, fc_tape *tape, double *value)
{
    fc_comm *comm = c->in->comm;
    int ranks = fc_comm_size(comm), rank = fc_comm_rank(comm);
    int64_t *rows_of = fc_tape_alloc(tape, (size_t)ranks * sizeof *rows_of);
    FC_TRY(fc_comm_all_gather_i64(comm, c->u->rows, rows_of));
    for (int r = 0; r < ranks; r++) {
        c->first += r < rank ? rows_of[r] : 0;
        c->total += rows_of[r];
    }
    FC_TRY(gather(c, tape, rows_of));
    bool local = c->in->local_loss && !c->in->gather_with_grad && ranks > 1;
    bool averaged = !c->in->local_loss && !c->in->gather_with_grad;
    c->other_first = local ? c->first : 0;
    c->other_count = local ? c->u->rows : c->total;
    FC_TRY(forward_value(c, tape, rows_of, local, value));
    double rows = local ? (double)c->u->rows * ranks : (double)c->total;
    c->scale_factor = rows > 0 ? 1.0 / (2.0 * rows) : 0;
    /* Every rank evaluating the whole loss on constants but for its own features, then averaging,
     * leaves 1/W of the exact gradient on features and all of it on the scale (METHOD.md section
     * 5). */
    c->feature_factor = averaged ? c->scale_factor / ranks : c->scale_factor;
    return FC_OK;
}

fc_tensor *fc_contrastive(fc_tape *tape, const fc_loss_inputs *in, fc_tensor *u, fc_tensor *v)
{
    if (u == NULL || v == NULL || fc_tape_status(tape) != FC_OK) {
        return NULL;
    }
    if (u->rows != v->rows || u->cols != v->cols) {
        return fci_tape_fail(tape, FC_BUG, "contrastive: (%lld,%lld) against (%lld,%lld)",
                             (long long)u->rows, (long long)u->cols, (long long)v->rows,
                             (long long)v->cols);
    }
    fc_tensor *inputs[3] = {u, v, in->logit_scale};
    contrastive_ctx *c = fc_tape_alloc(tape, sizeof *c);
    fc_loss_inputs *kept = fc_tape_alloc(tape, sizeof *kept);
    *kept = *in;
    *c = (contrastive_ctx){.in = kept, .u = u, .v = v, .scale = in->logit_scale};
    double value;
    note_exchange(c);
    c->s = exp(fc_tape_value(tape, in->logit_scale));
    if (forward(c, tape, &value) != FC_OK) {
        return fci_tape_fail(tape, FC_RUNTIME, "%s", fc_error_message());
    }
    c->loss = fc_tape_scalar(tape, value, fci_needs_grad(tape, 3, inputs));
    contrastive_ctx *node = fci_tape_node(tape, backward, sizeof *node, c->loss, 3, inputs);
    if (node != NULL) {
        *node = *c;
    }
    return c->loss;
}
