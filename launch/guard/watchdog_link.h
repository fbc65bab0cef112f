/* The watchdogs' own connections, beside MPI: every rank to rank 0. All but open is for one thread.
 */
#ifndef FC_LAUNCH_WATCHDOG_LINK_H
#define FC_LAUNCH_WATCHDOG_LINK_H

#include "core/comm.h"

enum { FCI_PLACE_BYTES = 96, FCI_NAME_BYTES = 32 };

typedef enum {
    FCI_HELLO = 1, /* to rank 0, with the job's token; answered with FCI_STATUS */
    FCI_STATUS,    /* of `rank`; from rank 0 also about the others */
    FCI_STOP,      /* signal `number` asks the job to stop */
    FCI_END,       /* `rank` has said why and ends with status `number`: all do */
    FCI_BYE,       /* `rank` is done */
    FCI_LOST       /* never sent: the connection to `rank` is gone, errno `number` or 0 */
} fci_message_kind;

typedef struct fci_message {
    int32_t kind, rank, number;
    int32_t waiting; /* in a collective */
    int64_t step, beats;
    double doing, still, silent; /* seconds in `now`, without a beat, and without a word */
    char now[FCI_NAME_BYTES], before[FCI_NAME_BYTES]; /* operations; a token in FCI_HELLO */
    char place[FCI_PLACE_BYTES];
} fci_message;

typedef struct fci_link fci_link;

/** Rank 0 listens, the others learn where and connect. Collective. `serve` is called on rank 0 once
 * it listens: from then on some thread has to be in fci_link_wait. *missing: ranks that could not
 * connect; where this rank could not, or there is one rank, *out is NULL. */
FC_NODISCARD fc_status fci_link_open(fci_link **out, fc_comm *comm, const char *place,
                                     fc_status (*serve)(fci_link *l), int64_t *missing);
/** Queue a message to a rank (to rank 0, or from it); what a connection cannot take now waits, and
 * statuses that would wait behind others are left out. */
void fci_link_send(fci_link *l, int rank, const fci_message *m);
/** As fci_link_send to everybody this rank is connected to; nothing waits. Safe in signal handlers.
 */
void fci_link_shout(const fci_link *l, const fci_message *m);
/** Handle what comes in within some seconds, or until the descriptor `wake` is readable. */
void fci_link_wait(fci_link *l, double seconds, int wake,
                   void (*handle)(void *ctx, const fci_message *m), void *ctx);
void fci_link_close(fci_link **l);

#endif
