/* Losses that went wrong: NaN, infinity, a gradient that is not finite, a spike. All ranks come to
 * the same verdict, and what it takes to look into it goes into results.h5 (/incidents). */
#ifndef FC_LAUNCH_BAD_LOSS_H
#define FC_LAUNCH_BAD_LOSS_H

#include "launch/checkpoint/checkpoint.h"
#include "launch/experiment.h"
#include "launch/results/results.h"

typedef struct fc_bad_loss {
    fc_loss_verdict verdict;
    fc_on_bad_loss action; /* run.on_bad_loss, or stop where that did not help */
} fc_bad_loss;

/** Judge a step's loss and gradient, before the update; the watch is asked, not changed.
 * Collective: rank 0's loss counts (it is that of the global batch), and any rank's gradient. */
FC_NODISCARD fc_status fc_bad_loss_judge(const fc_experiment *x, const fc_checkpoint_position *at,
                                         const fc_step_result *result, fc_bad_loss *out);
/** Put a bad one on record (rank 0 has `results`; on disk when the call returns) and count it in
 * at->watch. `at` is where the run stood before the step. Collective.
 *  Errors FC_DATA the action is stop: the message says what happened and the ways out */
FC_NODISCARD fc_status fc_bad_loss_record(const fc_experiment *x, fc_results *results,
                                          fc_checkpoint_position *at, const fc_batch *batch,
                                          const fc_step_result *result, const fc_bad_loss *bad);

#endif
