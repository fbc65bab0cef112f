/* A training run from its first step, or from its newest checkpoint, to its end. */
#ifndef FC_LAUNCH_RUN_H
#define FC_LAUNCH_RUN_H

#include "launch/experiment.h"

/** Train, evaluate, leave results.h5 and checkpoints in config->output. Collective.
 *  Errors FC_INTERRUPTED a signal came; everything is saved, the same command goes on
 *         FC_DATA a loss was not finite and run.on_bad_loss is stop; others as they come */
FC_NODISCARD fc_status fc_run_train(fc_experiment *x);

#endif
