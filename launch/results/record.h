/* From an experiment to its results file: who ran, on what, and what an evaluation found. Rank 0
 * calls these. */
#ifndef FC_LAUNCH_RECORD_H
#define FC_LAUNCH_RECORD_H

#include "launch/experiment.h"
#include "launch/results/results.h"

/** Open `path` for this experiment (resume: see fc_results_open). */
FC_NODISCARD fc_status fc_record_open(fc_results **out, const char *path, const fc_experiment *x,
                                      const fc_results_resume *resume);
/** Append an evaluation with its protocol. */
FC_NODISCARD fc_status fc_record_evaluation(fc_results *results, const fc_experiment *x,
                                            const fc_evaluation *e);

#endif
