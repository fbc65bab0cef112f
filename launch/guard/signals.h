/* SIGTERM, SIGINT and SIGUSR1 ask a run to stop: it finishes the step, saves and leaves. */
#ifndef FC_LAUNCH_SIGNALS_H
#define FC_LAUNCH_SIGNALS_H

#include "core/status.h"

/** Install the handlers, once, from the main thread after fc_dist_start (MPI installs its own, and
 * the thread team must have its size). FC_RUNTIME: the system refuses. */
FC_NODISCARD fc_status fc_signals_install(void);
/** The first signal that asked to stop, 0 if none did. Local to the rank: ranks must agree on what
 * they do about it. */
int fc_signals_pending(void);
/** As if this signal had arrived here: it did on another rank. */
void fc_signals_ask(int signal_number);
/** "SIGTERM" and so on; static. */
const char *fc_signals_name(int signal_number);
/** All is saved and the process leaves: further signals are ignored (a launcher sends SIGTERM to
 * the ranks that are still leaving once the first has left with 75). */
void fc_signals_leave(void);
/** Forget what arrived (tests, or a sweep's next run). */
void fc_signals_clear(void);

#endif
