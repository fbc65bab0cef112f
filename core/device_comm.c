#include "core/device_comm.h"

#include "core/activity.h"
#include "core/memory.h"

struct fc_device_request {
    fc_comm_request *host; /* NULL where the backend has collectives of its own */
    int own;
    void *data, *staged; /* staged: the process's copy, NULL where data is the process's */
    size_t bytes;
};

fc_status fc_device_broadcast(const fc_backend *b, fc_comm *c, void *data, int64_t count,
                              fc_dtype type, int root)
{
    const size_t bytes = (size_t)count * fc_dtype_bytes(type);
    if (fc_comm_size(c) == 1 || count == 0) {
        return FC_OK;
    }
    if (b->on_host) {
        return fc_comm_broadcast(c, data, count, fc_comm_real(type), root);
    }
    if (b->collectives != NULL) {
        return b->collectives->broadcast(data, bytes, root);
    }
    void *staged = fc_alloc(bytes, 1);
    if (fc_comm_rank(c) == root) {
        b->download(staged, data, bytes);
    }
    fc_status status = fc_comm_broadcast(c, staged, (int64_t)bytes, FC_COMM_U8, root);
    if (status == FC_OK && fc_comm_rank(c) != root) {
        b->upload(data, staged, bytes);
    }
    fc_free(&staged);
    return status;
}

static fc_status staged_gather(const fc_backend *b, fc_comm *c, const void *send, void *recv,
                               const int64_t *bytes, int64_t total)
{
    void *own = fc_alloc((size_t)bytes[fc_comm_rank(c)], 1), *all = fc_alloc((size_t)total, 1);
    b->download(own, send, (size_t)bytes[fc_comm_rank(c)]);
    fc_status status = fc_comm_all_gather(c, own, all, bytes, FC_COMM_U8);
    if (status == FC_OK) {
        b->upload(recv, all, (size_t)total);
    }
    fc_free(&own);
    fc_free(&all);
    return status;
}

/* The host's all-gather wants two places: what lies in its place already goes out of a copy. */
static fc_status host_gather(fc_comm *c, const void *send, void *recv, const int64_t *counts,
                             fc_dtype type)
{
    int64_t before = 0;
    for (int r = 0; r < fc_comm_rank(c); r++) {
        before += counts[r];
    }
    if (send != (char *)recv + (size_t)before * fc_dtype_bytes(type)) {
        return fc_comm_all_gather(c, send, recv, counts, fc_comm_real(type));
    }
    const size_t bytes = (size_t)counts[fc_comm_rank(c)] * fc_dtype_bytes(type);
    void *own = fc_alloc(bytes, 1);
    fc_backend_cpu()->copy(own, send, bytes);
    fc_status status = fc_comm_all_gather(c, own, recv, counts, fc_comm_real(type));
    fc_free(&own);
    return status;
}

fc_status fc_device_all_gather(const fc_backend *b, fc_comm *c, const void *send, void *recv,
                               const int64_t *counts, fc_dtype type)
{
    const int ranks = fc_comm_size(c);
    if (b->on_host) {
        return host_gather(c, send, recv, counts, type);
    }
    int64_t *bytes = fc_alloc((size_t)ranks, sizeof *bytes), total = 0;
    for (int r = 0; r < ranks; r++) {
        bytes[r] = counts[r] * (int64_t)fc_dtype_bytes(type);
        total += bytes[r];
    }
    fc_status status = FC_OK;
    if (ranks == 1) {
        if (send != recv) {
            b->copy(recv, send, (size_t)total);
        }
    } else if (b->collectives != NULL) {
        status = b->collectives->all_gather(send, recv, bytes);
    } else {
        status = staged_gather(b, c, send, recv, bytes, total);
    }
    fc_free(&bytes);
    return status;
}

fc_status fc_device_all_reduce_start(const fc_backend *b, fc_comm *c, void *data, int64_t count,
                                     fc_dtype type, fc_device_request **out)
{
    fc_device_request *r = *out = fc_alloc(1, sizeof *r);
    *r = (fc_device_request){.data = data, .bytes = (size_t)count * fc_dtype_bytes(type)};
    if (!b->on_host && b->collectives != NULL && fc_comm_size(c) > 1) {
        return b->collectives->all_reduce_start(data, count, type, &r->own);
    }
    if (!b->on_host && fc_comm_size(c) > 1) {
        r->staged = fc_alloc(r->bytes, 1);
        b->download(r->staged, data, r->bytes);
    }
    return fc_comm_all_reduce_start(c, r->staged != NULL ? r->staged : data, count,
                                    fc_comm_real(type), &r->host);
}

fc_status fc_device_wait(const fc_backend *b, fc_comm *c, fc_device_request **request)
{
    fc_device_request *r = *request;
    fc_status status;
    if (r->host != NULL) {
        status = fc_comm_wait(c, &r->host);
    } else {
        const char *around = fc_activity_wait("all-reduce of gradients");
        status = b->collectives->wait(r->own);
        fc_activity_end(around);
    }
    if (status == FC_OK && r->staged != NULL) {
        b->upload(r->data, r->staged, r->bytes);
    }
    fc_free(&r->staged);
    fc_free(request);
    return status;
}
