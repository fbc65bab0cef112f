#include "core/adamw.h"

#include "core/device_comm.h"
#include "core/kernel.h"
#include "core/memory.h"

#include <math.h>

static char *at(void *base, fc_dtype dtype, int64_t element)
{
    return (char *)base + element * (int64_t)fc_dtype_bytes(dtype);
}

static void shard_of(const fc_adamw *a, int rank, int64_t *first, int64_t *count)
{
    int64_t total = a->params->grad_total, ranks = a->options.shard ? fc_comm_size(a->comm) : 1;
    int64_t part = (total + ranks - 1) / ranks;
    *first = part * rank < total ? part * rank : total;
    *count = total - *first < part ? total - *first : part;
}

fc_adamw *fc_adamw_create(fc_params *params, fc_comm *comm, const fc_adamw_options *options)
{
    fc_adamw *a = fc_alloc(1, sizeof *a);
    *a = (fc_adamw){.params = params, .comm = comm, .options = *options};
    shard_of(a, options->shard ? fc_comm_rank(comm) : 0, &a->first, &a->count);
    const size_t bytes = (size_t)a->count * fc_dtype_bytes(params->dtype);
    a->m = params->backend->alloc(bytes);
    a->v = params->backend->alloc(bytes);
    a->sums = params->backend->alloc((size_t)params->count * sizeof *a->sums);
    a->sums_here = fc_alloc((size_t)params->count, sizeof *a->sums_here);
    a->steps = fc_alloc((size_t)params->count, sizeof *a->steps);
    a->runs = fc_alloc((size_t)params->count, sizeof *a->runs);
    a->gradients = fc_alloc((size_t)params->count, sizeof *a->gradients);
    a->scratch = fc_arena_create_on(params->backend);
    return a;
}

void fc_adamw_destroy(fc_adamw **a)
{
    if (*a != NULL) {
        const fc_backend *backend = (*a)->params->backend;
        fc_backend_free(backend, &(*a)->m);
        fc_backend_free(backend, &(*a)->v);
        fc_backend_free(backend, &(*a)->sums);
        fc_free(&(*a)->sums_here);
        fc_free(&(*a)->steps);
        fc_free(&(*a)->runs);
        fc_free(&(*a)->gradients);
        fc_arena_destroy(&(*a)->scratch);
        fc_free(a);
    }
}

static bool is_updated(const fc_param *item)
{
    return item->name != NULL && item->trainable && item->touched;
}

double fc_adamw_grad_norm(fc_adamw *a)
{
    const fc_params *p = a->params;
    fci_square_sum_args args = {.array = a->gradients, .sums = a->sums};
    double total = 0;
    for (int i = 0; i < p->count; i++) {
        if (is_updated(&p->items[i])) {
            a->gradients[args.arrays++] =
                (fci_array){.count = p->items[i].count, .x = fc_param_grad(p, i)};
        }
    }
    const fc_arena_mark mark = fc_arena_save(a->scratch);
    p->backend->kernels(p->compute)->square_sum_fwd(&args, a->scratch);
    fc_arena_rewind(a->scratch, mark);
    p->backend->download(a->sums_here, a->sums, (size_t)args.arrays * sizeof *a->sums);
    for (int i = 0; i < args.arrays; i++) {
        total += a->sums_here[i];
    }
    return sqrt(total);
}

/* The part of parameter i whose moments live here; none: count 0. */
static fci_adamw_run run_of(const fc_adamw *a, int i)
{
    const fc_params *p = a->params;
    const fc_param *item = &p->items[i];
    int64_t begin = item->grad_offset > a->first ? item->grad_offset : a->first;
    int64_t end = item->grad_offset + item->count;
    end = end < a->first + a->count ? end : a->first + a->count;
    if (begin >= end) {
        return (fci_adamw_run){0};
    }
    const int64_t offset = item->offset + (begin - item->grad_offset);
    double t = (double)a->steps[i];
    return (fci_adamw_run){
        .count = end - begin,
        .p = at(p->data, p->dtype, offset),
        .grad = at(p->grad, p->dtype, begin),
        .m = at(a->m, p->dtype, begin - a->first),
        .v = at(a->v, p->dtype, begin - a->first),
        .working = p->working != NULL ? at(p->working, p->compute, offset) : NULL,
        .weight_decay = item->decay ? a->options.weight_decay : 0,
        .correction1 = 1 - pow(a->options.beta1, t),
        .correction2 = 1 - pow(a->options.beta2, t),
        .least = item->least,
        .most = item->most,
    };
}

/* One run of values, and what tensors show of them. */
static fc_status share_run(fc_adamw *a, int64_t first, int64_t count, int rank)
{
    const fc_params *p = a->params;
    FC_TRY(fc_device_broadcast(p->backend, a->comm, at(p->data, p->dtype, first), count, p->dtype,
                               rank));
    return p->working == NULL
               ? FC_OK
               : fc_device_broadcast(p->backend, a->comm, at(p->working, p->compute, first), count,
                                     p->compute, rank);
}

/* Every rank hands out the values it updated. Parameters that were frozen lie between trained ones
 * in data but not in grad, so the parts go out in runs without such gaps. */
static fc_status share_values(fc_adamw *a)
{
    const fc_params *p = a->params;
    for (int rank = 0; rank < fc_comm_size(a->comm); rank++) {
        int64_t first, count;
        shard_of(a, rank, &first, &count);
        int64_t run_data = 0, run_count = 0;
        for (int i = 0; i <= p->count; i++) {
            int64_t begin = 0, end = 0;
            if (i < p->count && p->items[i].trainable) {
                const fc_param *item = &p->items[i];
                begin = item->grad_offset > first ? item->grad_offset : first;
                end = item->grad_offset + item->count;
                end =
                    (end < first + count ? end : first + count) - item->grad_offset + item->offset;
                begin += item->offset - item->grad_offset;
            }
            if (begin < end && run_count > 0 && run_data + run_count == begin) {
                run_count += end - begin;
                continue;
            }
            if (run_count > 0 && (i == p->count || begin < end)) {
                FC_TRY(share_run(a, run_data, run_count, rank));
                run_count = 0;
            }
            if (begin < end) {
                run_data = begin;
                run_count = end - begin;
            }
        }
    }
    return FC_OK;
}

fc_status fc_adamw_step(fc_adamw *a, double lr, double grad_norm)
{
    const fc_params *p = a->params;
    double clip = a->options.clip_grad_norm;
    fci_adamw_args args = {
        .run = a->runs,
        .grad_scale = clip > 0 && grad_norm > clip ? clip / (grad_norm + 1e-6) : 1,
        .lr = lr,
        .beta1 = a->options.beta1,
        .beta2 = a->options.beta2,
        .eps = a->options.eps,
    };
    for (int i = 0; i < p->count; i++) {
        if (is_updated(&p->items[i])) {
            a->steps[i]++;
            a->runs[args.runs] = run_of(a, i);
            args.runs += a->runs[args.runs].count > 0 ? 1 : 0;
        }
    }
    p->backend->kernels(p->compute)->adamw_fwd(&args, a->scratch);
    return a->options.shard ? share_values(a) : FC_OK;
}

fc_status fc_adamw_gather(fc_adamw *a, void *m, void *v)
{
    const fc_backend *backend = a->params->backend;
    const fc_dtype dtype = a->params->dtype;
    const size_t bytes = (size_t)a->count * fc_dtype_bytes(dtype);
    if (!a->options.shard) {
        backend->download(m, a->m, bytes);
        backend->download(v, a->v, bytes);
        return FC_OK;
    }
    int ranks = fc_comm_size(a->comm);
    int64_t *counts = fc_alloc((size_t)ranks, sizeof *counts), first;
    for (int r = 0; r < ranks; r++) {
        shard_of(a, r, &first, &counts[r]);
    }
    void *own = fc_alloc(bytes, 1);
    backend->download(own, a->m, bytes);
    fc_status status = fc_comm_all_gather(a->comm, own, m, counts, fc_comm_real(dtype));
    if (status == FC_OK) {
        backend->download(own, a->v, bytes);
        status = fc_comm_all_gather(a->comm, own, v, counts, fc_comm_real(dtype));
    }
    fc_free(&own);
    fc_free(&counts);
    return status;
}

void fc_adamw_scatter(fc_adamw *a, const void *m, const void *v)
{
    const fc_backend *backend = a->params->backend;
    const size_t width = fc_dtype_bytes(a->params->dtype), bytes = (size_t)a->count * width;
    backend->upload(a->m, (const char *)m + (size_t)a->first * width, bytes);
    backend->upload(a->v, (const char *)v + (size_t)a->first * width, bytes);
}
