#include "core/param.h"

#include "core/bf16.h"
#include "core/memory.h"

#include <math.h>
#include <string.h>

enum { ALIGNED_ELEMENTS = 16 };

fc_params *fc_params_create_on(const fc_backend *backend, fc_dtype compute)
{
    fc_params *p = fc_alloc(1, sizeof *p);
    p->backend = backend;
    p->compute = compute;
    p->dtype = fc_dtype_wide(compute);
    return p;
}

fc_params *fc_params_create(fc_dtype dtype)
{
    return fc_params_create_on(fc_backend_cpu(), dtype);
}

void fc_params_destroy(fc_params **pp)
{
    fc_params *p = *pp;
    if (p == NULL) {
        return;
    }
    for (int i = 0; i < p->count; i++) {
        fc_free(&p->items[i].name);
    }
    for (int i = 0; i < p->view_count; i++) {
        fc_free(&p->views[i]);
    }
    fc_free(&p->views);
    fc_free(&p->items);
    fc_backend_free(p->backend, &p->data);
    fc_backend_free(p->backend, &p->grad);
    fc_backend_free(p->backend, &p->working);
    fc_free(pp);
}

static bool is_decayed(const char *name, int ndim)
{
    return ndim >= 2 && strstr(name, "bn") == NULL && strstr(name, "ln") == NULL &&
           strstr(name, "bias") == NULL && strstr(name, "logit_scale") == NULL;
}

static fc_param *append(fc_params *p)
{
    FC_ASSERT(p->data == NULL);
    if (p->count == p->capacity) {
        p->capacity = p->capacity > 0 ? 2 * p->capacity : 64;
        p->items = fc_realloc(p->items, (size_t)p->capacity, sizeof *p->items);
    }
    fc_param *item = &p->items[p->count++];
    *item = (fc_param){.offset = p->total,
                       .trainable = true,
                       .grad_offset = -1,
                       .least = -INFINITY,
                       .most = INFINITY};
    return item;
}

int fc_params_add(fc_params *p, const char *name, int ndim, const int64_t *shape)
{
    fc_param *item = append(p);
    item->name = fc_strdup(name);
    item->ndim = ndim;
    item->count = 1;
    for (int i = 0; i < ndim; i++) {
        item->shape[i] = shape[i];
        item->count *= shape[i];
    }
    item->decay = is_decayed(name, ndim);
    p->total += item->count;
    return p->count - 1;
}

int fc_params_add_filler(fc_params *p, int64_t count)
{
    fc_param *item = append(p);
    item->ndim = 1;
    item->shape[0] = item->count = count;
    p->total += count;
    return p->count - 1;
}

void fc_params_keep_wide(fc_params *p, int param)
{
    FC_ASSERT(p->data == NULL);
    p->items[param].wide = true;
}

void fc_params_bound(fc_params *p, int param, double least, double most)
{
    p->items[param].least = least;
    p->items[param].most = most;
}

int fc_params_freeze(fc_params *p, int first, int count)
{
    FC_ASSERT(p->data == NULL);
    for (int i = first; i < first + count; i++) {
        p->items[i].trainable = false;
    }
    return count;
}

static char *element(void *base, fc_dtype dtype, int64_t offset)
{
    return (char *)base + (size_t)offset * fc_dtype_bytes(dtype);
}

static void fill_view(fc_params *p, fc_tensor *view, int64_t skip)
{
    const fc_param *first = &p->items[view->param_first];
    view->dtype = first->wide ? p->dtype : p->compute;
    view->data = element(p->working != NULL && !first->wide ? p->working : p->data, view->dtype,
                         first->offset + skip);
    view->grad = view->needs_grad ? element(p->grad, p->dtype, first->grad_offset + skip) : NULL;
}

void fc_params_commit(fc_params *p)
{
    size_t bytes = fc_dtype_bytes(p->dtype);
    p->grad_total = 0;
    for (int i = 0; i < p->count; i++) {
        if (p->items[i].trainable) {
            p->items[i].grad_offset = p->grad_total;
            p->grad_total += p->items[i].count;
        }
    }
    p->data = p->backend->alloc(((size_t)p->total + ALIGNED_ELEMENTS) * bytes);
    p->grad = p->backend->alloc(((size_t)p->grad_total + ALIGNED_ELEMENTS) * bytes);
    if (p->compute == FC_BF16) {
        p->working =
            p->backend->alloc(((size_t)p->total + ALIGNED_ELEMENTS) * fc_dtype_bytes(FC_BF16));
    }
    for (int i = 0; i < p->view_count; i++) {
        fc_tensor *view = p->views[i];
        view->needs_grad = p->items[view->param_first].trainable;
        /* Before commit the element to skip is kept in place of the address. */
        fill_view(p, view, (int64_t)(intptr_t)view->data);
    }
}

static fc_tensor *add_view(fc_params *p, fc_tensor view, int64_t skip)
{
    fc_tensor *t = fc_alloc(1, sizeof *t);
    *t = view;
    t->params = p;
    t->data = (void *)(intptr_t)skip;
    p->views = fc_realloc(p->views, (size_t)p->view_count + 1, sizeof(fc_tensor *));
    p->views[p->view_count++] = t;
    if (p->data != NULL) {
        t->needs_grad = p->items[t->param_first].trainable;
        fill_view(p, t, skip);
    }
    return t;
}

fc_tensor *fc_params_view(fc_params *p, int first, int count, int64_t rows, int64_t cols)
{
    int64_t total = 0;
    for (int i = first; i < first + count; i++) {
        total += p->items[i].count;
    }
    fc_tensor view = {
        .rows = rows > 0 ? rows : 1, .cols = cols, .param_first = first, .param_count = count};
    FC_ASSERT(view.rows * view.cols == total);
    view.ndim = rows > 0 ? 2 : 1;
    view.shape[0] = rows > 0 ? rows : cols;
    view.shape[1] = rows > 0 ? cols : 0;
    return add_view(p, view, 0);
}

fc_tensor *fc_params_rows(fc_params *p, int param, int64_t row, int64_t rows)
{
    const fc_param *item = &p->items[param];
    int64_t cols = item->ndim > 1 ? item->count / item->shape[0] : 1;
    FC_ASSERT(item->ndim >= 1 && row >= 0 && row + rows <= item->shape[0]);
    fc_tensor view = {.rows = rows,
                      .cols = cols,
                      .ndim = 2,
                      .shape = {rows, cols},
                      .param_first = param,
                      .param_count = 1};
    if (item->ndim == 1) {
        view = (fc_tensor){.rows = 1,
                           .cols = rows,
                           .ndim = 1,
                           .shape = {rows},
                           .param_first = param,
                           .param_count = 1};
    }
    return add_view(p, view, row * cols);
}

int fc_params_find(const fc_params *p, const char *name)
{
    for (int i = 0; i < p->count; i++) {
        if (p->items[i].name != NULL && strcmp(p->items[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

void *fc_param_data(const fc_params *p, int i)
{
    return element(p->data, p->dtype, p->items[i].offset);
}

void *fc_param_grad(const fc_params *p, int i)
{
    return p->items[i].grad_offset < 0 ? NULL : element(p->grad, p->dtype, p->items[i].grad_offset);
}

void fc_params_zero_grad(fc_params *p)
{
    p->backend->fill(p->grad, 0, (size_t)p->grad_total * fc_dtype_bytes(p->dtype));
    for (int i = 0; i < p->count; i++) {
        p->items[i].touched = false;
        p->items[i].pending = 0;
    }
}

int64_t fc_params_size(const fc_params *p)
{
    int64_t total = 0;
    for (int i = 0; i < p->count; i++) {
        total += p->items[i].name != NULL ? p->items[i].count : 0;
    }
    return total;
}

int64_t fc_params_trained_size(const fc_params *p)
{
    int64_t total = 0;
    for (int i = 0; i < p->count; i++) {
        total += p->items[i].name != NULL && p->items[i].trainable ? p->items[i].count : 0;
    }
    return total;
}

/* ---- Values in the process's memory ---- */

static size_t param_bytes(const fc_params *p, int i)
{
    return (size_t)p->items[i].count * fc_dtype_bytes(p->dtype);
}

void fc_param_read(const fc_params *p, int i, void *out)
{
    p->backend->download(out, fc_param_data(p, i), param_bytes(p, i));
}

void fc_param_read_grad(const fc_params *p, int i, void *out)
{
    FC_ASSERT(p->items[i].grad_offset >= 0);
    p->backend->download(out, fc_param_grad(p, i), param_bytes(p, i));
}

/* Values [first, first + count) of the masters, and what tensors show of them. */
static void write_range(fc_params *p, int64_t first, int64_t count, const void *in)
{
    p->backend->upload(element(p->data, p->dtype, first), in,
                       (size_t)count * fc_dtype_bytes(p->dtype));
    if (p->working == NULL) {
        return;
    }
    uint16_t *bits = fc_alloc((size_t)count, sizeof *bits);
    for (int64_t k = 0; k < count; k++) {
        bits[k] = fci_bf16_of(((const float *)in)[k]);
    }
    p->backend->upload(element(p->working, FC_BF16, first), bits, (size_t)count * sizeof *bits);
    fc_free(&bits);
}

void fc_param_write(fc_params *p, int i, const void *in)
{
    write_range(p, p->items[i].offset, p->items[i].count, in);
}

const void *fc_params_on_host(const fc_params *p, void **owned)
{
    *owned = NULL;
    if (p->backend->on_host) {
        return p->data;
    }
    *owned = fc_alloc((size_t)p->total, fc_dtype_bytes(p->dtype));
    p->backend->download(*owned, p->data, (size_t)p->total * fc_dtype_bytes(p->dtype));
    return *owned;
}

void fc_params_write(fc_params *p, const void *in)
{
    write_range(p, 0, p->total, in);
}

void fc_param_get_f32(const fc_params *p, int i, float *out)
{
    if (p->dtype == FC_F32) {
        fc_param_read(p, i, out);
        return;
    }
    double *values = fc_alloc((size_t)p->items[i].count, sizeof *values);
    fc_param_read(p, i, values);
    for (int64_t k = 0; k < p->items[i].count; k++) {
        out[k] = (float)values[k];
    }
    fc_free(&values);
}

void fc_param_set_f32(fc_params *p, int i, const float *in)
{
    if (p->dtype == FC_F32) {
        fc_param_write(p, i, in);
        return;
    }
    double *values = fc_alloc((size_t)p->items[i].count, sizeof *values);
    for (int64_t k = 0; k < p->items[i].count; k++) {
        values[k] = (double)in[k];
    }
    fc_param_write(p, i, values);
    fc_free(&values);
}

void fc_param_set_f64(fc_params *p, int i, const double *in)
{
    if (p->dtype == FC_F64) {
        fc_param_write(p, i, in);
        return;
    }
    float *values = fc_alloc((size_t)p->items[i].count, sizeof *values);
    for (int64_t k = 0; k < p->items[i].count; k++) {
        values[k] = (float)in[k];
    }
    fc_param_write(p, i, values);
    fc_free(&values);
}
