/* `--dry-run`: what a run would do, without doing it. */
#ifndef FC_LAUNCH_DRY_RUN_H
#define FC_LAUNCH_DRY_RUN_H

#include "launch/experiment.h"

/** Print the resolved configuration, parameters, steps, FLOPs a step and the memory a rank will
 * need, on stdout of rank 0. FC_USAGE: train.memory_budget is too
 * little. Collective. */
FC_NODISCARD fc_status fc_dry_run(fc_experiment *x);

/** Average ids of a caption and of a region caption in a store, 0 where it has none. */
void fc_store_mean_tokens(const fc_store *s, double *caption, double *region);

#endif
