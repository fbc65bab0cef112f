/* The only place that ends the process. */
#ifndef FC_CORE_FATAL_H
#define FC_CORE_FATAL_H

#include "core/status.h"

/** Directory for the FAILED file through which ranks agree who prints (NULL: none yet). Copied. */
void fc_fatal_set_run_dir(const char *dir);
/** Say "(host device)" of this rank in the headline. Copied. */
void fc_fatal_set_place(const char *place);
/** Extra step before the process ends, e.g. MPI_Abort with the exit status; NULL: plain exit. */
void fc_fatal_set_abort(void (*abort_job)(int exit_status));

/** End the job: one rank writes this thread's error (headline and trace) to stderr, all ranks end
 * with fc_status_exit(status). */
void fc_fatal(fc_status status) __attribute__((noreturn));
/** End the process at once with a message and without touching MPI (watchdog, signal handlers). */
void fc_fatal_nompi(fc_status status, const char *what) __attribute__((noreturn));
/** For a failure that every rank knows of (fc_dist_agree): rank 0 prints the message, and every
 * rank leaves in good order with the exit status that is returned. */
int fc_fatal_report(fc_status status);

#endif
