/* What a backend computes: one argument struct and one or two functions an op (core/op.def).
 *
 * Arguments are plain pointers and sizes in the backend's memory; arrays are contiguous, row-major
 * and of the table's real type where nothing else is said. Kernels know no tape. Every kernel takes
 * 0 rows. Letters as in core/op.h. */
#ifndef FC_CORE_KERNEL_H
#define FC_CORE_KERNEL_H

#include "core/arena.h"
#include "core/tensor.h"

/* Where a gradient goes: added to what is there, or written over all of it; at NULL: nowhere. */
typedef struct fci_out {
    void *at;
    bool add;
} fci_out;

/* y = x w^T + bias + residual. dy is only read. */
typedef struct fci_linear_args {
    int64_t rows, inner, outer;          /* T, K, N */
    bool inner_major;                    /* w is (K,N) instead of (N,K) */
    const void *x, *w, *bias, *residual; /* (T,K), (N,K), (N) or NULL, (T,N) or NULL */
    void *y;                             /* (T,N) */
    const void *dy;                      /* (T,N) */
    fci_out dx, dw, dbias;
} fci_linear_args;

typedef struct fci_layernorm_args {
    int64_t rows, cols;
    double eps;
    const void *x, *gain, *bias;
    void *y;
    void *mean, *rstd; /* (T); NULL forward: not wanted */
    const void *dy;    /* may be dx.at where that is not added to */
    fci_out dx, dgain, dbias;
} fci_layernorm_args;

/* y (T,F) is the norm of a sigmoid(a) b for x = (a, b) (T,2F); rows and cols are y's, and dy is
 * never dx.at. */
typedef fci_layernorm_args fci_swiglu_norm_args;

typedef struct fci_gelu_args {
    int64_t count;
    bool quick; /* x sigmoid(1.702 x) instead of x Phi(x) */
    const void *x;
    void *y;
    const void *dy; /* may be dx.at where that is not added to */
    fci_out dx;
} fci_gelu_args;

typedef struct fci_attention_args {
    int heads;
    int64_t head_width, sequences;
    const int64_t *q_offsets, *k_offsets; /* (S+1) */
    int64_t rows_q, rows_k;               /* of all sequences */
    int64_t longest_q, longest_k;         /* of the longest */
    bool causal;
    const void *rope_cos, *rope_sin; /* (P, head width / 2) or NULL; see core/op.h */
    bool rope_q;                     /* queries are rotated as well */
    int64_t q_stride, k_stride;      /* values from one row of q (of k and v) to the next */
    const void *q, *k, *v;
    void *y;        /* (Tq,D) */
    void *lse;      /* (Tq,H) log of the sum of exponentials; NULL forward: not wanted */
    const void *dy; /* (Tq,D) */
    fci_out dq;     /* rows q_stride apart */
    fci_out dk, dv; /* rows k_stride apart */
} fci_attention_args;

/* rows <- rows + rows E for every sequence: E (queries,keys) is the mean over heads of max(0, A *
 * G), A the weights after softmax, G the gradient by them, <dy, v>. */
typedef struct fci_attention_relevance_args {
    const fci_attention_args *attention; /* with y, lse and dy as on the way back */
    const int64_t *query; /* (S) key that a sequence's first query stands for; NULL: its first */
    double *rows;         /* sum of keys, packed as k is */
} fci_attention_relevance_args;

/* Indices are within bounds (the op checked). */
typedef struct fci_gather_rows_args {
    int64_t rows, cols, count; /* rows of x, D, rows of y */
    const int64_t *index;
    const void *x;
    void *y;
    const void *dy;
    fci_out dx;
} fci_gather_rows_args;

typedef struct fci_concat_rows_args {
    int64_t count_a, count_b; /* values, not rows */
    const void *a, *b;
    void *y;
    const void *dy;
    fci_out da, db; /* a before b: they may be one buffer */
} fci_concat_rows_args;

typedef struct fci_tokens_args {
    int64_t pictures, patches, cols; /* N, P, D */
    const void *x, *cls, *pos;       /* (N*P,D), (D), (1+P,D) */
    void *y;                         /* (N*(1+P),D) */
    const void *dy;
    fci_out dx, dcls, dpos;
} fci_tokens_args;

typedef struct fci_embed_args {
    int64_t rows, cols, vocabulary, context;
    const int32_t *ids, *positions; /* (rows), within bounds */
    const void *table, *pos;        /* (V,D), (C,D) */
    void *y;
    const void *dy;
    fci_out dtable, dpos;
} fci_embed_args;

typedef struct fci_l2norm_args {
    int64_t rows, cols;
    const void *x;
    void *y;
    void *norm;     /* (T) max(|x|, 1e-12); NULL forward: not wanted */
    const void *dy; /* may be dx.at where that is not added to */
    fci_out dx;
} fci_l2norm_args;

typedef struct fci_roi_align_args {
    int64_t pictures, cols, count; /* N, D, R */
    int grid;
    const float *boxes;   /* (R,4) fractions, finite */
    const int32_t *image; /* (R) within [0,N) */
    const void *dense;    /* (N*g*g, D) */
    void *y;              /* (R,D) */
    const void *dy;
    fci_out ddense;
} fci_roi_align_args;

typedef struct fci_patchify_args {
    int size, patch;
    int64_t count[2];
    const uint8_t *rgb[2]; /* (count,S,S,3) */
    const void *planes;    /* (count[0],3,S,S) instead of rgb */
    void *y;               /* (N*P, 3*p*p) */
} fci_patchify_args;

/* y += x, or y = x. */
typedef struct fci_add_args {
    int64_t count;
    const void *x;
    fci_out y;
} fci_add_args;

/* One direction of the contrastive loss (losses/contrastive.c): own rows against all columns. */
typedef struct fci_contrastive_args {
    int64_t rows, cols, width;        /* n, N, D */
    int64_t first;                    /* row i's partner is column first + i */
    double scale;                     /* s */
    const void *own, *all;            /* (n,D), (N,D) */
    void *lse_own;                    /* (n): written forward, read back */
    double *loss_sum;                 /* forward: sum of the rows' cross-entropies; backend's */
    const void *lse_other;            /* (N) of the columns */
    int64_t other_first, other_count; /* columns whose own softmax flows back into these rows */
    double factor;                    /* grad += factor s (P + Q - 2 I) all */
    void *grad;                       /* (n,D), added to; NULL: none */
    double *scale_grad;               /* back: sum of (P - I) . S; backend's */
} fci_contrastive_args;

/* Rows of unit length against rows (losses/self_distillation.c). */
typedef struct fci_cosine_distance_args {
    int64_t rows, cols;
    const void *a, *b; /* (rows, cols) */
    double *sum;       /* forward: of 1 - <a, b>; backend's */
    double factor;     /* back: da = or += factor b */
    fci_out da;
} fci_cosine_distance_args;

/* Sum of binary cross-entropies of l = scale * cosine, 1 wanted in column own[row], 0 elsewhere
 * (losses/regionclip.c). */
typedef struct fci_sigmoid_loss_args {
    int64_t rows, cols;
    const void *cosines; /* (rows, cols) */
    const int32_t *own;  /* (rows) */
    double scale;
    double *sum;    /* forward; backend's */
    double factor;  /* back: dcosines = factor * (sigmoid(l) - wanted) */
    void *dcosines; /* (rows, cols) */
} fci_sigmoid_loss_args;

/* Values that share their settings. */
typedef struct fci_adamw_run {
    int64_t count;
    void *p, *m, *v;
    void *working; /* copy of p in the tape's type where that is not p's; NULL: none */
    const void *grad;
    double weight_decay;
    double correction1, correction2; /* 1 - beta^t */
    double least, most;              /* p is kept within, but for NaN */
} fci_adamw_run;

/* AdamW (METHOD.md section 6). The list is the process's. */
typedef struct fci_adamw_args {
    int runs;
    const fci_adamw_run *run;
    double grad_scale; /* clipping */
    double lr, beta1, beta2, eps;
} fci_adamw_args;

typedef struct fci_array {
    int64_t count;
    const void *x;
} fci_array;

/* Sums of squares, each added up in doubles in an order that depends on its count alone. The list
 * is the process's. */
typedef struct fci_square_sum_args {
    int arrays;
    const fci_array *array;
    double *sums; /* (arrays), backend's */
} fci_square_sum_args;

/* y (rows, cols) = a (rows, width) b^T (cols, width); each value depends on its two rows alone. */
typedef struct fci_scores_args {
    int64_t rows, cols, width;
    const void *a, *b;
    void *y;
} fci_scores_args;

/* One backend's kernels for one real type. Scratch is the backend's; what a kernel takes from it
 * the caller gives back. */
typedef struct fci_kernels {
#define FC_OP_FORWARD(name) void (*name##_fwd)(const fci_##name##_args *args, fc_arena *scratch);
#define FC_OP(name)                                                                                \
    FC_OP_FORWARD(name)                                                                            \
    void (*name##_bwd)(const fci_##name##_args *args, fc_arena *scratch);
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD
} fci_kernels;

const fci_kernels *fci_kernels_cpu(fc_dtype dtype);

#endif
