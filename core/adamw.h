/* AdamW over all parameters of a set, with gradient norm and clipping, optionally with its state
 * split over ranks. */
#ifndef FC_CORE_ADAMW_H
#define FC_CORE_ADAMW_H

#include "core/arena.h"
#include "core/comm.h"
#include "core/param.h"

typedef struct fc_adamw_options {
    double weight_decay, beta1, beta2, eps;
    double clip_grad_norm; /* 0: no clipping */
    bool shard; /* every rank keeps the moments of its part alone and updates that part */
} fc_adamw_options;

typedef struct fc_adamw {
    fc_params *params;
    fc_comm *comm;
    fc_adamw_options options;
    int64_t first, count; /* elements of params->grad whose moments live here */
    void *m, *v;          /* (count), in the parameters' backend's memory */
    double *sums;         /* (params->count) there, of squares: of gradients as listed below */
    double *sums_here;    /* (params->count) the same in the process's memory */
    int64_t *steps;       /* (params->count) updates each parameter has had */
    struct fci_adamw_run *runs;  /* (params->count) room for what kernels are told */
    struct fci_array *gradients; /* (params->count) those of parameters that are updated */
    fc_arena *scratch;
} fc_adamw;

/** Moments start at zero. */
fc_adamw *fc_adamw_create(fc_params *params, fc_comm *comm, const fc_adamw_options *options);
void fc_adamw_destroy(fc_adamw **a);
/** L2 norm of the gradient over all trained parameters. The same on every rank once gradients are
 * reduced. */
double fc_adamw_grad_norm(fc_adamw *a);
/** One update at learning rate lr with the gradients in the set; `grad_norm` is what
 * fc_adamw_grad_norm returned (used for clipping). Parameters no gradient reached (touched ==
 * false) stay as they are. Collective when sharded. */
FC_NODISCARD fc_status fc_adamw_step(fc_adamw *a, double lr, double grad_norm);

/** Copy the moments of all parameters into m and v (params->grad_total each, in the process's
 * memory, from every rank's part), and back. Collective when sharded; every rank gets all. */
FC_NODISCARD fc_status fc_adamw_gather(fc_adamw *a, void *m, void *v);
void fc_adamw_scatter(fc_adamw *a, const void *m, const void *v);

#endif
