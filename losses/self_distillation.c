/* L_SD: mean over regions of 1 - <box feature, embedding of the box's crop>, both of the live model
 * (FineCLIP section 3.3). Where gradients are averaged over ranks (gather_with_grad: false) the
 * mean is that of the ranks' means. */
#include "losses/loss.h"

#include <string.h>

enum { STOP_NONE, STOP_CROPS, STOP_REGIONS };

static fc_status read_options(const fc_yaml *mapping, int *options)
{
    static const char *const words[] = {"none", "crops", "regions", NULL};
    *options = STOP_NONE;
    const fc_yaml *stop = mapping != NULL ? fc_yaml_get(mapping, "stop_gradient") : NULL;
    if (stop != NULL) {
        FC_TRY(fc_yaml_choice(stop, words, options));
    }
    return FC_OK;
}

typedef struct distill_ctx {
    fc_tensor *box, *crop, *loss;
    bool to_box, to_crop;
    double scale; /* 1 / regions the mean is over */
} distill_ctx;

/* grad (+)= -scale * upstream * other */
static void one_side(fc_tape *tape, const distill_ctx *c, fc_tensor *to, const fc_tensor *other)
{
    bool accumulate;
    void *grad = fci_grad(tape, to, &accumulate);
    int64_t count = fc_tensor_count(other);
    if (grad == NULL) {
        return;
    }
    if (!accumulate) {
        memset(grad, 0, (size_t)count * fc_dtype_bytes(other->dtype));
    }
    if (other->dtype == FC_F64) {
        double factor = -c->scale * *(const double *)c->loss->grad;
        for (int64_t i = 0; i < count; i++) {
            ((double *)grad)[i] += factor * ((const double *)other->data)[i];
        }
    } else {
        float factor = (float)-c->scale * *(const float *)c->loss->grad;
        for (int64_t i = 0; i < count; i++) {
            ((float *)grad)[i] += factor * ((const float *)other->data)[i];
        }
    }
}

static void backward(fc_tape *tape, void *ctx)
{
    const distill_ctx *c = ctx;
    if (c->to_box) {
        one_side(tape, c, c->box, c->crop);
    }
    if (c->to_crop) {
        one_side(tape, c, c->crop, c->box);
    }
}

static double sum_of_distances(const fc_tensor *a, const fc_tensor *b)
{
    double sum = 0;
    for (int64_t r = 0; r < a->rows; r++) {
        double dot = 0;
        for (int64_t i = r * a->cols; i < (r + 1) * a->cols; i++) {
            dot += a->dtype == FC_F64
                       ? ((const double *)a->data)[i] * ((const double *)b->data)[i]
                       : (double)((const float *)a->data)[i] * (double)((const float *)b->data)[i];
        }
        sum += 1.0 - dot;
    }
    return sum;
}

static fc_tensor *forward(fc_tape *tape, const fc_loss_inputs *in, int options)
{
    if (in->box == NULL || in->crop == NULL || fc_tape_status(tape) != FC_OK) {
        return NULL;
    }
    fc_tensor *inputs[2] = {in->box, in->crop};
    fc_tensor *loss = fc_tape_tensor(tape, 0, NULL, fci_needs_grad(tape, 2, inputs));
    if (in->box->rows != in->crop->rows) {
        return fci_tape_fail(tape, FC_BUG, "self_distillation: %lld boxes, %lld crops",
                             (long long)in->box->rows, (long long)in->crop->rows);
    }
    double sums[2] = {sum_of_distances(in->box, in->crop), (double)in->box->rows};
    int ranks = fc_comm_size(in->comm);
    double scale = 0;
    bool mean_of_means = !in->gather_with_grad && ranks > 1;
    if (mean_of_means) {
        scale = sums[1] > 0 ? 1.0 / (sums[1] * ranks) : 0;
        sums[0] *= scale;
    }
    if (fc_comm_all_reduce(in->comm, sums, 2, FC_COMM_F64, FC_COMM_SUM) != FC_OK) {
        return fci_tape_fail(tape, FC_RUNTIME, "%s", fc_error_message());
    }
    if (!mean_of_means) {
        scale = sums[1] > 0 ? 1.0 / sums[1] : 0;
        sums[0] *= scale;
    }
    if (loss->dtype == FC_F64) {
        *(double *)loss->data = sums[0];
    } else {
        *(float *)loss->data = (float)sums[0];
    }
    distill_ctx *c = fci_tape_node(tape, backward, sizeof *c, loss, 2, inputs);
    if (c != NULL) {
        *c = (distill_ctx){.box = in->box,
                           .crop = in->crop,
                           .loss = loss,
                           .to_box = options != STOP_REGIONS,
                           .to_crop = options != STOP_CROPS,
                           .scale = scale};
    }
    return loss;
}

const fc_loss_def fc_loss_self_distillation = {
    .name = "self_distillation",
    .doc = "one minus the cosine between a box feature and the embedding of the box's crop "
           "(stop_gradient: none, crops or regions)",
    .needs = FC_NEED_BOX | FC_NEED_CROP,
    .read_options = read_options,
    .forward = forward,
};
