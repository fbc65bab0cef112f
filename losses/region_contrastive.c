/* L_RC: the feature of every box against the caption of every box of the global batch (FineCLIP
 * section 3.2). Regions without a caption take no part. */
#include "core/op.h"
#include "losses/loss.h"

static fc_tensor *forward(fc_tape *tape, const fc_loss_inputs *in, const fc_loss_options *options)
{
    (void)options;
    fc_tensor *box = fc_gather_rows(tape, in->box, in->captioned, in->captioned_count);
    return fc_contrastive(tape, in, box, in->region_text);
}

const fc_loss_def fc_loss_region_contrastive = {
    .name = "region_contrastive",
    .doc = "box feature against the caption of the box, over all boxes of the global batch",
    .needs = FC_NEED_BOX | FC_NEED_REGION_TEXT,
    .forward = forward,
};
