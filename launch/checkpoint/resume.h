/* Going on where a run stopped: which state, and what of the experiment has to follow it. */
#ifndef FC_LAUNCH_RESUME_H
#define FC_LAUNCH_RESUME_H

#include "launch/checkpoint/checkpoint.h"
#include "launch/experiment.h"

/** Before the experiment is opened: where the state to go on from was written by another number of
 * ranks, split its global batch over these (train.batch_size, and train.accumulate so that a
 * micro-batch grows no larger), and say so. Collective.
 *  Errors FC_USAGE the ranks do not divide the batch */
FC_NODISCARD fc_status fc_resume_fit(fc_config *config, fc_comm *comm);
/** Path of the state to go on from as train.resume says; heap, NULL: start anew. Collective. */
FC_NODISCARD fc_status fc_resume_path(const fc_config *config, const char *folder, fc_comm *comm,
                                      char **path);
/** Whether the experiment can go on at this position. What may differ but changes what follows (the
 * seed, the pictures) is a warning. FC_USAGE: another global batch, or beyond the end. */
FC_NODISCARD fc_status fc_resume_check(const fc_experiment *x, const char *path,
                                       const fc_checkpoint_position *at);

#endif
