/* `fineclip bench --ranks N`: the model of scaling (launch/scaling.h) fed with what bench measured,
 * and its table. */
#ifndef FC_LAUNCH_BENCH_SCALING_H
#define FC_LAUNCH_BENCH_SCALING_H

#include "launch/config/config.h"
#include "launch/scaling.h"
#include "launch/step.h"

/* Values of the flags as they were written; NULL: not given. */
typedef struct fc_scaling_words {
    const char *ranks, *per_host, *link, *link_latency, *network, *network_latency;
} fc_scaling_words;

typedef struct fc_scaling_plan {
    int ranks; /* to predict; 0: nothing was asked for */
    fc_cluster cluster;
} fc_scaling_plan;

/** Flags to numbers, a DGX H100's where they were not given. FC_USAGE: no number, out of range,
 * ranks that do not fill their hosts, a flag without --ranks. */
FC_NODISCARD fc_status fc_scaling_plan_read(const fc_scaling_words *words, fc_scaling_plan *out);

/* Medians of the steps that were timed, in seconds. */
typedef struct fc_scaling_times {
    double step, forward, gradients, wait;
} fc_scaling_times;

/** Measure what else the model needs (the contrastive kernels; under several ranks the sum of
 * gradients with nothing beside it), then print on rank 0 the prediction beside what was measured,
 * the table for 1, 2, ... ranks and what it assumes. The step's last gradients were timed with a
 * profile. Collective.
 *  Errors FC_USAGE a run on so many ranks is impossible; those there are do not fill their hosts */
FC_NODISCARD fc_status fc_bench_scaling(const fc_config *config, const fc_scaling_plan *plan,
                                        fc_step *step, const fc_clip *model, fc_comm *comm,
                                        const fc_scaling_times *times, const fc_exchange *exchange);

#endif
