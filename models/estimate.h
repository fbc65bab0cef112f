/* What a model and a step of it cost, without building either: for --dry-run. */
#ifndef FC_MODELS_ESTIMATE_H
#define FC_MODELS_ESTIMATE_H

#include "models/model_config.h"

#include <stdint.h>

/* One step of one rank (or one micro-batch). */
typedef struct fc_clip_work {
    int64_t sequences;                /* pictures and crops */
    int64_t dense_count, class_first; /* as fc_clip_vision takes them */
    int64_t text_rows, text_tokens;   /* different rows; their tokens up to the end token */
    unsigned freeze;                  /* FC_FREEZE_..., FC_TRAIN_LAST_BLOCKS */
} fc_clip_work;

typedef struct fc_clip_cost {
    int64_t parameters, trained;
    double forward_flops, step_flops; /* multiply-add = 2; step: forward and backward */
} fc_clip_cost;

/** Cost of the towers: exact for parameters; FLOPs of matrix products and attention alone, as
 * published model sizes count them. Losses and box features are left out. What a step takes of
 * memory is no formula's business: launch/memory_plan.h. */
void fc_clip_estimate(fc_clip_cost *out, const fc_model_config *config, int image_size,
                      const fc_clip_work *work);

#endif
