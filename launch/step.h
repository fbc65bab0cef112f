/* One training step: features, loss terms, gradients summed over ranks, update (DESIGN.md section
 * 2). */
#ifndef FC_LAUNCH_STEP_H
#define FC_LAUNCH_STEP_H

#include "core/adamw.h"
#include "core/grad_reduce.h"
#include "data/loader.h"
#include "launch/concepts.h"
#include "losses/loss.h"
#include "models/clip.h"

enum { FC_MAX_TERMS = 16 };

typedef struct fc_step_term {
    const fc_loss_def *def;
    double weight;
    fc_loss_options options;
} fc_step_term;

/* Blocks of each tower, from the first, that keep only what goes into them and run again on the way
 * back; up to FC_ALL_BLOCKS. */
typedef struct fc_recompute {
    int vision, text;
} fc_recompute;

typedef struct fc_step_options {
    fc_step_term terms[FC_MAX_TERMS];
    int term_count;
    bool local_loss, gather_with_grad;
    bool unsynced_gradients; /* compat: no sum over ranks */
    fc_recompute recompute;
    int accumulate;              /* micro-batches; the result does not depend on it */
    uint64_t seed;               /* of terms that draw at random */
    const fc_concepts *concepts; /* where a term needs them; borrowed */
    fc_adamw_options adamw;
} fc_step_options;

typedef struct fc_step_result {
    double loss;                /* weighted sum, of the global batch */
    double terms[FC_MAX_TERMS]; /* unweighted */
    double logit_scale;         /* exp of the parameter before the update */
    double grad_norm;           /* of the reduced gradient before clipping */
    double forward_seconds;     /* until the losses are known; accumulate: of all parts */
    double wait_seconds;        /* for gradients from other ranks, after backward */
    double flops;               /* of the model, this rank, forward and backward */
    fc_exchange exchange;       /* what the terms exchanged */
} fc_step_result;

typedef struct fc_step fc_step;

/** Model and communicator stay the caller's. A term that needs a teacher needs model->initial. */
fc_step *fc_step_create(fc_clip *model, fc_comm *comm, const fc_step_options *options);
void fc_step_destroy(fc_step **s);
/** FC_NEED_... bits of all terms: what the loader has to bring. */
unsigned fc_step_needs(const fc_step_options *options);
/** Gradients of one batch into the model's parameter set, reduced over ranks. Collective. */
FC_NODISCARD fc_status fc_step_gradients(fc_step *s, const fc_batch *batch, fc_step_result *result);
/** Update at learning rate lr. Collective where the optimiser is sharded. On a device it may still
 * be at it when this returns. */
FC_NODISCARD fc_status fc_step_update(fc_step *s, double lr, const fc_step_result *result);
fc_adamw *fc_step_optimizer(fc_step *s);
fc_grad_reduce *fc_step_grad_reduce(fc_step *s);
/** Time the kernels of the steps that follow, the optimiser's left out; NULL: stop. */
void fc_step_profile(fc_step *s, fc_profile *profile);
/** Peaks of the memory that steps took. */
fc_tape_memory fc_step_memory(const fc_step *s);
/** The peaks that a step with this batch would have, its blocks run again as `recompute` says:
 * forward, losses and backward on a backend that computes nothing (core/rehearsal.h). Pictures need
 * no values; concepts must be embedded. The optimizer is left out. Collective. */
FC_NODISCARD fc_status fc_step_rehearse(fc_step *s, const fc_batch *batch, fc_recompute recompute,
                                        fc_tape_memory *out);
/** How steps run from now on: blocks to run again, and memory to take at once. */
void fc_step_settle(fc_step *s, fc_recompute recompute, const fc_tape_memory *memory);
/** Give step memory back until the next step; what fc_step_settle took, that step takes again. */
void fc_step_rest(fc_step *s);

#endif
