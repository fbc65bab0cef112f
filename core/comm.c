#include "core/comm.h"

#include "core/activity.h"
#include "core/clock.h"
#include "core/fault.h"
#include "core/memory.h"

#include <limits.h>
#include <string.h>
#include <time.h>

#include <mpi.h>

struct fc_comm {
    bool mpi;
    MPI_Comm world, meeting; /* meeting: of fc_comm_all_arrive, whatever is under way in world */
    int rank, size, local_rank, local_size;
    fc_comm_request *started; /* not yet waited for, newest first */
};

struct fc_comm_request {
    fc_comm_request *next;
    int parts;
    MPI_Request *part;
};

/* MPI counts are ints: larger transfers go in pieces of this many elements. */
enum { PIECE = 1 << 28 };

static fc_status mpi_failed(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) {
        length = 0;
    }
    return FC_FAIL(FC_RUNTIME, "MPI: %s: %.*s", what, length, text);
}

#define FC_MPI(call, what)                                                                         \
    do {                                                                                           \
        int fci_code_ = (call);                                                                    \
        if (fci_code_ != MPI_SUCCESS) {                                                            \
            return mpi_failed(fci_code_, (what));                                                  \
        }                                                                                          \
    } while (0)

/* The call waits for other ranks: the watchdog may want to say so. */
#define FC_MPI_WAIT(call, what)                                                                    \
    do {                                                                                           \
        const char *around_ = fc_activity_wait(what);                                              \
        const int waited_ = (call);                                                                \
        fc_activity_end(around_);                                                                  \
        FC_MPI(waited_, (what));                                                                   \
    } while (0)

static MPI_Datatype mpi_type(fc_comm_type type)
{
    switch (type) {
    case FC_COMM_F32:
        return MPI_FLOAT;
    case FC_COMM_F64:
        return MPI_DOUBLE;
    case FC_COMM_I64:
        return MPI_INT64_T;
    case FC_COMM_U8:
        break;
    }
    return MPI_UINT8_T;
}

static size_t type_bytes(fc_comm_type type)
{
    switch (type) {
    case FC_COMM_F32:
        return 4;
    case FC_COMM_F64:
    case FC_COMM_I64:
        return 8;
    case FC_COMM_U8:
        break;
    }
    return 1;
}

static MPI_Op mpi_op(fc_comm_op op)
{
    return op == FC_COMM_MAX ? MPI_MAX : op == FC_COMM_MIN ? MPI_MIN : MPI_SUM;
}

fc_status fc_comm_create_self(fc_comm **out)
{
    *out = fc_alloc(1, sizeof **out);
    (*out)->size = (*out)->local_size = 1;
    return FC_OK;
}

fc_status fc_comm_create_mpi(fc_comm **out)
{
    FC_TRY(fc_comm_create_self(out));
    fc_comm *c = *out;
    FC_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &c->world), "duplicating the communicator");
    FC_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &c->meeting), "duplicating the communicator");
    c->mpi = true;
    FC_MPI(MPI_Comm_set_errhandler(c->world, MPI_ERRORS_RETURN), "error handler");
    FC_MPI(MPI_Comm_rank(c->world, &c->rank), "rank");
    FC_MPI(MPI_Comm_size(c->world, &c->size), "size");
    MPI_Comm host;
    FC_MPI(MPI_Comm_split_type(c->world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host),
           "ranks on this host");
    FC_MPI(MPI_Comm_rank(host, &c->local_rank), "rank on this host");
    FC_MPI(MPI_Comm_size(host, &c->local_size), "ranks on this host");
    FC_MPI(MPI_Comm_free(&host), "ranks on this host");
    return FC_OK;
}

void fc_comm_destroy(fc_comm **c)
{
    if (*c != NULL) {
        if ((*c)->mpi) {
            MPI_Comm_free(&(*c)->world);
            MPI_Comm_free(&(*c)->meeting);
        }
        fc_free(c);
    }
}

int fc_comm_rank(const fc_comm *c)
{
    return c->rank;
}

int fc_comm_size(const fc_comm *c)
{
    return c->size;
}

int fc_comm_local_rank(const fc_comm *c)
{
    return c->local_rank;
}

int fc_comm_local_size(const fc_comm *c)
{
    return c->local_size;
}

fc_status fc_comm_barrier(fc_comm *c)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    if (c->size > 1) {
        FC_MPI_WAIT(MPI_Barrier(c->world), "barrier");
    }
    return FC_OK;
}

bool fc_comm_all_arrive(fc_comm *c, double seconds)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    MPI_Request request;
    int arrived = c->size == 1;
    if (!arrived && MPI_Ibarrier(c->meeting, &request) != MPI_SUCCESS) {
        return false;
    }
    double end = fc_clock_seconds() + seconds;
    while (!arrived) {
        if (MPI_Test(&request, &arrived, MPI_STATUS_IGNORE) != MPI_SUCCESS ||
            (!arrived && fc_clock_seconds() > end)) {
            return false; /* the request stays open: the job is about to end */
        }
        nanosleep(&pause, NULL);
    }
    return true;
}

fc_status fc_comm_broadcast(fc_comm *c, void *data, int64_t count, fc_comm_type type, int root)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    for (int64_t at = 0; c->size > 1 && at < count; at += PIECE) {
        int n = (int)(count - at < PIECE ? count - at : PIECE);
        FC_MPI_WAIT(MPI_Bcast((char *)data + (size_t)at * type_bytes(type), n, mpi_type(type), root,
                              c->world),
                    "broadcast");
    }
    return FC_OK;
}

fc_status fc_comm_all_reduce(fc_comm *c, void *data, int64_t count, fc_comm_type type,
                             fc_comm_op op)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    for (int64_t at = 0; c->size > 1 && at < count; at += PIECE) {
        int n = (int)(count - at < PIECE ? count - at : PIECE);
        FC_MPI_WAIT(MPI_Allreduce(MPI_IN_PLACE, (char *)data + (size_t)at * type_bytes(type), n,
                                  mpi_type(type), mpi_op(op), c->world),
                    "all-reduce");
    }
    return FC_OK;
}

fc_status fc_comm_all_gather(fc_comm *c, const void *send, void *recv, const int64_t *counts,
                             fc_comm_type type)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    size_t bytes = type_bytes(type);
    if (c->size == 1) {
        memmove(recv, send, (size_t)counts[0] * bytes);
        return FC_OK;
    }
    int *n = fc_alloc((size_t)c->size, sizeof *n), *at = fc_alloc((size_t)c->size, sizeof *at);
    int64_t total = 0;
    bool fits = true;
    for (int r = 0; r < c->size; r++) {
        fits = fits && total + counts[r] <= INT_MAX;
        n[r] = (int)counts[r];
        at[r] = (int)total;
        total += counts[r];
    }
    int code = MPI_SUCCESS;
    if (fits) {
        const char *around = fc_activity_wait("all-gather");
        code =
            MPI_Allgatherv(send, n[c->rank], mpi_type(type), recv, n, at, mpi_type(type), c->world);
        fc_activity_end(around);
    }
    fc_free(&n);
    fc_free(&at);
    if (!fits) { /* too large for one call: every rank in turn */
        char *to = recv;
        for (int r = 0; r < c->size; r++) {
            if (r == c->rank) {
                memcpy(to, send, (size_t)counts[r] * bytes);
            }
            FC_TRY(fc_comm_broadcast(c, to, counts[r], type, r));
            to += (size_t)counts[r] * bytes;
        }
        return FC_OK;
    }
    FC_MPI(code, "all-gather");
    return FC_OK;
}

fc_status fc_comm_all_gather_i64(fc_comm *c, int64_t value, int64_t *all)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    all[c->rank] = value;
    if (c->size > 1) {
        FC_MPI_WAIT(MPI_Allgather(&value, 1, MPI_INT64_T, all, 1, MPI_INT64_T, c->world),
                    "all-gather");
    }
    return FC_OK;
}

fc_status fc_comm_all_reduce_start(fc_comm *c, void *data, int64_t count, fc_comm_type type,
                                   fc_comm_request **out)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    fc_comm_request *r = fc_alloc(1, sizeof *r);
    *out = r;
    r->next = c->started;
    c->started = r;
    r->parts = c->size > 1 ? (int)((count + PIECE - 1) / PIECE) : 0;
    r->part = fc_alloc((size_t)r->parts, sizeof *r->part);
    for (int i = 0; i < r->parts; i++) {
        int64_t at = (int64_t)i * PIECE;
        int n = (int)(count - at < PIECE ? count - at : PIECE);
        FC_MPI(MPI_Iallreduce(MPI_IN_PLACE, (char *)data + (size_t)at * type_bytes(type), n,
                              mpi_type(type), MPI_SUM, c->world, &r->part[i]),
               "starting an all-reduce");
    }
    return FC_OK;
}

void fc_comm_progress(fc_comm *c)
{
    for (fc_comm_request *r = c->started; r != NULL; r = r->next) {
        int done;
        if (r->parts > 0) {
            /* An error shows again in fc_comm_wait, where it can be reported. */
            (void)MPI_Testall(r->parts, r->part, &done, MPI_STATUSES_IGNORE);
        }
    }
}

fc_status fc_comm_wait(fc_comm *c, fc_comm_request **request)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    fc_comm_request *r = *request;
    const char *around = fc_activity_wait("all-reduce of gradients");
    int code = r->parts > 0 ? MPI_Waitall(r->parts, r->part, MPI_STATUSES_IGNORE) : MPI_SUCCESS;
    fc_activity_end(around);
    for (fc_comm_request **p = &c->started; *p != NULL; p = &(*p)->next) {
        if (*p == r) {
            *p = r->next;
            break;
        }
    }
    fc_free(&r->part);
    fc_free(request);
    FC_MPI(code, "waiting for an all-reduce");
    return FC_OK;
}
