#include "core/adamw.h"

#include "core/kernel.h"
#include "core/memory.h"

#include <math.h>
#include <string.h>

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
    a->m = fc_alloc((size_t)a->count, fc_dtype_bytes(params->dtype));
    a->v = fc_alloc((size_t)a->count, fc_dtype_bytes(params->dtype));
    a->steps = fc_alloc((size_t)params->count, sizeof *a->steps);
    a->scratch = fc_arena_create();
    return a;
}

void fc_adamw_destroy(fc_adamw **a)
{
    if (*a != NULL) {
        fc_free(&(*a)->m);
        fc_free(&(*a)->v);
        fc_free(&(*a)->steps);
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
    double total = 0;
    for (int i = 0; i < a->params->count; i++) {
        if (is_updated(&a->params->items[i])) {
            double sum = 0;
            fci_square_sum_args args = {
                .count = a->params->items[i].count, .x = fc_param_grad(a->params, i), .sum = &sum};
            fci_kernels_cpu(a->params->dtype)->square_sum_fwd(&args, a->scratch);
            total += sum;
        }
    }
    return sqrt(total);
}

/* The part of parameter i whose moments live here. */
static void update(fc_adamw *a, int i, double lr, double grad_scale)
{
    fc_params *p = a->params;
    const fc_param *item = &p->items[i];
    int64_t begin = item->grad_offset > a->first ? item->grad_offset : a->first;
    int64_t end = item->grad_offset + item->count;
    end = end < a->first + a->count ? end : a->first + a->count;
    if (begin >= end) {
        return;
    }
    double t = (double)a->steps[i];
    fci_adamw_args args = {
        .count = end - begin,
        .p = at(p->data, p->dtype, item->offset + (begin - item->grad_offset)),
        .grad = at(p->grad, p->dtype, begin),
        .m = at(a->m, p->dtype, begin - a->first),
        .v = at(a->v, p->dtype, begin - a->first),
        .grad_scale = grad_scale,
        .lr = lr,
        .weight_decay = item->decay ? a->options.weight_decay : 0,
        .beta1 = a->options.beta1,
        .beta2 = a->options.beta2,
        .eps = a->options.eps,
        .correction1 = 1 - pow(a->options.beta1, t),
        .correction2 = 1 - pow(a->options.beta2, t),
    };
    fci_kernels_cpu(p->dtype)->adamw_fwd(&args, a->scratch);
}

/* Every rank hands out the values it updated. Parameters that were frozen lie between trained ones
 * in data but not in grad, so the parts go out in runs without such gaps. */
static fc_status share_values(fc_adamw *a)
{
    fc_params *p = a->params;
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
                FC_TRY(fc_comm_broadcast(a->comm, at(p->data, p->dtype, run_data), run_count,
                                         fc_comm_real(p->dtype), rank));
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
    double clip = a->options.clip_grad_norm;
    double grad_scale = clip > 0 && grad_norm > clip ? clip / (grad_norm + 1e-6) : 1;
    for (int i = 0; i < a->params->count; i++) {
        if (is_updated(&a->params->items[i])) {
            a->steps[i]++;
            update(a, i, lr, grad_scale);
        }
    }
    return a->options.shard ? share_values(a) : FC_OK;
}

fc_status fc_adamw_gather(fc_adamw *a, void *m, void *v)
{
    size_t bytes = fc_dtype_bytes(a->params->dtype);
    if (!a->options.shard) {
        memcpy(m, a->m, (size_t)a->count * bytes);
        memcpy(v, a->v, (size_t)a->count * bytes);
        return FC_OK;
    }
    int ranks = fc_comm_size(a->comm);
    int64_t *counts = fc_alloc((size_t)ranks, sizeof *counts), first;
    for (int r = 0; r < ranks; r++) {
        shard_of(a, r, &first, &counts[r]);
    }
    fc_status status = fc_comm_all_gather(a->comm, a->m, m, counts, fc_comm_real(a->params->dtype));
    if (status == FC_OK) {
        status = fc_comm_all_gather(a->comm, a->v, v, counts, fc_comm_real(a->params->dtype));
    }
    fc_free(&counts);
    return status;
}

void fc_adamw_scatter(fc_adamw *a, const void *m, const void *v)
{
    size_t bytes = fc_dtype_bytes(a->params->dtype);
    memcpy(a->m, (const char *)m + (size_t)a->first * bytes, (size_t)a->count * bytes);
    memcpy(a->v, (const char *)v + (size_t)a->first * bytes, (size_t)a->count * bytes);
}
