/* CLIP as FineCLIP uses it: a picture tower that yields class embeddings and dense features in one
 * pass, a text tower, and the logit scale; all parameters in one set.
 *
 * B pictures, R crops or regions, n = all sequences of a call, P = grid^2 patches a picture, D =
 * embed_dim. Sources: METHOD.md sections 3 and 4. */
#ifndef FC_MODELS_CLIP_H
#define FC_MODELS_CLIP_H

#include "core/op.h"
#include "models/model_config.h"

typedef struct fci_text fci_text;
typedef struct fci_init_rule fci_init_rule;

enum { FC_FREEZE_IMAGE = 1, FC_FREEZE_TEXT = 2, FC_FREEZE_LOGIT_SCALE = 4 };
/* Of the picture tower only the last `blocks` blocks train: patch embedding, class token,
 * positions, the blocks before, final norm and projection do not (CLIPSelf's locked tower). Goes
 * with the bits above; 0: no such limit. */
#define FC_TRAIN_LAST_BLOCKS(blocks) ((unsigned)(blocks) << 8)

typedef struct fc_clip {
    fc_model_config config;
    int image_size, grid; /* input side in pixels; patches a side */
    int64_t patches;      /* grid^2 */
    unsigned freeze;      /* FC_FREEZE_... and FC_TRAIN_LAST_BLOCKS */
    fc_params *params;    /* logit_scale, visual..., text... */
    fc_tensor *logit_scale;
    int vision_first, vision_count, text_first, text_count; /* ranges of params->items */

    void *vision; /* the tower of its kind */
    fci_text *text;
    void *rope_cos, *rope_sin; /* (P, head width / 2) where and as the masters are; NULL for vit */
    fci_init_rule *rules;      /* one a parameter */

    struct fc_clip *initial; /* the model as it was before training, frozen; NULL: not kept */
    double ensemble_alpha;   /* below 1: what is saved for use and evaluated (initial.c) */
} fc_clip;

/** Build a model whose parameters are all zero; fc_clip_init or fc_clip_load fills them.
 *  image_size  input side in pixels, a multiple of the patch size; may differ from config's own
 *  freeze      FC_FREEZE_... bits, FC_TRAIN_LAST_BLOCKS: those parameters get no gradient
 *  Errors FC_USAGE image_size is no multiple of the patch size, a width no multiple of the heads,
 * or more blocks to train than there are */
FC_NODISCARD fc_status fc_clip_create(fc_clip **out, const fc_model_config *config, int image_size,
                                      fc_dtype dtype, unsigned freeze);
/** The same in a backend's memory, for tapes of type `compute` there. */
FC_NODISCARD fc_status fc_clip_create_on(fc_clip **out, const fc_backend *backend,
                                         const fc_model_config *config, int image_size,
                                         fc_dtype compute, unsigned freeze);
/** A tape to run it on. */
fc_tape *fc_clip_tape(const fc_clip *m);
void fc_clip_destroy(fc_clip **m);

/** Random initialisation as the published model families do it (METHOD.md section 4b). What a
 * parameter gets depends on its name and the seed alone. */
void fc_clip_init(fc_clip *m, uint64_t seed);

/** A frozen copy of `m` for another picture size: position tables resized (bicubic), everything
 * else equal. Shares nothing with `m`.
 *  Errors FC_USAGE as fc_clip_create */
FC_NODISCARD fc_status fc_clip_resized(fc_clip **out, const fc_clip *m, int image_size);

/** Keep a frozen copy of `m` as it is now in m->initial. */
FC_NODISCARD fc_status fc_clip_keep_initial(fc_clip *m);
/** Class embeddings (n,D) of n pictures (n,S,S,3) by m->initial, unit length, without gradient;
 * what they take on the way is given back at once. on_device: rgb lies in the backend's memory.
 * Local. */
fc_tensor *fc_clip_teacher(const fc_clip *m, fc_tape *tape, const uint8_t *rgb, int64_t n,
                           bool on_device);
/** Weight ensembling (CLIPSelf): let every value be initial + alpha (value - initial) until
 * fc_clip_ensemble_end puts back *own, bit for bit. alpha is m->ensemble_alpha; at 1 nothing
 * happens and *own is NULL. */
void fc_clip_ensemble_begin(fc_clip *m, void **own);
void fc_clip_ensemble_end(fc_clip *m, void **own);

enum { FC_ALL_BLOCKS = 1 << 30 };

/** Run the picture tower once over all sequences (pictures, then crops) and branch in the last
 * block: class embeddings through attention, dense features through values alone.
 *  pixels       n pictures of side image_size; borrowed until return
 *  dense_count  dense features are wanted for sequences [0, dense_count)
 *  class_first  class embeddings are wanted for sequences [class_first, n); a sequence wanted for
 *               nothing costs all blocks but the last
 *  recompute    of so many blocks, from the first, only what goes in is kept; they run again on the
 *               way back. FC_ALL_BLOCKS; the last block, taken apart, never does
 *  cls          (n - class_first, D), not normalised; NULL when none is wanted
 *  dense        (dense_count * P, D), every row of unit length; NULL when none is wanted
 *  Grad   image parameters that have part in what is wanted: with class_first = n those of the last
 *         block's queries and keys get none.        Ranks  local
 *  Errors FC_BUG sizes that do not agree; otherwise the tape's first failure
 *  Cost   last block: k for sequences with class only, q for their class tokens, MLP and head for
 *         wanted rows
 *  Source METHOD.md section 3; CLIPSelf (Wu et al. 2024) for the value-only path. The published
 *         program runs the tower once for each kind. */
FC_NODISCARD fc_status fc_clip_vision(const fc_clip *m, fc_tape *tape, const fc_pixels *pixels,
                                      int64_t dense_count, int64_t class_first, int recompute,
                                      fc_tensor **cls, fc_tensor **dense);

/** Run the text tower over token rows of different lengths, each cut after its end token (the first
 * occurrence of its largest id) and packed without padding; equal rows are computed once.
 *  tokens   ids of all rows one after another; zeros after the end token do no harm; borrowed
 *  offsets  (rows + 1) row i is tokens[offsets[i] .. offsets[i+1])
 *  recompute as above
 *  return   (rows, D), not normalised; step memory; NULL after a failure on the tape
 *  Grad     text parameters.            Ranks  local
 *  Errors   FC_DATA a row that is empty, longer than context_length, or with an id outside the
 *           vocabulary (row in the message)
 *  Source   METHOD.md section 4; exact because of the causal mask */
fc_tensor *fc_clip_text(const fc_clip *m, fc_tape *tape, int64_t rows, const int32_t *tokens,
                        const int64_t *offsets, int recompute);

/** Features of every token of one row up to its end token, each as the row's own is taken from the
 * last: final norm and projection.
 *  return   (tokens, D), not normalised, without gradient; step memory; NULL after a failure
 *  Errors   FC_DATA as fc_clip_text */
fc_tensor *fc_clip_text_tokens(const fc_clip *m, fc_tape *tape, const int32_t *tokens,
                               int64_t count);

/** Box features: RoIAlign of normalised dense features to 1x1, then unit length.
 *  dense   (pictures * grid^2, D)
 *  boxes   (n, 4) x0 y0 x1 y1 as fractions of width and height; copied, no gradient
 *  image   (n) index of the picture; copied
 *  return  (n, D); step memory. An empty box gives zeros
 *  Source  METHOD.md section 3 "Box feature" */
fc_tensor *fc_clip_box_features(fc_tape *tape, fc_tensor *dense, int grid, const float *boxes,
                                const int32_t *image, int64_t n);

/** Read parameters from a safetensors file in any of the three naming schemes (FORMATS.md section
 * 3). Position tables are resized where the model's image_size is not the configuration's own and
 * the file's grid differs.
 *  Errors FC_NOINPUT, FC_DATA; tensors missing, unknown or of another shape are all listed (20 at
 *         most, with the count). The parameters are then unchanged. */
FC_NODISCARD fc_status fc_clip_load(fc_clip *m, const char *path);
/** Write parameters in fp32 under the names of open_clip (vit) or EVA-CLIP (eva02), with the rotary
 * tables of the grid in use.
 *  metadata  key, value, ... NULL; may be NULL */
FC_NODISCARD fc_status fc_clip_save(const fc_clip *m, const char *path,
                                    const char *const *metadata);

#endif
