/* Sums gradients over ranks, bucket by bucket, while backward goes on. */
#ifndef FC_CORE_GRAD_REDUCE_H
#define FC_CORE_GRAD_REDUCE_H

#include "core/device_comm.h"
#include "core/param.h"

typedef struct fc_grad_reduce fc_grad_reduce;

/** Buckets of about bucket_bytes, from the end of the set (where backward begins) to its start. */
fc_grad_reduce *fc_grad_reduce_create(fc_params *params, fc_comm *comm, size_t bucket_bytes);
void fc_grad_reduce_destroy(fc_grad_reduce **r);
/** Between the last forward and its backward: buckets go out as soon as none of their parameters is
 * still used. */
void fc_grad_reduce_begin(fc_grad_reduce *r);
/** After backward: send the rest, wait for all. *waited (may be NULL): seconds spent waiting here,
 * once this rank's own work is done. Collective; afterwards every rank has the same gradients and
 * the same `touched` marks. */
FC_NODISCARD fc_status fc_grad_reduce_finish(fc_grad_reduce *r, double *waited);
/** Buckets, in the order they go out; bytes of bucket i, and when it last went out, from 0 at begin
 * to 1 at finish: the host's moments, which say little of a device that nobody waited for. */
int fc_grad_reduce_count(const fc_grad_reduce *r);
void fc_grad_reduce_bucket(const fc_grad_reduce *r, int i, double *bytes, double *ready);

#endif
