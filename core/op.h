/* The ops models and losses are made of. Forward code only: each records its own way back.
 *
 * Shapes: T rows (tokens of all sequences), K and N columns, D width, H heads, S sequences, P
 * patches a picture, R regions. Every op: inputs borrowed; returns a new tensor in step memory, or
 * NULL after an earlier failure on the tape or on shapes that do not agree (FC_BUG with op, shapes
 * and scope). All are local to the rank. Parallel over rows with OpenMP; the same inputs and
 * threads give the same bits. */
#ifndef FC_CORE_OP_H
#define FC_CORE_OP_H

#include "core/tape.h"

/** y (T,N) = x (T,K) w^T + b + residual; w (N,K) as torch's Linear stores it; b (N) or NULL;
 * residual (T,N) or NULL. Grad: all inputs that need one; that of residual is y's own buffer handed
 * on. Cost: 2TNK forward, 4TNK backward. */
fc_tensor *fc_linear(fc_tape *tape, fc_tensor *x, fc_tensor *w, fc_tensor *b, fc_tensor *residual);
/** y (T,N) = x (T,K) w; w (K,N) as open_clip stores its projections. */
fc_tensor *fc_project(fc_tape *tape, fc_tensor *x, fc_tensor *w);

/** Row-wise layer norm: y = (x - mean) / sqrt(var + eps) * gain + bias; x (T,D), gain and bias (D).
 * Biased variance. */
fc_tensor *fc_layernorm(fc_tape *tape, fc_tensor *x, fc_tensor *gain, fc_tensor *bias, double eps);
/** y (T,F) = the layer norm of silu(a) * b, where ab (T,2F) holds a in its first F columns and b in
 * the others; gain and bias (F) (eva02's MLP). silu(a) * b is kept nowhere: the way back makes it
 * again from ab. */
fc_tensor *fc_swiglu_norm(fc_tape *tape, fc_tensor *ab, fc_tensor *gain, fc_tensor *bias,
                          double eps);

typedef enum { FC_GELU_ERF, FC_GELU_QUICK } fc_gelu_kind; /* x Phi(x) | x sigmoid(1.702 x) */
fc_tensor *fc_gelu(fc_tape *tape, fc_tensor *x, fc_gelu_kind kind);
/* Attention over packed sequences of different lengths. Row r of sequence s is q_offsets[s]+r. */
typedef struct fc_attention_spec {
    int heads; /* head width = cols / heads; scale 1/sqrt(head width) */
    int64_t sequences;
    const int64_t *q_offsets; /* (S+1); copied */
    const int64_t *k_offsets; /* (S+1); NULL: same as q_offsets; copied */
    bool causal;              /* query r sees keys 0..r */
    /* Rotary positions (eva02; METHOD.md section 3), NULL: none. Tables (P, head width / 2) of the
     * tape's wide type in its backend's memory, which must outlive the tape's step: key row r >= 1
     * of a sequence is rotated by table row r-1, row 0 (class token) is not; queries likewise in
     * self attention; queries given apart are class tokens and are not. */
    const void *rope_cos, *rope_sin;
} fc_attention_spec;

/** Self attention: qkv (T,3D) -> (T,D), heads side by side. Saves one number a query and head for
 * the way back, never a score matrix. Cost: 4 L^2 D a sequence forward (half when causal), 2.5
 * times that backward. */
fc_tensor *fc_attention(fc_tape *tape, fc_tensor *qkv, const fc_attention_spec *spec);
/** Queries from elsewhere: q (Tq,D), k and v (T,D) -> (Tq,D). */
fc_tensor *fc_attention_cross(fc_tape *tape, fc_tensor *q, fc_tensor *k, fc_tensor *v,
                              const fc_attention_spec *spec);

/* Relevance of tokens (GAE; Chefer et al., ICCV 2021), one row of the relevance matrix R = (I +
 * E_l)
 * ... (I + E_1) a sequence. While a tape carries one (fc_tape_set_relevance), attention is where
 * gradients are wanted, though every parameter may be frozen; and going back through attention,
 * rows <- rows + rows E, with E (queries, keys) the mean over heads of max(0, A * G), A the weights
 * after softmax and G the gradient of what is differentiated by them. The last attention comes
 * first, so that no matrix is ever formed. */
struct fc_relevance {
    int64_t sequences;
    const int64_t *offsets; /* (S+1) rows of sequence s begin at offsets[s]: the attentions' keys */
    const int64_t *query;   /* (S) token of the sequence whose row it is, from 0 */
    double *rows;           /* offsets[S] values; begin as 1 at query and 0 elsewhere */
    int left;               /* attentions still to take part; the others are passed over */
};

/** y (n,D): row i is x[index[i]]. Indices copied, may repeat. */
fc_tensor *fc_gather_rows(fc_tape *tape, fc_tensor *x, const int64_t *index, int64_t n);
/** y (Ta+Tb,D). Either may have 0 rows. */
fc_tensor *fc_concat_rows(fc_tape *tape, fc_tensor *a, fc_tensor *b);

/* Pictures as they enter: up to two groups of 8-bit pictures (pictures, crops), rows first, RGB, or
 * one array of normalised planes (N,3,S,S) of the tape's type. */
typedef struct fc_pixels {
    int size; /* S */
    int64_t count[2];
    const uint8_t *rgb[2]; /* (count,S,S,3), borrowed until the op returns */
    bool on_device;        /* rgb: in the backend's memory already */
    const void *planes;    /* instead of rgb: (count[0],3,S,S), already normalised */
} fc_pixels;
/** Patches of all pictures, row by row: (N*P, 3*p*p), columns ordered channel, y, x; 8-bit values
 * are normalised with CLIP's mean and deviation (METHOD.md section 2). No gradient. FC_BUG where S
 * is no multiple of p. */
fc_tensor *fc_patchify(fc_tape *tape, const fc_pixels *pixels, int patch);
/** Sequences [class token; patches] plus positions: patches (N*P,D), cls (D values), pos ((1+P),D)
 * -> (N*(1+P),D). */
fc_tensor *fc_tokens(fc_tape *tape, fc_tensor *patches, fc_tensor *cls, fc_tensor *pos);
/** Token embeddings plus positions: table (V,D), pos (C,D), ids and positions n each (copied) ->
 * (n,D). */
fc_tensor *fc_embed(fc_tape *tape, fc_tensor *table, fc_tensor *pos, const int32_t *ids,
                    const int32_t *positions, int64_t n);

/** Row-wise y = x / max(|x|, 1e-12). */
fc_tensor *fc_l2norm(fc_tape *tape, fc_tensor *x);
/** RoIAlign to 1x1 as METHOD.md section 3 "Box feature": dense (N*g*g, D), boxes (R,4) fractions of
 * width and height (x0 y0 x1 y1), image (R) index of the picture; both copied -> (R,D), not
 * normalised. Grad: dense only. */
fc_tensor *fc_roi_align(fc_tape *tape, fc_tensor *dense, int grid, const float *boxes,
                        const int32_t *image, int64_t n);

#endif
