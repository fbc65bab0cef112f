/* What this process is doing, for messages about crashes and hangs. The main thread writes it;
 * signal handlers and the watchdog read it at any moment. Names are string literals. */
#ifndef FC_CORE_ACTIVITY_H
#define FC_CORE_ACTIVITY_H

#include "core/status.h"

#include <stdint.h>

typedef struct fc_activity {
    int64_t step;             /* as /train/step counts; 0 before the first */
    int64_t beats;            /* grows whenever work gets on */
    const char *now, *before; /* current and last finished operation, NULL: none */
    double since;             /* clock when the current one began */
    bool waiting;             /* for other ranks: the current one is a collective */
} fc_activity;

/** A step begins; counts as progress. */
void fc_activity_step(int64_t step);
/** Work gets on: a piece of an evaluation, of a file. A step that takes too long has none. */
void fc_activity_beat(void);
/** An operation begins; returns the one around it, which fc_activity_end wants back. */
const char *fc_activity_begin(const char *what);
/** As fc_activity_begin, for a collective. */
const char *fc_activity_wait(const char *collective);
void fc_activity_end(const char *around);
/** What goes on; safe in signal handlers. */
fc_activity fc_activity_now(void);

/** FC_TRY(call) with a name for what goes on meanwhile. */
#define FC_TRY_AS(what, call)                                                                      \
    do {                                                                                           \
        const char *fci_around_ = fc_activity_begin(what);                                         \
        const fc_status fci_done_ = (call);                                                        \
        fc_activity_end(fci_around_);                                                              \
        FC_TRY(fci_done_);                                                                         \
    } while (0)

/* The kernel that runs and the tape's scope (models' path of names), both NULL where there is
 * none. */
extern const char *volatile fci_activity_kernel, *volatile fci_activity_scope;

#endif
