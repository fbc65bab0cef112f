/* What the files of models/ share: adding parameters, running blocks, the towers' insides. */
#ifndef FC_MODELS_CLIP_PARTS_H
#define FC_MODELS_CLIP_PARTS_H

#include "models/clip.h"

/* ---- Parameters ---- */

typedef enum {
    FCI_INIT_CONSTANT,  /* every value `scale` */
    FCI_INIT_NORMAL,    /* deviation `scale` */
    FCI_INIT_TRUNCATED, /* deviation 0.02, drawn again beyond +-2, then times `scale` */
    FCI_INIT_UNIFORM    /* in +-`scale` */
} fci_init_kind;

struct fci_init_rule {
    fci_init_kind kind;
    double scale;
};

#define FCI_ZEROS ((fci_init_rule){FCI_INIT_CONSTANT, 0.0})
#define FCI_ONES ((fci_init_rule){FCI_INIT_CONSTANT, 1.0})
#define FCI_NORMAL(deviation) ((fci_init_rule){FCI_INIT_NORMAL, (deviation)})

/** Append a parameter with its initialisation; returns its index. */
int fci_add(fc_clip *m, fci_init_rule rule, int ndim, const int64_t *shape, const char *fmt, ...)
    FC_PRINTF(5, 6);
/** The same, seen as a matrix or vector. */
fc_tensor *fci_add_matrix(fc_clip *m, fci_init_rule rule, int64_t rows, int64_t cols,
                          const char *fmt, ...) FC_PRINTF(5, 6);
fc_tensor *fci_add_vector(fc_clip *m, fci_init_rule rule, int64_t count, const char *fmt, ...)
    FC_PRINTF(4, 5);
/** Gain (ones) and bias (zeros) of a norm "PREFIX.weight", "PREFIX.bias". */
void fci_add_norm(fc_clip *m, fc_tensor *norm[2], int64_t width, const char *fmt, ...)
    FC_PRINTF(4, 5);
/** Start the next parameter at a multiple of 64 bytes (in fp32): matrix products run faster. */
void fci_align(fc_clip *m);

/** gain and bias of a norm applied. */
static inline fc_tensor *fci_norm(fc_tape *tape, fc_tensor *x, fc_tensor *const norm[2], double eps)
{
    return fc_layernorm(tape, x, norm[0], norm[1], eps);
}

/* ---- Stacks of blocks ---- */

typedef fc_tensor *(*fci_block_fn)(const fc_clip *m, fc_tape *tape, int layer, fc_tensor *x,
                                   const fc_attention_spec *spec);
/** Run blocks 0..count-1. Recording: one segment a block, of which the first `recompute` run again
 * on the way back. Otherwise only a few of the results between blocks are alive at a time. The spec
 * is copied. */
fc_tensor *fci_run_blocks(const fc_clip *m, fc_tape *tape, fci_block_fn fn, int count,
                          const fc_attention_spec *spec, fc_tensor *x, int recompute);
/** Offsets 0, step, 2 step, ... (count + 1 of them) in step memory. */
int64_t *fci_even_offsets(fc_tape *tape, int64_t count, int64_t step);

/* ---- The residual block of OpenAI's CLIP (block.c), in vit and text ---- */

typedef enum { FCI_Q, FCI_K, FCI_V } fci_part;

typedef struct fci_block {
    fc_tensor *ln_1[2], *ln_2[2];
    fc_tensor *in_proj[2], *part[3][2]; /* q, k, v at once (3D,D); its thirds */
    fc_tensor *out_proj[2], *c_fc[2], *c_proj[2];
    fc_gelu_kind gelu;
} fci_block;

/** Add the parameters PREFIX.ln_1.weight and so on; layers is the depth of the tower. */
void fci_block_add(fc_clip *m, fci_block *b, const char *prefix, int64_t width, int64_t hidden,
                   int layers);
/** x (T,D) -> (T,D). */
fc_tensor *fci_block_forward(const fci_block *b, fc_tape *tape, fc_tensor *x,
                             const fc_attention_spec *spec);
/* The same block taken apart, for rows of the last one: ln_1; one of q, k, v of its result; and
 * everything after attention, from heads joined (T,D) and what the block adds to (T,D). */
fc_tensor *fci_block_norm(const fci_block *b, fc_tape *tape, fc_tensor *x);
fc_tensor *fci_block_part(const fci_block *b, fc_tape *tape, fci_part part, fc_tensor *h);
fc_tensor *fci_block_finish(const fci_block *b, fc_tape *tape, fc_tensor *mixed,
                            fc_tensor *residual);

/* ---- Picture towers (vision.c; one definition a kind) ---- */

typedef struct fci_vision_def {
    const char *blocks; /* names of the blocks' parameters up to the number */
    /** Add parameters and views. */
    void (*build)(fc_clip *m);
    void (*destroy)(fc_clip *m);
    /** Pictures -> tokens (n(1+P), W), as the first block takes them. */
    fc_tensor *(*embed)(const fc_clip *m, fc_tape *tape, const fc_pixels *pixels);
    fci_block_fn block;
    /* The last block taken apart as above; finish goes on to the embedding (rows, D). */
    fc_tensor *(*norm)(const fc_clip *m, fc_tape *tape, fc_tensor *x);
    fc_tensor *(*part)(const fc_clip *m, fc_tape *tape, fci_part part, fc_tensor *h);
    fc_tensor *(*finish)(const fc_clip *m, fc_tape *tape, fc_tensor *mixed, fc_tensor *residual);
} fci_vision_def;

extern const fci_vision_def fci_vit, fci_eva02;

/** What FC_TRAIN_LAST_BLOCKS put there; 0: no limit. */
static inline int fci_train_last_blocks(unsigned freeze)
{
    return (int)(freeze >> 8);
}

const fci_vision_def *fci_vision_kind(const fc_model_config *config);
int fci_vision_heads(const fc_model_config *config);
int64_t fci_vision_hidden(const fc_model_config *config);
/** Name of the position table ("visual.pos_embed", "visual.positional_embedding"). */
const char *fci_vision_positions(const fc_model_config *config);

/* ---- Text tower (text.c) ---- */

void fci_text_build(fc_clip *m);
void fci_text_destroy(fc_clip *m);
/** What stands before the names of text parameters: "text." in EVA-CLIP, "" in open_clip. */
const char *fci_text_prefix(const fc_model_config *config);

/* ---- Positions (positions.c) ---- */

/** Resize a position table (1 + from^2, width) to (1 + to^2, width): the class row is kept, the
 * rest resized as a picture by bicubic interpolation (a = -0.75, half-pixel centres, no
 * anti-aliasing). METHOD.md section 3. */
void fci_positions_resize(const double *in, int from, double *out, int to, int64_t width);
/** Cosines and sines (grid^2, head_width / 2) of the rotary angles: the first half of the pairs by
 * the patch's row, the second by its column. METHOD.md section 3. */
void fci_rope_tables(int grid, int head_width, int pt_hw_seq_len, double *cosines, double *sines);

/* ---- Names (names.c) ---- */

/** The name a parameter of eva02 has in open_clip's timm-based files ("visual.trunk..."). */
void fci_name_timm(const char *name, char *out, size_t bytes);
/** A buffer or note in published files that holds nothing to load. */
bool fci_name_harmless(const char *name);

#endif
