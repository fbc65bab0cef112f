/* Collectives between ranks; over MPI, or trivially for a single process. Every call is collective:
 * all ranks, same order. Errors are FC_RUNTIME with the operation's name. */
#ifndef FC_CORE_COMM_H
#define FC_CORE_COMM_H

#include "core/tensor.h"

typedef struct fc_comm fc_comm;
typedef struct fc_comm_request fc_comm_request;

typedef enum { FC_COMM_F32, FC_COMM_F64, FC_COMM_I64, FC_COMM_U8 } fc_comm_type;
typedef enum { FC_COMM_SUM, FC_COMM_MAX, FC_COMM_MIN } fc_comm_op;

static inline fc_comm_type fc_comm_real(fc_dtype dtype)
{
    return dtype == FC_F64 ? FC_COMM_F64 : FC_COMM_F32;
}

/** One process alone. */
FC_NODISCARD fc_status fc_comm_create_self(fc_comm **out);
/** Over a duplicate of MPI_COMM_WORLD; MPI must be initialised. */
FC_NODISCARD fc_status fc_comm_create_mpi(fc_comm **out);
void fc_comm_destroy(fc_comm **c);
int fc_comm_rank(const fc_comm *c);
int fc_comm_size(const fc_comm *c);
/** Rank and number of ranks on this host. */
int fc_comm_local_rank(const fc_comm *c);
int fc_comm_local_size(const fc_comm *c);

FC_NODISCARD fc_status fc_comm_barrier(fc_comm *c);
/** True once every rank has called this; false where some have not after so many seconds, as a rank
 * that waits in another collective never does. Then the only way on is core/fatal.h. */
bool fc_comm_all_arrive(fc_comm *c, double seconds);
FC_NODISCARD fc_status fc_comm_broadcast(fc_comm *c, void *data, int64_t count, fc_comm_type type,
                                         int root);
/** In place. Sums are taken in an order that depends on the number of ranks alone. */
FC_NODISCARD fc_status fc_comm_all_reduce(fc_comm *c, void *data, int64_t count, fc_comm_type type,
                                          fc_comm_op op);
/** counts[size] elements from every rank, one after another in rank order into recv; send holds
 * counts[rank]. */
FC_NODISCARD fc_status fc_comm_all_gather(fc_comm *c, const void *send, void *recv,
                                          const int64_t *counts, fc_comm_type type);
/** One int64 from every rank into all[size]. */
FC_NODISCARD fc_status fc_comm_all_gather_i64(fc_comm *c, int64_t value, int64_t *all);

/** Start an all-reduce (sum) in place; data must stay untouched until fc_comm_wait. */
FC_NODISCARD fc_status fc_comm_all_reduce_start(fc_comm *c, void *data, int64_t count,
                                                fc_comm_type type, fc_comm_request **out);
/** Let started operations progress (MPI moves data only inside calls). Cheap. */
void fc_comm_progress(fc_comm *c);
FC_NODISCARD fc_status fc_comm_wait(fc_comm *c, fc_comm_request **request);

#endif
