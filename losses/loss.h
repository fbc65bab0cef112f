/* Loss terms: one file and one line of loss.def each. The trainer knows features and weights, never
 * a term's name.
 *
 * Shapes: B pictures, R regions, C captioned regions of this rank; D embedding width; K concepts.
 * All features are L2-normalised. A term returns a scalar: its value over the whole global batch,
 * the same on every rank. Going back, every rank gets the part of the gradient that flows through
 * its own features; summed over ranks the parts are the gradient. */
#ifndef FC_LOSSES_LOSS_H
#define FC_LOSSES_LOSS_H

#include "core/comm.h"
#include "core/tape.h"
#include "core/yaml.h"

/* Which features a term reads. */
enum {
    FC_NEED_IMAGE = 1,        /* whole-picture embeddings */
    FC_NEED_TEXT = 2,         /* caption embeddings */
    FC_NEED_BOX = 4,          /* box features out of the dense map */
    FC_NEED_CROP = 8,         /* whole-picture embeddings of the boxes' crops */
    FC_NEED_REGION_TEXT = 16, /* embeddings of region captions */
    FC_NEED_TEACHER = 32,     /* embeddings of the crops by the model as it was before training */
    FC_NEED_CONCEPT = 64      /* each region's concept, and embeddings of all concepts */
};

/* What a step's terms exchange between ranks; also noted where there is one rank alone. */
enum { FC_MOST_PAIRS = 16 };
typedef struct fc_exchange {
    int pairs; /* of contrastive terms: rows of two kinds that every rank gets all of, with a wide
                  value a row of each */
    struct {
        int64_t rows, width; /* this rank's */
        fc_dtype dtype;
    } pair[FC_MOST_PAIRS];
    int meetings; /* exchanges of a few numbers */
} fc_exchange;

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
    fc_tensor *teacher;     /* (R,D), without gradient */
    const int32_t *concept; /* (R) row of concept_embeddings; -1: none */
    const void
        *concept_embeddings; /* (K,D) of the tape's wide type, in the process's memory, fixed */
    int64_t concepts;        /* K */
    uint64_t seed, step;     /* what a term's random choices hang on */
    fc_exchange *exchange;   /* added to; NULL: nobody asks */
} fc_loss_inputs;

/* An option of a term beside `weight`: a key under losses.NAME. */
typedef struct fc_loss_option {
    const char *key, *fallback, *doc; /* fallback: as YAML */
    const char *const *words;         /* a choice; its value is the word's place. NULL-terminated */
    double lo, hi;                    /* without words: a whole number within; both 0: a text */
} fc_loss_option;

enum { FC_LOSS_OPTIONS = 2 };

/* Values in the order of the term's table. */
typedef struct fc_loss_options {
    int64_t value[FC_LOSS_OPTIONS];
    const char *text[FC_LOSS_OPTIONS]; /* the YAML tree's; NULL: null */
} fc_loss_options;

typedef struct fc_loss_def {
    const char *name; /* key under `losses:` and name under /train/losses */
    const char *doc;
    unsigned needs;
    const fc_loss_option *options; /* at most FC_LOSS_OPTIONS, ended by a NULL key; NULL: none */
    fc_tensor *(*forward)(fc_tape *tape, const fc_loss_inputs *in, const fc_loss_options *options);
} fc_loss_def;

#define FC_LOSS(name) extern const fc_loss_def fc_loss_##name;
#include "losses/loss.def"
#undef FC_LOSS

/** All terms, in the order of loss.def; *count of them. */
const fc_loss_def *const *fc_loss_all(int *count);
const fc_loss_def *fc_loss_find(const char *name); /* NULL: no such term */

/** Values of a term's options out of its mapping (NULL: all defaults). FC_USAGE with file, line and
 * key. */
FC_NODISCARD fc_status fc_loss_read_options(const fc_loss_def *def, const fc_yaml *mapping,
                                            fc_loss_options *out);

/** Note so many exchanges of a few numbers. */
static inline void fc_loss_meet(const fc_loss_inputs *in, int meetings)
{
    if (in->exchange != NULL) {
        in->exchange->meetings += meetings;
    }
}

/** Symmetric contrastive loss between rows of u and v over all ranks (METHOD.md section 5): u, v
 * (n,D), n may differ between ranks. Collective. Ranks hold their own rows against all columns, in
 * tiles; the global matrix is never formed. Cost: 8 n N D flops forward and back, N the global
 * count. */
fc_tensor *fc_contrastive(fc_tape *tape, const fc_loss_inputs *in, fc_tensor *u, fc_tensor *v);

/** Mean over all regions of all ranks of 1 - <box feature, other>; box, other (R,D). Gradient flows
 * to the sides named. Where gradients are averaged over ranks (gather_with_grad: false) the mean is
 * that of the ranks' means. Collective. */
fc_tensor *fc_cosine_distance(fc_tape *tape, const fc_loss_inputs *in, fc_tensor *box,
                              fc_tensor *other, bool to_box, bool to_other);
/** What a sum over this rank's regions is multiplied with to be its part of the mean over all
 * regions, or of the mean of the ranks' means (above); 0 where there are none. Collective.
 *  sum  in: over this rank's regions; out: the mean, the same on all ranks */
FC_NODISCARD fc_status fc_region_mean(const fc_loss_inputs *in, int64_t regions, double *sum,
                                      double *factor);

#endif
