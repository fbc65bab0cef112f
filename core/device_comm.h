/* Collectives on arrays in a backend's memory: by its own where it has them, else through the
 * process's memory and core/comm.h. As there, every call is collective. */
#ifndef FC_CORE_DEVICE_COMM_H
#define FC_CORE_DEVICE_COMM_H

#include "core/backend.h"
#include "core/comm.h"

typedef struct fc_device_request fc_device_request;

FC_NODISCARD fc_status fc_device_broadcast(const fc_backend *b, fc_comm *c, void *data,
                                           int64_t count, fc_dtype type, int root);
/** counts[size] values from every rank, one after another in rank order into recv; send, which may
 * be their place there, holds counts[rank]. */
FC_NODISCARD fc_status fc_device_all_gather(const fc_backend *b, fc_comm *c, const void *send,
                                            void *recv, const int64_t *counts, fc_dtype type);
/** Start a sum over ranks in place (FC_F32 or FC_F64); data must stay untouched until
 * fc_device_wait. */
FC_NODISCARD fc_status fc_device_all_reduce_start(const fc_backend *b, fc_comm *c, void *data,
                                                  int64_t count, fc_dtype type,
                                                  fc_device_request **out);
FC_NODISCARD fc_status fc_device_wait(const fc_backend *b, fc_comm *c, fc_device_request **request);

#endif
