/* RegionCLIP as FineCLIP and CLIPSelf compare with it: every box feature against embeddings of
 * concepts, a sigmoid each. l = s <box feature, concept>, with s = exp(logit_scale) taken as it is;
 * L = mean over regions of the sum over concepts of BCE(l, 1 for the region's own, else 0). Regions
 * without a concept take no part.
 *
 * Of many concepts only some compete at a time ("federated"): those of the global batch, filled up
 * with others to a number; which ones depends on seed and step, so all ranks agree. The published
 * code draws on every rank for the rank's own batch.
 * R' regions with a concept, S concepts that compete, D width. */
#include "core/op/shared.h"
#include "core/rng.h"
#include "losses/loss.h"

#include <math.h>
#include <string.h>

enum { CLASSES, CONCEPTS };

static const fc_loss_option options_of_term[] = {
    [CLASSES] = {"classes", "100",
                 "concepts that compete in a step: those of its regions, filled up with others at "
                 "random to this number",
                 NULL, 1, 1000000},
    [CONCEPTS] =
        {"concepts", "null",
         "a store whose categories are the concepts, found by name; null: data.train's own", NULL,
         0, 0},
    {0},
};

/* The concepts that compete: *column (K) is a concept's place among them, or -1; returns how many.
 */
static fc_status choose(fc_tape *tape, const fc_loss_inputs *in, int64_t classes, int32_t **column,
                        int64_t **chosen, int64_t *count)
{
    int64_t most = in->concepts, absent = 0;
    uint8_t *present = fc_tape_alloc(tape, (size_t)most);
    int64_t *others = fc_tape_alloc(tape, (size_t)most * sizeof *others);
    *column = fc_tape_alloc(tape, (size_t)most * sizeof **column);
    *chosen = fc_tape_alloc(tape, (size_t)most * sizeof **chosen);
    *count = 0;
    memset(present, 0, (size_t)most);
    for (int64_t r = 0; r < in->box->rows; r++) {
        if (in->concept[r] >= 0) {
            present[in->concept[r]] = 1;
        }
    }
    fc_loss_meet(in, 1);
    FC_TRY(fc_comm_all_reduce(in->comm, present, most, FC_COMM_U8, FC_COMM_MAX));
    for (int64_t k = 0; k < most; k++) {
        if (present[k] != 0) {
            (*chosen)[(*count)++] = k;
        } else {
            others[absent++] = k;
        }
    }
    fc_rng rng = fc_rng_stream(in->seed, FC_RNG_CONCEPTS, in->step, 0);
    for (int64_t i = 0; i < absent && *count < classes; i++) {
        int64_t j = i + (int64_t)fc_rng_below(&rng, (uint64_t)(absent - i)), kept = others[i];
        (*chosen)[(*count)++] = others[j];
        others[j] = kept;
    }
    memset(*column, 0xff, (size_t)most * sizeof **column);
    for (int64_t i = 0; i < *count; i++) {
        (*column)[(*chosen)[i]] = (int32_t)i;
    }
    return FC_OK;
}

static fc_tensor *embeddings(fc_tape *tape, const fc_loss_inputs *in, const int64_t *chosen,
                             int64_t count)
{
    fc_tensor *e = fc_tape_matrix(tape, count, in->box->cols, false);
    if (e == NULL) {
        return NULL;
    }
    size_t row = (size_t)e->cols * fc_dtype_bytes(fc_dtype_wide(e->dtype));
    char *rows = fc_tape_alloc(tape, (size_t)count * row);
    for (int64_t i = 0; i < count; i++) {
        memcpy(rows + (size_t)i * row,
               (const char *)in->concept_embeddings + (size_t)chosen[i] * row, row);
    }
    fc_tape_write(tape, e, rows);
    return e;
}

/* ---- Sum of binary cross-entropies of s * cosine ---- */

typedef struct bce_ctx {
    fc_tensor *cosines, *loss;  /* (R',S) */
    double factor;              /* 1 / regions the mean is over */
    fci_sigmoid_loss_args args; /* own: column of the region's concept */
} bce_ctx;

static void backward(fc_tape *tape, void *ctx)
{
    bce_ctx *c = ctx;
    const fci_out out = fci_op_grad(tape, c->cosines);
    if (out.at == NULL) {
        return;
    }
    FC_ASSERT(!out.add); /* made here, for this loss alone */
    c->args.dcosines = out.at;
    c->args.factor = fc_tape_grad_value(c->loss) * c->factor * c->args.scale;
    FCI_RUN(tape, sigmoid_loss_bwd, &c->args);
}

static fc_tensor *cross_entropy(fc_tape *tape, const fc_loss_inputs *in, fc_tensor *cosines,
                                const int32_t *own)
{
    if (cosines == NULL || fc_tape_status(tape) != FC_OK) {
        return NULL;
    }
    double value;
    bce_ctx c = {.cosines = cosines,
                 .args = {.rows = cosines->rows,
                          .cols = cosines->cols,
                          .cosines = cosines->data,
                          .own = fci_tape_copy(tape, own, (size_t)cosines->rows * sizeof *own),
                          .scale = exp(fc_tape_value(tape, in->logit_scale)),
                          .sum = fci_tape_room(tape, sizeof value)}};
    FCI_RUN(tape, sigmoid_loss_fwd, &c.args);
    fc_tape_backend(tape)->download(&value, c.args.sum, sizeof value);
    if (fc_region_mean(in, cosines->rows, &value, &c.factor) != FC_OK) {
        return fci_tape_fail(tape, FC_RUNTIME, "%s", fc_error_message());
    }
    c.loss = fc_tape_scalar(tape, value, fci_needs_grad(tape, 1, &cosines));
    bce_ctx *node = fci_tape_node(tape, backward, sizeof *node, c.loss, 1, &cosines);
    if (node != NULL) {
        *node = c;
    }
    return c.loss;
}

static fc_tensor *forward(fc_tape *tape, const fc_loss_inputs *in, const fc_loss_options *options)
{
    if (in->box == NULL || fc_tape_status(tape) != FC_OK) {
        return NULL;
    }
    int32_t *column;
    int64_t *chosen, count, n = 0;
    if (choose(tape, in, options->value[CLASSES], &column, &chosen, &count) != FC_OK) {
        return fci_tape_fail(tape, FC_RUNTIME, "%s", fc_error_message());
    }
    int64_t *rows = fc_tape_alloc(tape, (size_t)in->box->rows * sizeof *rows);
    int32_t *own = fc_tape_alloc(tape, (size_t)in->box->rows * sizeof *own);
    for (int64_t r = 0; r < in->box->rows; r++) {
        if (in->concept[r] >= 0) {
            own[n] = column[in->concept[r]];
            rows[n++] = r;
        }
    }
    fc_tensor *box = fc_gather_rows(tape, in->box, rows, n);
    fc_tensor *cosines =
        fc_linear(tape, box, embeddings(tape, in, chosen, count), NULL, NULL); /* (R',S) */
    return cross_entropy(tape, in, cosines, own);
}

const fc_loss_def fc_loss_regionclip = {
    .name = "regionclip",
    .doc = "box feature against embeddings of concepts by the model's text tower as it was before "
           "training, a binary cross-entropy each, for regions that have a category",
    .needs = FC_NEED_BOX | FC_NEED_CONCEPT,
    .options = options_of_term,
    .forward = forward,
};
