#include "core/grad_reduce.h"

#include "core/clock.h"
#include "core/memory.h"

typedef struct bucket {
    int first, end;        /* parameters [first, end) */
    int64_t offset, count; /* elements of params->grad */
    int waiting;           /* parameters whose backward is not done */
    fc_device_request *request;
    double sent; /* when it went out */
} bucket;

struct fc_grad_reduce {
    fc_params *params;
    fc_comm *comm;
    bucket *buckets;
    int count, sent;
    int *bucket_of;   /* (params->count), -1: frozen */
    uint8_t *touched; /* (params->count) */
    double begun, finished;
    fc_status status;
};

fc_grad_reduce *fc_grad_reduce_create(fc_params *params, fc_comm *comm, size_t bucket_bytes)
{
    fc_grad_reduce *r = fc_alloc(1, sizeof *r);
    *r = (fc_grad_reduce){.params = params, .comm = comm};
    r->bucket_of = fc_alloc((size_t)params->count, sizeof *r->bucket_of);
    r->touched = fc_alloc((size_t)params->count, 1);
    size_t filled = bucket_bytes;
    for (int i = params->count - 1; i >= 0; i--) {
        const fc_param *item = &params->items[i];
        r->bucket_of[i] = -1;
        if (!item->trainable) {
            continue;
        }
        if (filled >= bucket_bytes) {
            r->buckets = fc_realloc(r->buckets, (size_t)r->count + 1, sizeof *r->buckets);
            r->buckets[r->count++] = (bucket){.end = i + 1};
            filled = 0;
        }
        bucket *b = &r->buckets[r->count - 1];
        b->first = i;
        b->offset = item->grad_offset;
        b->count += item->count;
        filled += (size_t)item->count * fc_dtype_bytes(params->dtype);
        r->bucket_of[i] = r->count - 1;
    }
    return r;
}

void fc_grad_reduce_destroy(fc_grad_reduce **r)
{
    if (*r != NULL) {
        (*r)->params->on_ready = NULL;
        fc_free(&(*r)->buckets);
        fc_free(&(*r)->bucket_of);
        fc_free(&(*r)->touched);
        fc_free(r);
    }
}

/* Ranks send the same buckets in the same order: the next one goes out only when all before it
 * have. */
static void send_ready(fc_grad_reduce *r, bool all)
{
    while (r->status == FC_OK && r->sent < r->count && (all || r->buckets[r->sent].waiting == 0)) {
        bucket *b = &r->buckets[r->sent++];
        b->sent = fc_clock_seconds();
        char *data =
            (char *)r->params->grad + b->offset * (int64_t)fc_dtype_bytes(r->params->dtype);
        r->status = fc_device_all_reduce_start(r->params->backend, r->comm, data, b->count,
                                               r->params->dtype, &b->request);
    }
}

static void on_ready(void *ctx, int param)
{
    fc_grad_reduce *r = ctx;
    if (r->bucket_of[param] >= 0) {
        r->buckets[r->bucket_of[param]].waiting--;
        send_ready(r, false);
    }
    fc_comm_progress(r->comm);
}

void fc_grad_reduce_begin(fc_grad_reduce *r)
{
    r->sent = 0;
    r->begun = fc_clock_seconds();
    r->status = FC_OK;
    for (int i = 0; i < r->count; i++) {
        r->buckets[i].waiting = 0;
    }
    for (int i = 0; i < r->params->count; i++) {
        if (r->bucket_of[i] >= 0 && r->params->items[i].pending > 0) {
            r->buckets[r->bucket_of[i]].waiting++;
        }
    }
    r->params->on_ready = on_ready;
    r->params->on_ready_ctx = r;
}

/* A rank without regions may not have used a parameter that others did: all must agree on who is
 * updated. */
static fc_status agree_on_touched(fc_grad_reduce *r)
{
    for (int i = 0; i < r->params->count; i++) {
        r->touched[i] = r->params->items[i].touched;
    }
    FC_TRY(fc_comm_all_reduce(r->comm, r->touched, r->params->count, FC_COMM_U8, FC_COMM_MAX));
    for (int i = 0; i < r->params->count; i++) {
        r->params->items[i].touched = r->touched[i] != 0;
    }
    return FC_OK;
}

fc_status fc_grad_reduce_finish(fc_grad_reduce *r, double *waited)
{
    r->finished = fc_clock_seconds();
    r->params->on_ready = NULL;
    send_ready(r, true);
    FC_TRY(r->status);
    if (fc_comm_size(r->comm) > 1) { /* backward on a device is no waiting for others */
        r->params->backend->synchronize();
    }
    double start = fc_clock_seconds();
    FC_TRY(agree_on_touched(r));
    for (int i = 0; i < r->count; i++) {
        FC_TRY(fc_device_wait(r->params->backend, r->comm, &r->buckets[i].request));
    }
    if (waited != NULL) {
        *waited = fc_clock_seconds() - start;
    }
    return FC_OK;
}

int fc_grad_reduce_count(const fc_grad_reduce *r)
{
    return r->count;
}

void fc_grad_reduce_bucket(const fc_grad_reduce *r, int i, double *bytes, double *ready)
{
    const double all = r->finished - r->begun, sent = r->buckets[i].sent - r->begun;
    *bytes = (double)r->buckets[i].count * (double)fc_dtype_bytes(r->params->dtype);
    *ready = sent < all ? sent / all : 1;
}
