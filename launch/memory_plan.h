/* How much memory a step takes and which blocks to run again so that it keeps to a budget: found by
 * rehearsing the largest batch (core/rehearsal.h), not by a formula. */
#ifndef FC_LAUNCH_MEMORY_PLAN_H
#define FC_LAUNCH_MEMORY_PLAN_H

#include "launch/experiment.h"

typedef struct fc_memory_plan {
    fc_recompute recompute, all; /* blocks that run again; that could */
    fc_tape_memory step;         /* peaks */
    int64_t held;            /* bytes of weights, gradients, optimizer and pictures on their way */
    int64_t total;           /* with the step's: most bytes of the backend's memory at once */
    int64_t images, regions; /* of the batch it was made for */
} fc_memory_plan;

/** Rehearse `largest` with as few blocks run again as the budget allows. Blocks of the narrower
 * tower go first, whose values cost fewer FLOPs a byte to compute again; what train.recompute asks
 * for stays.
 *  step    of this experiment, before its first gradients
 *  later   bytes that the rank will take beside those it holds
 *  Ranks   collective; every rank gets the largest of all
 *  Errors  FC_USAGE the budget is too little with all blocks run again: names what is needed
 *  Cost    a forward and backward without the work, for every block tried: milliseconds each */
FC_NODISCARD fc_status fc_memory_plan_make(fc_memory_plan *out, const fc_config *config,
                                           fc_step *step, const fc_clip *model, fc_comm *comm,
                                           const fc_batch *largest, int64_t later);
/** The same for the largest batch that the experiment's training store can give, before there is
 * room for pictures on their way (launch/input.h), which is added. Concepts that are not embedded
 * yet are zeros. */
FC_NODISCARD fc_status fc_memory_plan_of(fc_memory_plan *out, fc_experiment *x, fc_step *step);
/** The same with a step of its own. */
FC_NODISCARD fc_status fc_memory_plan_ahead(fc_memory_plan *out, fc_experiment *x);
/** "none" or "2 of 11 of the picture tower, 8 of 11 of the text tower". */
void fc_memory_plan_say(const fc_memory_plan *plan, char *text, size_t bytes);

#endif
