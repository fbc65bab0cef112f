#include "core/cuda/nccl.h"

#include "core/cuda/runtime.h"
#include "core/fault.h"
#include "core/memory.h"

#include <stdio.h>
#include <time.h>

/* NCCL's public interface as of version 2, as far as it is used: its header need not be there. */
typedef struct nccl_id {
    char internal[128];
} nccl_id;
typedef void *nccl_comm;
enum { NCCL_SUCCESS = 0, NCCL_IN_PROGRESS = 7 };
enum { NCCL_UINT8 = 1, NCCL_FLOAT = 7, NCCL_DOUBLE = 8 };
enum { NCCL_SUM = 0 };

#define FUNCTIONS(X)                                                                               \
    X(ncclGetUniqueId, (nccl_id * id))                                                             \
    X(ncclCommInitRank, (nccl_comm * comm, int ranks, nccl_id id, int rank))                       \
    X(ncclCommDestroy, (nccl_comm comm))                                                           \
    X(ncclCommAbort, (nccl_comm comm))                                                             \
    X(ncclCommGetAsyncError, (nccl_comm comm, int *error))                                         \
    X(ncclAllReduce, (const void *send, void *recv, size_t count, int type, int op,                \
                      nccl_comm comm, cudaStream_t stream))                                        \
    X(ncclBroadcast, (const void *send, void *recv, size_t count, int type, int root,              \
                      nccl_comm comm, cudaStream_t stream))                                        \
    X(ncclGroupStart, (void))                                                                      \
    X(ncclGroupEnd, (void))

static const char LIBRARY[] = "libnccl.so.2";

enum { MOST_STARTED = 4096 }; /* buckets under way at once */

static struct {
#define FUNCTION(name, parameters) int(*name) parameters;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    const char *(*ncclGetErrorString)(int error);
    nccl_comm comm;
    int rank, ranks;
    cudaStream_t stream; /* of sums that go on beside the work */
    cudaEvent_t ready;   /* the work before a sum is done */
    cudaEvent_t *done;   /* a sum is */
    int started, events;
} nccl;

static fc_status nccl_failed(int code, const char *what)
{
    return FC_FAIL(FC_RUNTIME, "NCCL: %s: %s (NCCL_DEBUG=INFO says more)", what,
                   nccl.ncclGetErrorString(code));
}

#define FC_NCCL(call, what)                                                                        \
    do {                                                                                           \
        const int fci_code_ = (call);                                                              \
        if (fci_code_ != NCCL_SUCCESS && fci_code_ != NCCL_IN_PROGRESS) {                          \
            return nccl_failed(fci_code_, (what));                                                 \
        }                                                                                          \
    } while (0)

static fc_status open_library(void)
{
    const char *missing = NULL;
#define FUNCTION(name, parameters)                                                                 \
    nccl.name = (int(*) parameters)fci_cuda_symbol(LIBRARY, #name);                                \
    missing = nccl.name == NULL && missing == NULL ? #name : missing;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    nccl.ncclGetErrorString = (const char *(*)(int))fci_cuda_symbol(LIBRARY, "ncclGetErrorString");
    if (missing != NULL || nccl.ncclGetErrorString == NULL) {
        return FC_FAIL(FC_RUNTIME,
                       "%s with %s was not found: install NCCL, set LD_LIBRARY_PATH to it, or set "
                       "run.staged_collectives: true",
                       LIBRARY, missing != NULL ? missing : "ncclGetErrorString");
    }
    return FC_OK;
}

/* NCCL waits for all ranks: one that lacks the library must be known before. */
static fc_status everybody_ready(fc_comm *comm, fc_status own)
{
    int64_t failed = own != FC_OK;
    fc_status status = fc_comm_all_reduce(comm, &failed, 1, FC_COMM_I64, FC_COMM_MAX);
    if (own != FC_OK) {
        return own;
    }
    FC_TRY(status);
    return failed == 0 ? FC_OK : FC_FAIL(FC_RUNTIME, "another rank has no NCCL");
}

fc_status fci_nccl_start(fc_comm *comm)
{
    nccl_id id = {{0}};
    FC_TRY(everybody_ready(comm, open_library()));
    nccl.rank = fc_comm_rank(comm);
    nccl.ranks = fc_comm_size(comm);
    int code = nccl.rank == 0 ? nccl.ncclGetUniqueId(&id) : NCCL_SUCCESS;
    FC_TRY(everybody_ready(comm, code == NCCL_SUCCESS ? FC_OK : nccl_failed(code, "its id")));
    FC_TRY(fc_comm_broadcast(comm, &id, (int64_t)sizeof id, FC_COMM_U8, 0));
    FC_NCCL(nccl.ncclCommInitRank(&nccl.comm, nccl.ranks, id, nccl.rank), "connecting the ranks");
    fci_cuda_check(cudaStreamCreateWithFlags(&nccl.stream, cudaStreamNonBlocking),
                   "cudaStreamCreate");
    fci_cuda_check(cudaEventCreateWithFlags(&nccl.ready, cudaEventDisableTiming),
                   "cudaEventCreate");
    return FC_OK;
}

void fci_nccl_stop(void)
{
    if (nccl.comm == NULL) {
        return;
    }
    (void)nccl.ncclCommDestroy(nccl.comm);
    for (int i = 0; i < nccl.events; i++) {
        (void)cudaEventDestroy(nccl.done[i]);
    }
    fc_free(&nccl.done);
    (void)cudaEventDestroy(nccl.ready);
    (void)cudaStreamDestroy(nccl.stream);
    nccl.comm = NULL;
    nccl.events = nccl.started = 0;
}

/* Wait for an event as the host, looking at NCCL meanwhile: a rank that died shows there. */
static fc_status watch(cudaEvent_t event)
{
    const struct timespec pause = {.tv_nsec = 20000};
    for (;;) {
        const cudaError_t state = cudaEventQuery(event);
        if (state == cudaSuccess) {
            return FC_OK;
        }
        if (state != cudaErrorNotReady) {
            fci_cuda_check(state, "waiting for a collective");
        }
        int error = NCCL_SUCCESS;
        FC_NCCL(nccl.ncclCommGetAsyncError(nccl.comm, &error), "asking for errors");
        if (error != NCCL_SUCCESS && error != NCCL_IN_PROGRESS) {
            (void)nccl.ncclCommAbort(nccl.comm);
            nccl.comm = NULL;
            return nccl_failed(error, "a collective between the ranks");
        }
        nanosleep(&pause, NULL);
    }
}

static fc_status broadcast(void *data, size_t bytes, int root)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    FC_NCCL(nccl.ncclBroadcast(data, data, bytes, NCCL_UINT8, root, nccl.comm, fci_cuda_stream()),
            "broadcast");
    return FC_OK;
}

/* Different numbers of rows a rank: a broadcast from each, in one group. */
static fc_status all_gather(const void *send, void *recv, const int64_t *bytes)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    char *to = recv;
    FC_NCCL(nccl.ncclGroupStart(), "all-gather");
    for (int r = 0; r < nccl.ranks; r++) {
        if (bytes[r] > 0) {
            FC_NCCL(nccl.ncclBroadcast(r == nccl.rank ? send : to, to, (size_t)bytes[r], NCCL_UINT8,
                                       r, nccl.comm, fci_cuda_stream()),
                    "all-gather");
        }
        to += bytes[r];
    }
    FC_NCCL(nccl.ncclGroupEnd(), "all-gather");
    return FC_OK;
}

static fc_status all_reduce_start(void *data, int64_t count, fc_dtype type, int *request)
{
    FC_TRY(fc_fault_here(FC_AT_collective));
    FC_ASSERT(type != FC_BF16 && nccl.started < MOST_STARTED);
    if (nccl.started == nccl.events) {
        nccl.done = fc_realloc(nccl.done, (size_t)nccl.events + 1, sizeof *nccl.done);
        fci_cuda_check(cudaEventCreateWithFlags(&nccl.done[nccl.events++], cudaEventDisableTiming),
                       "cudaEventCreate");
    }
    *request = nccl.started++;
    fci_cuda_check(cudaEventRecord(nccl.ready, fci_cuda_stream()), "cudaEventRecord");
    fci_cuda_check(cudaStreamWaitEvent(nccl.stream, nccl.ready, 0), "cudaStreamWaitEvent");
    FC_NCCL(nccl.ncclAllReduce(data, data, (size_t)count, type == FC_F64 ? NCCL_DOUBLE : NCCL_FLOAT,
                               NCCL_SUM, nccl.comm, nccl.stream),
            "all-reduce");
    fci_cuda_check(cudaEventRecord(nccl.done[*request], nccl.stream), "cudaEventRecord");
    return FC_OK;
}

/* Requests are waited for in the order they were started in: the last frees all. */
static fc_status wait(int request)
{
    FC_TRY(watch(nccl.done[request]));
    fci_cuda_check(cudaStreamWaitEvent(fci_cuda_stream(), nccl.done[request], 0),
                   "cudaStreamWaitEvent");
    if (request + 1 == nccl.started) {
        nccl.started = 0;
    }
    return FC_OK;
}

const fc_device_collectives *fci_nccl_collectives(void)
{
    static const fc_device_collectives own = {
        .broadcast = broadcast,
        .all_gather = all_gather,
        .all_reduce_start = all_reduce_start,
        .wait = wait,
    };
    return &own;
}
