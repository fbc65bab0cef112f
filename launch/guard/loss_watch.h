/* What a loss should be, from the losses before it, so that one that jumps is noticed.
 *
 * Mean and variance are exponentially weighted over about the last FC_LOSS_HORIZON good losses of
 * the global batch (the plain ones over the first so many). They are part of a run's state, so that
 * a run that goes on judges as one that was never stopped. */
#ifndef FC_LAUNCH_LOSS_WATCH_H
#define FC_LAUNCH_LOSS_WATCH_H

#include "core/status.h"

#include <stdint.h>

enum { FC_LOSS_HORIZON = 100 };

typedef struct fc_loss_watch {
    int64_t count;      /* good losses so far */
    int64_t bad_in_row; /* skipped steps, or rollbacks to the same state; the run counts */
    double mean, variance;
} fc_loss_watch;

typedef enum { FC_LOSS_GOOD, FC_LOSS_NOT_FINITE, FC_LOSS_SPIKE } fc_loss_verdict;

/** Deviation the next loss is measured by; never below a thousandth of the mean, so that losses
 * that barely change do not make spikes of rounding. */
double fc_loss_deviation(const fc_loss_watch *w);
/** sigma 0: spikes are not looked for. warmup: good losses there must have been before they are.
 * Only what is above the mean is a spike. */
fc_loss_verdict fc_loss_judge(const fc_loss_watch *w, double loss, bool finite, double sigma,
                              int64_t warmup);
/** Take in a good loss. */
void fc_loss_take(fc_loss_watch *w, double loss);

#endif
