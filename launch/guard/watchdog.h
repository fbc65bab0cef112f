/* Ends a job that does not get on, or whose ranks die without a word, and says which rank did what.
 * A thread a rank, which never touches MPI: that may be what hangs. */
#ifndef FC_LAUNCH_WATCHDOG_H
#define FC_LAUNCH_WATCHDOG_H

#include "core/comm.h"

/** From here on a step (or another piece of work, see core/activity.h) that takes longer than
 * `step_timeout` seconds ends the job with status 71. Collective, after fc_dist_start. Where ranks
 * cannot reach each other, each watches itself alone, and a warning says so. */
FC_NODISCARD fc_status fc_watchdog_start(fc_comm *comm, double step_timeout);
/** This rank is done; nothing is watched any more. Harmless when not started. */
void fc_watchdog_stop(void);

#endif
