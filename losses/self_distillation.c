/* L_SD: mean over regions of 1 - <box feature, embedding of the box's crop>, both of the live model
 * (FineCLIP section 3.3). Where gradients are averaged over ranks (gather_with_grad: false) the
 * mean is that of the ranks' means. */
#include "core/op/shared.h"
#include "losses/loss.h"

enum { STOP_NONE, STOP_CROPS, STOP_REGIONS };

static const char *const sides[] = {"none", "crops", "regions", NULL};

static const fc_loss_option options_of_term[] = {
    {"stop_gradient", "none", "the side that is taken as it is, without gradient", sides, 0, 0},
    {0},
};

typedef struct distill_ctx {
    fc_tensor *box, *crop, *loss;
    bool to_box, to_crop;
    double scale; /* 1 / regions the mean is over */
} distill_ctx;

/* grad (+)= -scale * upstream * other, rounded as the tape's values are */
static void one_side(fc_tape *tape, const distill_ctx *c, fc_tensor *to, const fc_tensor *other)
{
    const double upstream = fc_tape_grad_value(c->loss);
    const fci_cosine_distance_args args = {
        .rows = other->rows,
        .cols = other->cols,
        .b = other->data,
        .factor = other->dtype == FC_F64 ? -c->scale * upstream
                                         : (double)((float)-c->scale * (float)upstream),
        .da = fci_op_grad(tape, to)};
    if (args.da.at != NULL) {
        FCI_RUN(tape, cosine_distance_bwd, &args);
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

static double sum_of_distances(fc_tape *tape, const fc_tensor *a, const fc_tensor *b)
{
    double value;
    const fci_cosine_distance_args args = {.rows = a->rows,
                                           .cols = a->cols,
                                           .a = a->data,
                                           .b = b->data,
                                           .sum = fci_tape_room(tape, sizeof value)};
    FCI_RUN(tape, cosine_distance_fwd, &args);
    fc_tape_backend(tape)->download(&value, args.sum, sizeof value);
    return value;
}

fc_tensor *fc_cosine_distance(fc_tape *tape, const fc_loss_inputs *in, fc_tensor *box,
                              fc_tensor *other, bool to_box, bool to_other)
{
    if (box == NULL || other == NULL || fc_tape_status(tape) != FC_OK) {
        return NULL;
    }
    fc_tensor *inputs[2] = {box, other};
    if (box->rows != other->rows) {
        return fci_tape_fail(tape, FC_BUG, "%lld boxes, %lld embeddings of crops",
                             (long long)box->rows, (long long)other->rows);
    }
    double value = sum_of_distances(tape, box, other), scale;
    if (fc_region_mean(in, box->rows, &value, &scale) != FC_OK) {
        return fci_tape_fail(tape, FC_RUNTIME, "%s", fc_error_message());
    }
    fc_tensor *loss = fc_tape_scalar(tape, value, fci_needs_grad(tape, 2, inputs));
    distill_ctx *c = fci_tape_node(tape, backward, sizeof *c, loss, 2, inputs);
    if (c != NULL) {
        *c = (distill_ctx){.box = box,
                           .crop = other,
                           .loss = loss,
                           .to_box = to_box,
                           .to_crop = to_other,
                           .scale = scale};
    }
    return loss;
}

static fc_tensor *forward(fc_tape *tape, const fc_loss_inputs *in, const fc_loss_options *options)
{
    return fc_cosine_distance(tape, in, in->box, in->crop, options->value[0] != STOP_REGIONS,
                              options->value[0] != STOP_CROPS);
}

const fc_loss_def fc_loss_self_distillation = {
    .name = "self_distillation",
    .doc = "one minus the cosine between a box feature and the embedding of the box's crop",
    .needs = FC_NEED_BOX | FC_NEED_CROP,
    .options = options_of_term,
    .forward = forward,
};
