/* The contrastive loss over all ranks (METHOD.md section 5), exact with different numbers of rows a
 * rank.
 *
 * With S = s u v^T over the N x N pairs of the global batch and P, Q its row and column softmax,
 * L = (mean_i CE(S_i,:, i) + mean_j CE(S_:,j, j)) / 2 and dL/dS = (P + Q - 2I) / 2N. A rank holds n
 * rows of u and of v. It gathers all u, all v and, once known, the log-sum-exp of every row and
 * column: n x N tiles of S are then enough for the whole gradient of its own rows, so that no
 * gradient has to travel. */
#include "core/kernel.h"
#include "losses/loss.h"

#include <math.h>
#include <string.h>

typedef struct contrastive_ctx {
    const fc_loss_inputs *in;
    fc_tensor *u, *v, *scale, *loss;
    void *all_u, *all_v;                 /* (N,D) */
    void *lse_row, *lse_col;             /* (N) */
    int64_t first, total;                /* this rank's rows are [first, first+n) of N */
    int64_t other_first, other_count;    /* columns whose other softmax flows back into our rows */
    double feature_factor, scale_factor; /* weights of the gradients of features and of the scale */
} contrastive_ctx;

static double scalar(const void *data, fc_dtype dtype)
{
    return dtype == FC_F64 ? *(const double *)data : (double)*(const float *)data;
}

static void add_scalar(void *data, fc_dtype dtype, double value)
{
    if (dtype == FC_F64) {
        *(double *)data += value;
    } else {
        *(float *)data += (float)value;
    }
}

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
        .scale = exp(scalar(c->scale->data, own->dtype)),
        .own = own->data,
        .all = text ? c->all_u : c->all_v,
        .lse_own = offset(lse_own, own->dtype, c->first),
        .lse_other = text ? c->lse_row : c->lse_col,
        .other_first = c->other_first,
        .other_count = c->other_count,
    };
}

static const fci_kernels *kernels(const fc_tensor *t)
{
    return fci_kernels_cpu(t->dtype);
}

static void backward(fc_tape *tape, void *ctx)
{
    const contrastive_ctx *c = ctx;
    fc_dtype dtype = c->u->dtype;
    double upstream = scalar(c->loss->grad, dtype);
    double scale_grad = 0;
    for (int text = 0; text < 2; text++) {
        fci_contrastive_args args = direction(c, text != 0);
        bool accumulate;
        args.grad = fci_grad(tape, text != 0 ? c->v : c->u, &accumulate);
        if (args.grad != NULL && !accumulate) {
            memset(args.grad, 0, (size_t)(args.rows * args.width) * fc_dtype_bytes(dtype));
        }
        args.factor = upstream * c->feature_factor;
        double part = 0;
        args.scale_grad = &part;
        kernels(c->u)->contrastive_bwd(&args, fci_tape_scratch(tape));
        scale_grad += part;
        fci_tape_count(tape, (args.grad != NULL ? 4.0 : 2.0) * (double)args.rows *
                                 (double)args.cols * (double)args.width);
    }
    bool accumulate;
    void *grad = fci_grad(tape, c->scale, &accumulate);
    if (grad != NULL) {
        FC_ASSERT(accumulate || c->scale->params == NULL);
        if (!accumulate) {
            memset(grad, 0, fc_dtype_bytes(dtype));
        }
        add_scalar(grad, dtype, upstream * c->scale_factor * scale_grad);
    }
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
    size_t bytes = (size_t)(c->total * c->u->cols) * fc_dtype_bytes(dtype);
    if (ranks == 1) {
        c->all_u = c->u->data;
        c->all_v = c->v->data;
        return FC_OK;
    }
    c->all_u = fc_tape_alloc(tape, bytes);
    c->all_v = fc_tape_alloc(tape, bytes);
    FC_TRY(fc_comm_all_gather(comm, c->u->data, c->all_u, counts, fc_comm_real(dtype)));
    return fc_comm_all_gather(comm, c->v->data, c->all_v, counts, fc_comm_real(dtype));
}

/* The value over the whole batch; lse_row and lse_col complete on every rank. */
static fc_status forward_value(contrastive_ctx *c, fc_tape *tape, const int64_t *rows_of,
                               bool local, double *value)
{
    fc_dtype dtype = c->u->dtype;
    size_t bytes = (size_t)c->total * fc_dtype_bytes(dtype);
    double sum = 0;
    for (int text = 0; text < 2; text++) {
        *(text != 0 ? &c->lse_col : &c->lse_row) = fc_tape_alloc(tape, bytes);
        fci_contrastive_args args = direction(c, text != 0);
        double part = 0;
        args.loss_sum = &part;
        kernels(c->u)->contrastive_fwd(&args, fci_tape_scratch(tape));
        sum += part;
        fci_tape_count(tape, 2.0 * (double)args.rows * (double)args.cols * (double)args.width);
        void *lse = text != 0 ? c->lse_col : c->lse_row;
        void *own = fc_tape_alloc(tape, (size_t)c->u->rows * fc_dtype_bytes(dtype));
        memcpy(own, offset(lse, dtype, c->first), (size_t)c->u->rows * fc_dtype_bytes(dtype));
        FC_TRY(fc_comm_all_gather(c->in->comm, own, lse, rows_of, fc_comm_real(dtype)));
    }
    /* open_clip's local loss is the mean over ranks of each rank's own mean. */
    int ranks = fc_comm_size(c->in->comm);
    double rows = local ? (double)c->u->rows * ranks : (double)c->total;
    sum = rows > 0 ? sum / (2 * rows) : 0;
    FC_TRY(fc_comm_all_reduce(c->in->comm, &sum, 1, FC_COMM_F64, FC_COMM_SUM));
    *value = sum;
    return FC_OK;
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
    if (forward(c, tape, &value) != FC_OK) {
        return fci_tape_fail(tape, FC_RUNTIME, "%s", fc_error_message());
    }
    c->loss = fc_tape_tensor(tape, 0, NULL, fci_needs_grad(tape, 3, inputs));
    memset(c->loss->data, 0, fc_dtype_bytes(c->loss->dtype));
    add_scalar(c->loss->data, c->loss->dtype, value);
    contrastive_ctx *node = fci_tape_node(tape, backward, sizeof *node, c->loss, 3, inputs);
    if (node != NULL) {
        *node = *c;
    }
    return c->loss;
}
