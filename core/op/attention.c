#include "core/op/shared.h"

#include <string.h>

typedef struct attention_ctx {
    fc_tensor *qkv; /* or NULL and q, k, v apart */
    fc_tensor *q, *k, *v, *y;
    double flops; /* forward */
    fci_attention_args args;
} attention_ctx;

/* The part of a fused (T,3D) gradient or array that begins at its column `part` D. */
static void *fused_part(const fc_tensor *qkv, void *base, int part)
{
    if (base == NULL) {
        return NULL;
    }
    return (char *)base + (size_t)(part * (qkv->cols / 3)) * fc_dtype_bytes(qkv->dtype);
}

/* Gradients are wanted here for the relevance of what is attended to, if for nothing else. */
static bool is_explained(const fc_tape *tape)
{
    return fc_tape_recording(tape) && fc_tape_relevance(tape) != NULL;
}

/* query: NULL where a sequence's first query is its first key. */
static void carry_relevance(fc_tape *tape, const fci_attention_args *args, const int64_t *query)
{
    fc_relevance *r = fc_tape_relevance(tape);
    if (r == NULL || r->left == 0) {
        return;
    }
    FC_ASSERT(r->sequences == args->sequences);
    FC_ASSERT(
        memcmp(r->offsets, args->k_offsets, (size_t)(r->sequences + 1) * sizeof *r->offsets) == 0);
    FC_ASSERT(fc_tape_backend(tape)->on_host); /* offsets and rows are the process's */
    r->left--;
    fci_attention_relevance_args carried = {.attention = args, .query = query, .rows = r->rows};
    FCI_RUN(tape, attention_relevance_fwd, &carried);
}

static void self_backward(fc_tape *tape, void *ctx)
{
    attention_ctx *c = ctx;
    c->args.dy = c->y->grad;
    carry_relevance(tape, &c->args, NULL);
    const fci_out out = fci_op_grad(tape, c->qkv);
    c->args.dq = out;
    c->args.dk = (fci_out){fused_part(c->qkv, out.at, 1), out.add};
    c->args.dv = (fci_out){fused_part(c->qkv, out.at, 2), out.add};
    FCI_RUN(tape, attention_bwd, &c->args);
    fci_tape_count(tape, 2.5 * c->flops);
}

static void cross_backward(fc_tape *tape, void *ctx)
{
    attention_ctx *c = ctx;
    c->args.dy = c->y->grad;
    carry_relevance(tape, &c->args,
                    fc_tape_relevance(tape) == NULL ? NULL : fc_tape_relevance(tape)->query);
    c->args.dq = fci_op_grad(tape, c->q);
    c->args.dk = fci_op_grad(tape, c->k);
    c->args.dv = fci_op_grad(tape, c->v);
    if (c->k == c->v && c->args.dk.at != NULL) { /* one buffer, which both add to */
        if (!c->args.dk.add) {
            fc_tape_backend(tape)->fill(
                c->args.dk.at, 0, (size_t)fc_tensor_count(c->k) * fc_dtype_bytes(c->k->dtype));
        }
        c->args.dk.add = c->args.dv.add = true;
    }
    FCI_RUN(tape, attention_bwd, &c->args);
    fci_tape_count(tape, 2.5 * c->flops);
}

static bool offsets_cover(const int64_t *offsets, int64_t sequences, int64_t rows)
{
    bool ok = offsets[0] == 0 && offsets[sequences] == rows;
    for (int64_t i = 0; i < sequences; i++) {
        ok = ok && offsets[i] <= offsets[i + 1];
    }
    return ok;
}

static int64_t longest(const int64_t *offsets, int64_t sequences)
{
    int64_t most = 0;
    for (int64_t i = 0; i < sequences; i++) {
        const int64_t rows = offsets[i + 1] - offsets[i];
        most = rows > most ? rows : most;
    }
    return most;
}

/* What both forms share: checks, copies of the offsets, and the run. args holds the arrays and
 * strides already. */
static fc_tensor *attend(fc_tape *tape, const fc_attention_spec *spec, int64_t q_rows,
                         int64_t k_rows, int64_t width, bool needs_grad, fci_attention_args *args,
                         double *flops)
{
    const int64_t *k_offsets = spec->k_offsets != NULL ? spec->k_offsets : spec->q_offsets;
    const bool rotated = spec->rope_cos != NULL;
    if (spec->heads < 1 || width % spec->heads != 0 || (rotated && width / spec->heads % 2 != 0)) {
        return fci_tape_fail(tape, FC_BUG, "attention: %d heads do not fit a width of %lld",
                             spec->heads, (long long)width);
    }
    if (!offsets_cover(spec->q_offsets, spec->sequences, q_rows) ||
        !offsets_cover(k_offsets, spec->sequences, k_rows)) {
        return fci_tape_fail(tape, FC_BUG,
                             "attention: offsets of %lld sequences do not lead from 0 to the %lld "
                             "rows of q and %lld of k",
                             (long long)spec->sequences, (long long)q_rows, (long long)k_rows);
    }
    fc_tensor *y = fc_tape_matrix(tape, q_rows, width, needs_grad);
    const size_t bytes = (size_t)(spec->sequences + 1) * sizeof(int64_t);
    args->heads = spec->heads;
    args->head_width = width / spec->heads;
    args->sequences = spec->sequences;
    args->rows_q = q_rows;
    args->rows_k = k_rows;
    args->q_offsets = fci_tape_copy(tape, spec->q_offsets, bytes);
    args->k_offsets =
        k_offsets == spec->q_offsets ? args->q_offsets : fci_tape_copy(tape, k_offsets, bytes);
    args->longest_q = longest(spec->q_offsets, spec->sequences);
    args->longest_k = longest(k_offsets, spec->sequences);
    args->causal = spec->causal;
    args->rope_cos = spec->rope_cos;
    args->rope_sin = spec->rope_sin;
    args->y = y->data;
    if (needs_grad) {
        args->lse = fci_tape_notes(tape, q_rows * spec->heads);
    }
    FCI_RUN(tape, attention_fwd, args);
    *flops = 0;
    for (int64_t i = 0; i < spec->sequences; i++) {
        const double queries = (double)(spec->q_offsets[i + 1] - spec->q_offsets[i]);
        const double keys = (double)(k_offsets[i + 1] - k_offsets[i]);
        *flops += (spec->causal ? 2 : 4) * queries * keys * (double)width;
    }
    fci_tape_count(tape, *flops);
    return y;
}

fc_tensor *fc_attention(fc_tape *tape, fc_tensor *qkv, const fc_attention_spec *spec)
{
    if (qkv == NULL || !fci_op_ready(tape, "attention", 1, &qkv, 0)) {
        return NULL;
    }
    if (qkv->cols % 3 != 0 || (spec->k_offsets != NULL && spec->k_offsets != spec->q_offsets)) {
        return fci_tape_fail(
            tape, FC_BUG,
            "attention: qkv (%lld,%lld) must hold three matrices and have one list "
            "of offsets",
            (long long)qkv->rows, (long long)qkv->cols);
    }
    fci_attention_args args = {.q = qkv->data,
                               .k = fused_part(qkv, qkv->data, 1),
                               .v = fused_part(qkv, qkv->data, 2),
                               .q_stride = qkv->cols,
                               .k_stride = qkv->cols,
                               .rope_q = true};
    double flops;
    fc_tensor *y = attend(tape, spec, qkv->rows, qkv->rows, qkv->cols / 3,
                          fci_needs_grad(tape, 1, &qkv) || is_explained(tape), &args, &flops);
    if (y == NULL) {
        return NULL;
    }
    attention_ctx *c = fci_tape_node(tape, self_backward, sizeof *c, y, 1, &qkv);
    if (c != NULL) {
        *c = (attention_ctx){.qkv = qkv, .y = y, .flops = flops, .args = args};
    }
    return y;
}

fc_tensor *fc_attention_cross(fc_tape *tape, fc_tensor *q, fc_tensor *k, fc_tensor *v,
                              const fc_attention_spec *spec)
{
    fc_tensor *inputs[3] = {q, k, v};
    if (q == NULL || k == NULL || v == NULL ||
        !fci_op_ready(tape, "attention_cross", 3, inputs, 0)) {
        return NULL;
    }
    if (q->cols != k->cols || q == k || q == v) {
        return fci_op_misfit(tape, "attention_cross", "q", q, "k", k);
    }
    if (k->rows != v->rows || k->cols != v->cols) {
        return fci_op_misfit(tape, "attention_cross", "k", k, "v", v);
    }
    fci_attention_args args = {
        .q = q->data, .k = k->data, .v = v->data, .q_stride = q->cols, .k_stride = k->cols};
    double flops;
    fc_tensor *y = attend(tape, spec, q->rows, k->rows, q->cols,
                          fci_needs_grad(tape, 3, inputs) || is_explained(tape), &args, &flops);
    if (y == NULL) {
        return NULL;
    }
    attention_ctx *c = fci_tape_node(tape, cross_backward, sizeof *c, y, 3, inputs);
    if (c != NULL) {
        *c = (attention_ctx){.q = q, .k = k, .v = v, .y = y, .flops = flops, .args = args};
    }
    return y;
}
