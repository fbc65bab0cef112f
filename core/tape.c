#include "core/tape.h"

#include "core/activity.h"
#include "core/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SCOPE_BYTES = 256, MESSAGE_BYTES = 1024 };

typedef struct node {
    struct node *previous;
    fci_backward_fn backward;
    void *ctx;
    fc_tensor *output;
    int uses; /* parameter views among the inputs */
    fc_tensor **used;
} node;

/* A gradient buffer; given back to the pool when the node that produced its tensor has run. */
typedef struct buffer {
    void *data;
    size_t bytes;
    bool is_free;
} buffer;

struct fc_tape {
    const fc_backend *backend;
    fc_dtype dtype;
    bool recording;
    bool counting; /* inside a segment that will run again: uses of parameters count, nodes are not
                      kept */
    bool counted;  /* a trained parameter was used since counting began */
    int replaying;
    int64_t node_count;
    node *last;
    fc_arena *host;                              /* headers, nodes, notes */
    fc_arena *activations, *gradients, *scratch; /* the backend's */
    buffer *buffers;
    int buffer_count, buffer_capacity;
    double flops;
    fc_relevance *relevance;
    fc_profile *profile;
    fc_status status;
    char scope[SCOPE_BYTES];
    char message[MESSAGE_BYTES];
};

fc_tape *fc_tape_create_on(const fc_backend *backend, fc_dtype dtype)
{
    fc_tape *tape = fc_alloc(1, sizeof *tape);
    tape->backend = backend;
    tape->dtype = dtype;
    tape->recording = true;
    tape->host = fc_arena_create();
    tape->activations = fc_arena_create_on(backend);
    tape->gradients = fc_arena_create_on(backend);
    tape->scratch = fc_arena_create_on(backend);
    return tape;
}

const fc_backend *fc_tape_backend(const fc_tape *tape)
{
    return tape->backend;
}

const fci_kernels *fci_tape_kernels(const fc_tape *tape)
{
    return tape->backend->kernels(tape->dtype);
}

void fc_tape_destroy(fc_tape **tape)
{
    if (*tape != NULL) {
        fci_activity_scope = NULL;
        fc_arena_destroy(&(*tape)->host);
        fc_arena_destroy(&(*tape)->activations);
        fc_arena_destroy(&(*tape)->gradients);
        fc_arena_destroy(&(*tape)->scratch);
        fc_free(&(*tape)->buffers);
        fc_free(tape);
    }
}

fc_dtype fc_tape_dtype(const fc_tape *tape)
{
    return tape->dtype;
}

void fc_tape_reset(fc_tape *tape)
{
    fc_arena_reset(tape->host);
    fc_arena_reset(tape->activations);
    fc_arena_reset(tape->gradients);
    fc_arena_reset(tape->scratch);
    tape->buffer_count = 0;
    tape->last = NULL;
    tape->node_count = 0;
    tape->status = FC_OK;
    tape->scope[0] = tape->message[0] = '\0';
}

fc_status fc_tape_status(const fc_tape *tape)
{
    if (tape->status != FC_OK) {
        fc_error_set(tape->message, "");
    }
    return tape->status;
}

bool fc_tape_record(fc_tape *tape, bool on)
{
    bool before = tape->recording;
    tape->recording = on;
    return before;
}

bool fc_tape_recording(const fc_tape *tape)
{
    return tape->recording;
}

void fc_tape_set_relevance(fc_tape *tape, fc_relevance *relevance)
{
    tape->relevance = relevance;
}

fc_relevance *fc_tape_relevance(const fc_tape *tape)
{
    return tape->relevance;
}

void fc_tape_set_profile(fc_tape *tape, fc_profile *profile)
{
    tape->profile = profile;
}

fc_profile *fc_tape_profile(const fc_tape *tape)
{
    return tape->profile;
}

void fc_tape_push(fc_tape *tape, const char *fmt, ...)
{
    fci_activity_scope = tape->scope;
    size_t used = strlen(tape->scope);
    if (used > 0 && used + 1 < SCOPE_BYTES) {
        tape->scope[used++] = '/';
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(tape->scope + used, SCOPE_BYTES - used, fmt, ap);
    va_end(ap);
}

void fc_tape_pop(fc_tape *tape)
{
    char *slash = strrchr(tape->scope, '/');
    *(slash != NULL ? slash : tape->scope) = '\0';
}

void *fc_tape_alloc(fc_tape *tape, size_t bytes)
{
    return fc_arena_alloc(tape->host, bytes);
}

void *fci_tape_room(fc_tape *tape, size_t bytes)
{
    return fc_arena_alloc(tape->activations, bytes);
}

void *fci_tape_notes(fc_tape *tape, int64_t count)
{
    return fci_tape_room(tape, (size_t)count * fc_dtype_bytes(fc_dtype_wide(tape->dtype)));
}

void *fci_tape_copy(fc_tape *tape, const void *from, size_t bytes)
{
    void *to = tape->backend->on_host ? fc_tape_alloc(tape, bytes) : fci_tape_room(tape, bytes);
    tape->backend->upload(to, from, bytes);
    return to;
}

static fc_tensor describe(fc_dtype dtype, int ndim, const int64_t *shape)
{
    fc_tensor t = {.dtype = dtype, .ndim = ndim, .rows = 1, .cols = 1, .param_first = -1};
    FC_ASSERT(ndim >= 0 && ndim <= 4);
    for (int i = 0; i < ndim; i++) {
        FC_ASSERT(shape[i] >= 0);
        t.shape[i] = shape[i];
        if (i + 1 < ndim) {
            t.rows *= shape[i];
        } else {
            t.cols = shape[i];
        }
    }
    return t;
}

fc_tensor *fc_tape_tensor(fc_tape *tape, int ndim, const int64_t *shape, bool needs_grad)
{
    if (tape->status != FC_OK) {
        return NULL;
    }
    fc_tensor *t = fc_tape_alloc(tape, sizeof *t);
    *t = describe(tape->dtype, ndim, shape);
    t->needs_grad = needs_grad;
    t->data = fc_arena_alloc(tape->activations, fc_tensor_bytes(t));
    return t;
}

void *fci_tape_fail(fc_tape *tape, fc_status code, const char *fmt, ...)
{
    if (tape->status == FC_OK) {
        char what[MESSAGE_BYTES / 2];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(what, sizeof what, fmt, ap);
        va_end(ap);
        snprintf(tape->message, sizeof tape->message, "%s%s%s", tape->scope,
                 tape->scope[0] != '\0' ? ": " : "", what);
        tape->status = code;
    }
    return NULL;
}

fc_arena *fci_tape_scratch(fc_tape *tape)
{
    return tape->scratch;
}

void fci_tape_count(fc_tape *tape, double flops)
{
    tape->flops += flops;
}

bool fci_tape_replaying(const fc_tape *tape)
{
    return tape->replaying > 0;
}

double fc_tape_flops(fc_tape *tape, bool reset)
{
    double flops = tape->flops;
    tape->flops = reset ? 0 : flops;
    return flops;
}

fc_tape_memory fc_tape_peaks(const fc_tape *tape)
{
    return (fc_tape_memory){.activations = fc_arena_peak(tape->activations),
                            .gradients = fc_arena_peak(tape->gradients),
                            .scratch = fc_arena_peak(tape->scratch),
                            .host = fc_arena_peak(tape->host)};
}

void fc_tape_reserve(fc_tape *tape, const fc_tape_memory *bytes)
{
    fc_arena_reserve(tape->activations, bytes->activations);
    fc_arena_reserve(tape->gradients, bytes->gradients);
    fc_arena_reserve(tape->scratch, bytes->scratch);
    fc_arena_reserve(tape->host, bytes->host);
}

void fc_tape_release(fc_tape *tape)
{
    fc_arena_release(tape->activations);
    fc_arena_release(tape->gradients);
    fc_arena_release(tape->scratch);
    fc_arena_release(tape->host);
}

/* ---- Recording ---- */

bool fci_needs_grad(const fc_tape *tape, int inputs, fc_tensor *const *input)
{
    for (int i = 0; tape->recording && i < inputs; i++) {
        if (input[i] != NULL && input[i]->needs_grad) {
            return true;
        }
    }
    return false;
}

static void add_uses(const fc_tensor *view, int uses)
{
    for (int i = view->param_first; i < view->param_first + view->param_count; i++) {
        fc_param *item = &view->params->items[i];
        item->pending += uses;
        FC_ASSERT(item->pending >= 0);
        if (uses < 0 && item->pending == 0 && view->params->on_ready != NULL) {
            view->params->on_ready(view->params->on_ready_ctx, i);
        }
    }
}

static bool is_trained_view(const fc_tensor *t)
{
    return t != NULL && t->params != NULL && t->needs_grad;
}

void *fci_tape_node(fc_tape *tape, fci_backward_fn backward, size_t bytes, fc_tensor *output,
                    int inputs, fc_tensor *const *input)
{
    if (tape->status != FC_OK) {
        return NULL;
    }
    int views = 0;
    for (int i = 0; i < inputs; i++) {
        if (is_trained_view(input[i])) {
            views++;
            if (tape->counting) {
                add_uses(input[i], 1);
                tape->counted = true;
            }
        }
    }
    if (!tape->recording || !output->needs_grad) {
        return NULL;
    }
    node *n = fc_tape_alloc(tape, sizeof *n);
    *n = (node){.previous = tape->last, .backward = backward, .output = output, .uses = views};
    n->ctx = memset(fc_tape_alloc(tape, bytes), 0, bytes);
    n->used = fc_tape_alloc(tape, (size_t)views * sizeof(fc_tensor *));
    views = 0;
    for (int i = 0; i < inputs; i++) {
        if (is_trained_view(input[i])) {
            n->used[views++] = input[i];
            if (!tape->replaying) { /* a segment counted its uses on the way forward */
                add_uses(input[i], 1);
            }
        }
    }
    tape->last = n;
    tape->node_count++;
    return n->ctx;
}

/* ---- Gradient buffers ---- */

static void *take_buffer(fc_tape *tape, size_t bytes)
{
    for (int i = 0; i < tape->buffer_count; i++) {
        buffer *b = &tape->buffers[i];
        if (b->is_free && b->bytes >= bytes && b->bytes <= bytes + bytes / 4) {
            b->is_free = false;
            return b->data;
        }
    }
    if (tape->buffer_count == tape->buffer_capacity) {
        tape->buffer_capacity = tape->buffer_capacity > 0 ? 2 * tape->buffer_capacity : 64;
        tape->buffers = fc_realloc(tape->buffers, (size_t)tape->buffer_capacity, sizeof(buffer));
    }
    buffer *b = &tape->buffers[tape->buffer_count++];
    *b = (buffer){.data = fc_arena_alloc(tape->gradients, bytes), .bytes = bytes};
    return b->data;
}

static void release_buffer(fc_tape *tape, const void *data)
{
    for (int i = 0; i < tape->buffer_count; i++) {
        if (tape->buffers[i].data == data) {
            tape->buffers[i].is_free = true;
            return;
        }
    }
}

void *fci_grad(fc_tape *tape, fc_tensor *t, bool *accumulate)
{
    *accumulate = false;
    if (t == NULL || !t->needs_grad) {
        return NULL;
    }
    if (t->params != NULL) {
        for (int i = t->param_first; i < t->param_first + t->param_count; i++) {
            t->params->items[i].touched = true;
        }
        *accumulate = true; /* zeroed once a step, added to by every use and micro-batch */
        return t->grad;
    }
    *accumulate = t->grad != NULL;
    if (t->grad == NULL) {
        t->grad = t->on_host ? fc_tape_alloc(tape, fc_tensor_bytes(t))
                             : take_buffer(tape, fc_tensor_bytes(t));
    }
    return t->grad;
}

bool fci_grad_steal(fc_tape *tape, fc_tensor *to, fc_tensor *from)
{
    (void)tape;
    if (to == NULL || !to->needs_grad || to->params != NULL || to->grad != NULL) {
        return false;
    }
    FC_ASSERT(fc_tensor_count(to) == fc_tensor_count(from));
    to->grad = from->grad;
    from->grad = NULL;
    return true;
}

/* to += from, both of the backend's memory and the tape's type. */
static void add_into(fc_tape *tape, void *to, const void *from, int64_t count)
{
    const fci_add_args args = {.count = count, .x = from, .y = {.at = to, .add = true}};
    fci_tape_kernels(tape)->add_fwd(&args, tape->scratch);
}

/* Move or add the gradient of `from` to that of `to`. */
static void pass_gradient(fc_tape *tape, fc_tensor *to, fc_tensor *from)
{
    if (from->grad == NULL || fci_grad_steal(tape, to, from)) {
        return;
    }
    bool accumulate;
    void *grad = fci_grad(tape, to, &accumulate);
    if (grad != NULL) {
        FC_ASSERT(accumulate); /* else the buffer would have been handed on */
        add_into(tape, grad, from->grad, fc_tensor_count(from));
    }
}

/* ---- Going back ---- */

static void run_back(fc_tape *tape)
{
    while (tape->last != NULL) {
        node *n = tape->last;
        tape->last = n->previous;
        if (n->output->grad != NULL) {
            n->backward(tape, n->ctx);
            if (n->output->grad != NULL) {
                release_buffer(tape, n->output->grad);
                n->output->grad = NULL;
            }
        }
        for (int i = 0; i < n->uses; i++) {
            add_uses(n->used[i], -1);
        }
    }
}

fc_status fc_backward(fc_tape *tape, int count, fc_tensor *const *outputs, const double *seeds)
{
    FC_TRY(fc_tape_status(tape));
    for (int i = 0; seeds != NULL && i < count; i++) {
        FC_ASSERT(fc_tensor_count(outputs[i]) == 1);
        float single = (float)seeds[i];
        fc_tape_seed(tape, outputs[i],
                     tape->dtype == FC_F64 ? (const void *)&seeds[i] : (const void *)&single);
    }
    run_back(tape);
    tape->node_count = 0;
    return fc_tape_status(tape);
}

typedef struct reshape_ctx {
    fc_tensor *x, *y;
} reshape_ctx;

static void reshape_backward(fc_tape *tape, void *ctx)
{
    reshape_ctx *c = ctx;
    pass_gradient(tape, c->x, c->y);
}

fc_tensor *fc_reshape(fc_tape *tape, fc_tensor *x, int ndim, const int64_t *shape)
{
    if (x == NULL || tape->status != FC_OK) {
        return NULL;
    }
    fc_tensor *y = fc_tape_alloc(tape, sizeof *y);
    *y = describe(x->dtype, ndim, shape);
    if (fc_tensor_count(y) != fc_tensor_count(x)) {
        return fci_tape_fail(tape, FC_BUG, "reshape: %lld values are not %lld x %lld",
                             (long long)fc_tensor_count(x), (long long)y->rows, (long long)y->cols);
    }
    y->data = x->data;
    y->needs_grad = fci_needs_grad(tape, 1, &x);
    reshape_ctx *c = fci_tape_node(tape, reshape_backward, sizeof *c, y, 1, &x);
    if (c != NULL) {
        *c = (reshape_ctx){x, y};
    }
    return y;
}

/* ---- Segments ---- */

typedef struct segment_ctx {
    fc_segment_fn fn;
    void *ctx;
    fc_tensor *x, *y;
    fc_arena_mark end; /* of what it keeps: later results are done with when it runs again */
} segment_ctx;

typedef struct step_mark {
    fc_arena_mark host, activations;
} step_mark;

static step_mark save_step(const fc_tape *tape)
{
    return (step_mark){fc_arena_save(tape->host), fc_arena_save(tape->activations)};
}

static void rewind_step(fc_tape *tape, step_mark mark)
{
    fc_arena_rewind(tape->host, mark.host);
    fc_arena_rewind(tape->activations, mark.activations);
}

/* Data to a place that may overlap with where it is. */
static void slide(fc_tape *tape, void *to, void *from, size_t bytes)
{
    const char *a = to, *b = from;
    if (a == b || bytes == 0) {
        return;
    }
    if (tape->backend->on_host || a + bytes <= b || b + bytes <= a) {
        tape->backend->copy(to, from, bytes);
        return;
    }
    fc_arena_mark mark = fc_arena_save(tape->scratch);
    void *between = fc_arena_alloc(tape->scratch, bytes);
    tape->backend->copy(between, from, bytes);
    tape->backend->copy(to, between, bytes);
    fc_arena_rewind(tape->scratch, mark);
}

/* Keep the result alone of what was computed since the mark. */
static fc_tensor *keep_result(fc_tape *tape, step_mark mark, const fc_tensor *y)
{
    fc_tensor kept = *y;
    size_t bytes = fc_tensor_bytes(&kept);
    rewind_step(tape, mark);
    fc_tensor *result = fc_tape_alloc(tape, sizeof *result);
    *result = kept;
    result->data = fc_arena_alloc(tape->activations, bytes);
    slide(tape, result->data, kept.data, bytes);
    return result;
}

static void segment_backward(fc_tape *tape, void *ctx)
{
    segment_ctx *c = ctx;
    fc_arena_rewind(tape->activations, c->end);
    step_mark mark = save_step(tape);
    node *outer = tape->last;
    bool recording = fc_tape_record(tape, true);
    double flops = tape->flops;
    tape->last = NULL;
    tape->replaying++;
    fc_tensor x = *c->x;
    x.grad = NULL;
    x.params = NULL;
    fc_tensor *y = c->fn(tape, c->ctx, &x);
    tape->flops = flops; /* the model's work, not ours: forward was counted already */
    if (y != NULL) {
        FC_ASSERT(y != &x);
        y->grad = c->y->grad;
        c->y->grad = NULL;
        run_back(tape);
        pass_gradient(tape, c->x, &x);
        release_buffer(tape, x.grad); /* NULL is no buffer's */
    }
    tape->replaying--;
    tape->last = outer;
    (void)fc_tape_record(tape, recording);
    rewind_step(tape, mark);
}

fc_tensor *fc_segment(fc_tape *tape, fc_segment_fn fn, void *ctx, fc_tensor *x, bool recompute)
{
    if (x == NULL || tape->status != FC_OK) {
        return NULL;
    }
    step_mark mark = save_step(tape);
    if (!tape->recording || tape->replaying > 0 || !recompute) {
        int64_t nodes = tape->node_count;
        fc_tensor *y = fn(tape, ctx, x);
        bool kept = y == NULL || y == x || tape->node_count != nodes;
        return kept ? y : keep_result(tape, mark, y);
    }
    tape->counted = false;
    tape->counting = true;
    (void)fc_tape_record(tape, false);
    fc_tensor *y = fn(tape, ctx, x);
    (void)fc_tape_record(tape, true);
    tape->counting = false;
    if (y == NULL) {
        return NULL;
    }
    y = keep_result(tape, mark, y);
    y->needs_grad = x->needs_grad || tape->counted;
    segment_ctx *c = fci_tape_node(tape, segment_backward, sizeof *c, y, 1, &x);
    if (c != NULL) {
        *c = (segment_ctx){fn, ctx, x, y, fc_arena_save(tape->activations)};
    }
    return y;
}
