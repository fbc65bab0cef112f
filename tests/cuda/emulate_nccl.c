/* NCCL's interface over MPI, and the place of the loader: what core/cuda/nccl.c opens where devices
 * are emulated. Calls are done when they return, so that groups need not be kept. */
#include "core/cuda/runtime.h"

#include <stdlib.h>
#include <string.h>

#include <mpi.h>

typedef struct nccl_id {
    char internal[128];
} nccl_id;

static int get_unique_id(nccl_id *id)
{
    memset(id, 0x5A, sizeof *id);
    return 0;
}

static int comm_init_rank(void **comm, int ranks, nccl_id id, int rank)
{
    int size, own;
    MPI_Comm *copy = malloc(sizeof *copy);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_rank(MPI_COMM_WORLD, &own);
    *comm = copy;
    for (size_t i = 0; i < sizeof id.internal; i++) {
        if (id.internal[i] != 0x5A) {
            return 4; /* the id did not come by */
        }
    }
    return size == ranks && own == rank && MPI_Comm_dup(MPI_COMM_WORLD, copy) == MPI_SUCCESS ? 0
                                                                                             : 4;
}

static int comm_destroy(void *comm)
{
    MPI_Comm_free(comm);
    free(comm);
    return 0;
}

static int async_error(void *comm, int *error)
{
    *error = comm != NULL ? 0 : 4;
    return 0;
}

static int all_reduce(const void *send, void *recv, size_t count, int type, int op, void *comm,
                      cudaStream_t stream)
{
    MPI_Datatype what = type == 8 ? MPI_DOUBLE : MPI_FLOAT;
    if ((type != 7 && type != 8) || op != 0 || send != recv || stream == NULL ||
        emulate_is_device(recv, count) == 0) {
        return 4;
    }
    emulate_open_memory();
    MPI_Allreduce(MPI_IN_PLACE, recv, (int)count, what, MPI_SUM, *(MPI_Comm *)comm);
    emulate_close_memory();
    return 0;
}

static int broadcast(const void *send, void *recv, size_t count, int type, int root, void *comm,
                     cudaStream_t stream)
{
    int rank;
    if (type != 1 || stream == NULL || emulate_is_device(recv, count) == 0) {
        return 4;
    }
    MPI_Comm_rank(*(MPI_Comm *)comm, &rank);
    emulate_open_memory();
    if (rank == root && send != recv) {
        memmove(recv, send, count);
    }
    MPI_Bcast(recv, (int)count, MPI_BYTE, root, *(MPI_Comm *)comm);
    emulate_close_memory();
    return 0;
}

static int group(void)
{
    return 0;
}

static const char *error_string(int error)
{
    return error == 4 ? "invalid argument" : "unhandled error";
}

void *fci_cuda_symbol(const char *library, const char *name)
{
    const struct {
        const char *name;
        void (*function)(void);
    } known[] = {{"ncclGetUniqueId", (void (*)(void))get_unique_id},
                 {"ncclCommInitRank", (void (*)(void))comm_init_rank},
                 {"ncclCommDestroy", (void (*)(void))comm_destroy},
                 {"ncclCommAbort", (void (*)(void))comm_destroy},
                 {"ncclCommGetAsyncError", (void (*)(void))async_error},
                 {"ncclAllReduce", (void (*)(void))all_reduce},
                 {"ncclBroadcast", (void (*)(void))broadcast},
                 {"ncclGroupStart", (void (*)(void))group},
                 {"ncclGroupEnd", (void (*)(void))group},
                 {"ncclGetErrorString", (void (*)(void))error_string}};
    if (strcmp(library, "libnccl.so.2") != 0 || getenv("FINECLIP_EMULATED_NO_NCCL") != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) == 0) {
            return (void *)(uintptr_t)known[i].function;
        }
    }
    return NULL;
}
