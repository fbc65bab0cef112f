/* CLIPSelf (Wu et al., ICLR 2024): mean over regions of 1 - <box feature, embedding of the box's
 * crop by the model as it was before training>. The teacher gets no gradient. Its regions are the
 * store's, or with data.regions: grid the cells of a grid. */
#include "losses/loss.h"

static fc_tensor *forward(fc_tape *tape, const fc_loss_inputs *in, const fc_loss_options *options)
{
    (void)options;
    return fc_cosine_distance(tape, in, in->box, in->teacher, true, false);
}

const fc_loss_def fc_loss_clipself = {
    .name = "clipself",
    .doc = "one minus the cosine between a box feature and the embedding of the box's crop by the "
           "model as it was before training",
    .needs = FC_NEED_BOX | FC_NEED_TEACHER,
    .forward = forward,
};
