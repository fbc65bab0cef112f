/* L_GC: every picture against every caption of the global batch (CLIP; FineCLIP section 3.1). */
#include "losses/loss.h"

static fc_tensor *forward(fc_tape *tape, const fc_loss_inputs *in, const fc_loss_options *options)
{
    (void)options;
    return fc_contrastive(tape, in, in->image, in->text);
}

const fc_loss_def fc_loss_global_contrastive = {
    .name = "global_contrastive",
    .doc = "picture against caption, over all pairs of the global batch",
    .needs = FC_NEED_IMAGE | FC_NEED_TEXT,
    .forward = forward,
};
