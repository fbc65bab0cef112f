/* A crash ends the job with one message that names rank, step and operation. */
#ifndef FC_CORE_CRASH_H
#define FC_CORE_CRASH_H

#include "core/status.h"

/** Handle SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, once, from the main thread after MPI has
 * started (it installs its own). FC_RUNTIME: the system refuses. */
FC_NODISCARD fc_status fc_crash_install(void);
/** Give this thread a stack of its own for signals, where it has none: oneDNN's compiled matrix
 * products point the stack register into a small piece of heap, and a stack that overflowed has no
 * room. Every thread that runs our code calls it first; `name` (a literal) is what messages call
 * the thread. FC_RUNTIME: the system refuses. */
FC_NODISCARD fc_status fc_crash_thread(const char *name);

#endif
