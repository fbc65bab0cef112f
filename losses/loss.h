/* Loss terms: one file and one line of loss.def each. The trainer knows features and weights, never
 * a term's name.
 *
 * Shapes: B pictures, R regions, C captioned regions of this rank; D embedding width. All features
 * are L2-normalised. A term returns a scalar: its value over the whole global batch, the same on
 * every rank. Going back, every rank gets the part of the gradient that flows through its own
 * features; summed over ranks the parts are the gradient. */
#ifndef FC_LOSSES_LOSS_H
#define FC_LOSSES_LOSS_H

#include "core/comm.h"
#include "core/tape.h"
#include "core/yaml.h"

/* Which features a term reads. */
enum {
    FC_NEED_IMAGE = 1,       /* whole-picture embeddings */
    FC_NEED_TEXT = 2,        /* caption embeddings */
    FC_NEED_BOX = 4,         /* box features out of the dense map */
    FC_NEED_CROP = 8,        /* whole-picture embeddings of the boxes' crops */
    FC_NEED_REGION_TEXT = 16 /* embeddings of region captions */
};

typedef struct fc_loss_inputs {
    fc_comm *comm;
    /* FORMATS.md section 2: true/true and false/true are the exact gradient; false/false lets only
     * a rank's own features carry gradient and averages over ranks; true/false is open_clip's local
     * loss. */
    bool local_loss, gather_with_grad;
    fc_tensor *logit_scale;   /* scalar parameter, the logarithm of the scale */
    fc_tensor *image;         /* (B,D) */
    fc_tensor *text;          /* (B,D) */
    fc_tensor *box;           /* (R,D) */
    fc_tensor *crop;          /* (R,D) */
    fc_tensor *region_text;   /* (C,D) */
    const int64_t *captioned; /* (C) region of each row of region_text */
    int64_t captioned_count;
} fc_loss_inputs;

typedef struct fc_loss_def {
    const char *name; /* key under `losses:` and name under /train/losses */
    const char *doc;
    unsigned needs;
    /* Extra options besides `weight`; NULL: none. Reads the mapping (NULL: all defaults) into the
     * term's own word of flags. */
    fc_status (*read_options)(const fc_yaml *mapping, int *options);
    fc_tensor *(*forward)(fc_tape *tape, const fc_loss_inputs *in, int options);
} fc_loss_def;

#define FC_LOSS(name) extern const fc_loss_def fc_loss_##name;
#include "losses/loss.def"
#undef FC_LOSS

/** All terms, in the order of loss.def; *count of them. */
const fc_loss_def *const *fc_loss_all(int *count);
const fc_loss_def *fc_loss_find(const char *name); /* NULL: no such term */

/** Symmetric contrastive loss between rows of u and v over all ranks (METHOD.md section 5): u, v
 * (n,D), n may differ between ranks. Collective. Ranks hold their own rows against all columns, in
 * tiles; the global matrix is never formed. Cost: 8 n N D flops forward and back, N the global
 * count. */
fc_tensor *fc_contrastive(fc_tape *tape, const fc_loss_inputs *in, fc_tensor *u, fc_tensor *v);

#endif
