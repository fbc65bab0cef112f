/* Where tensors live and what computes on them: one small table a backend.
 *
 * Work is done in the order it was asked for. Calls may return before it is done; only download and
 * synchronize wait. A backend whose memory is the process's own says so in on_host: what it holds
 * may then be read and written like any array. */
#ifndef FC_CORE_BACKEND_H
#define FC_CORE_BACKEND_H

#include "core/tensor.h"

#include <stddef.h>

struct fci_kernels;

/* Collectives between the devices themselves; every call is collective, all ranks, same order. They
 * follow the work asked for before and are done for the work asked for after. */
typedef struct fc_device_collectives {
    fc_status (*broadcast)(void *data, size_t bytes, int root);
    /** bytes[rank] from every rank, one after another into recv. */
    fc_status (*all_gather)(const void *send, void *recv, const int64_t *bytes);
    /** Start a sum in place beside the work that follows; wait lets that follow it. */
    fc_status (*all_reduce_start)(void *data, int64_t count, fc_dtype type, int *request);
    fc_status (*wait)(int request);
} fc_device_collectives;

/* Copies to the device beside its work, from any thread: `lane`s are numbers from 0, each with one
 * copy under way at a time. */
enum { FC_LANES = 16 };
typedef struct fc_device_lanes {
    /** Memory of the process that copies on lanes start from; ends the job where there is none. */
    void *(*alloc)(size_t bytes);
    void (*free)(void *at);
    /** Start a copy, after those of the lane before. */
    void (*start)(int lane, void *to, const void *from, size_t bytes);
    /** Work asked for from now on follows the lane's copies. Main thread. */
    void (*follow)(int lane);
} fc_device_lanes;

typedef struct fc_backend {
    const char *name; /* "cpu", "cuda" */
    bool on_host;
    const struct fci_kernels *(*kernels)(fc_dtype dtype);
    /** Zeroed memory that outlives steps; ends the job with 71 where there is none left. */
    void *(*alloc)(size_t bytes);
    void (*free)(void *at); /* NULL is fine */
    /** From the process's memory, which may change once the call has returned. */
    void (*upload)(void *to, const void *from, size_t bytes);
    /** Into the process's memory; there when the call returns. */
    void (*download)(void *to, const void *from, size_t bytes);
    /** Within the backend's memory; on the host ranges may overlap, elsewhere not. */
    void (*copy)(void *to, const void *from, size_t bytes);
    void (*fill)(void *to, int byte, size_t bytes);
    void (*synchronize)(void);
    /** Bytes that are taken, arenas among them; the most that ever were. */
    int64_t (*held)(void);
    int64_t (*peak)(void);
    /** NULL: what ranks exchange goes through the process's memory (core/device_comm.h). */
    const fc_device_collectives *collectives;
    const fc_device_lanes *lanes; /* NULL on the host, where nothing has to be copied */
} fc_backend;

const fc_backend *fc_backend_cpu(void);
/** Memory that core/arena.c takes or gives back past the CPU's alloc. */
void fci_backend_cpu_count(int64_t bytes);

/** Free the backend's memory that a pointer variable points to, and NULL it. */
#define fc_backend_free(backend, pointer_address)                                                  \
    do {                                                                                           \
        (backend)->free(*(pointer_address));                                                       \
        *(pointer_address) = NULL;                                                                 \
    } while (0)

#endif
