/* The only place that ends the process. One rank of a failing job speaks, once; every way out, a
 * crash included, leads through here. */
#ifndef FC_CORE_FATAL_H
#define FC_CORE_FATAL_H

#include "core/status.h"

/** Directory for the FAILED file through which ranks agree who prints (NULL: none yet). Copied. */
void fc_fatal_set_run_dir(const char *dir);
/** Say "(host device)" of this rank in the headline. Copied. */
void fc_fatal_set_place(const char *place);
/** This rank's "host device". */
const char *fc_fatal_place(void);
/** Extra step before the process ends, e.g. MPI_Abort with the exit status; NULL: plain exit. */
void fc_fatal_set_abort(void (*abort_job)(int exit_status));
/** Tell the other ranks' watchdogs that this one has spoken and ends; called from signal handlers,
 * too. NULL: nobody to tell. */
void fc_fatal_set_farewell(void (*farewell)(int exit_status));
/** Whether exit() called behind our back is a failure: true from fc_fatal_guard_exit(true) on. */
void fc_fatal_guard_exit(bool on);

/** End the job: one rank writes this thread's error (headline and trace) to stderr, all ranks end
 * with fc_status_exit(status). */
void fc_fatal(fc_status status) __attribute__((noreturn));
/** End the process at once with a message and without touching MPI (signal handlers). */
void fc_fatal_nompi(fc_status status, const char *what) __attribute__((noreturn));
/** As fc_fatal_nompi for what is wrong with another rank, with lines of detail below the headline
 * (each ends with a newline; "": none). Watchdog. */
void fc_fatal_about(int rank, const char *place, fc_status status, const char *what,
                    const char *details) __attribute__((noreturn));
/** End the process without a word: another rank has spoken. */
void fc_fatal_follow(int exit_status) __attribute__((noreturn));
/** For a failure that every rank knows of (fc_dist_agree): rank 0 prints the message, and every
 * rank leaves in good order with the exit status that is returned. */
int fc_fatal_report(fc_status status);

#endif
