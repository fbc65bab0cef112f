/* Values of tensors to and from the process's memory. */
#include "core/bf16.h"
#include "core/memory.h"
#include "core/tape.h"

fc_tensor *fc_tape_scalar(fc_tape *tape, double value, bool needs_grad)
{
    if (fc_tape_status(tape) != FC_OK) {
        return NULL;
    }
    fc_tensor *t = fc_tape_alloc(tape, sizeof *t);
    *t = (fc_tensor){.dtype = fc_dtype_wide(fc_tape_dtype(tape)),
                     .rows = 1,
                     .cols = 1,
                     .param_first = -1,
                     .needs_grad = needs_grad,
                     .on_host = true};
    t->data = fc_tape_alloc(tape, fc_tensor_bytes(t));
    if (t->dtype == FC_F64) {
        *(double *)t->data = value;
    } else {
        *(float *)t->data = (float)value;
    }
    return t;
}

double fc_tape_grad_value(const fc_tensor *scalar)
{
    FC_ASSERT(scalar->on_host && scalar->grad != NULL);
    return scalar->dtype == FC_F64 ? *(const double *)scalar->grad
                                   : (double)*(const float *)scalar->grad;
}

void fc_tape_read(const fc_tape *tape, const fc_tensor *t, void *out)
{
    const fc_backend *backend = t->on_host ? fc_backend_cpu() : fc_tape_backend(tape);
    if (t->dtype != FC_BF16) {
        backend->download(out, t->data, fc_tensor_bytes(t));
        return;
    }
    const int64_t count = fc_tensor_count(t);
    uint16_t *bits = fc_alloc((size_t)count, sizeof *bits);
    backend->download(bits, t->data, fc_tensor_bytes(t));
    for (int64_t i = 0; i < count; i++) {
        ((float *)out)[i] = fci_bf16_to_float(bits[i]);
    }
    fc_free(&bits);
}

/* `count` values of the wide type to an array of `dtype`. */
static void write_values(const fc_backend *backend, fc_dtype dtype, void *to, const void *from,
                         int64_t count)
{
    if (dtype != FC_BF16) {
        backend->upload(to, from, (size_t)count * fc_dtype_bytes(dtype));
        return;
    }
    uint16_t *bits = fc_alloc((size_t)count, sizeof *bits);
    for (int64_t i = 0; i < count; i++) {
        bits[i] = fci_bf16_of(((const float *)from)[i]);
    }
    backend->upload(to, bits, (size_t)count * sizeof *bits);
    fc_free(&bits);
}

void fc_tape_write(fc_tape *tape, fc_tensor *t, const void *in)
{
    write_values(t->on_host ? fc_backend_cpu() : fc_tape_backend(tape), t->dtype, t->data, in,
                 fc_tensor_count(t));
}

double fc_tape_value(const fc_tape *tape, const fc_tensor *t)
{
    double value;
    float single;
    FC_ASSERT(fc_tensor_count(t) == 1);
    fc_tape_read(tape, t, t->dtype == FC_F64 ? (void *)&value : (void *)&single);
    return t->dtype == FC_F64 ? value : (double)single;
}

void fc_tape_seed(fc_tape *tape, fc_tensor *t, const void *grad)
{
    bool accumulate;
    void *to = fci_grad(tape, t, &accumulate);
    if (to == NULL || fc_tensor_count(t) == 0) { /* a rank without regions: grad may be NULL */
        return;
    }
    const fc_backend *backend = t->on_host ? fc_backend_cpu() : fc_tape_backend(tape);
    if (!accumulate) {
        write_values(backend, t->dtype, to, grad, fc_tensor_count(t));
        return;
    }
    FC_ASSERT(!t->on_host && t->params == NULL); /* one loss has one seed */
    fc_arena_mark mark = fc_arena_save(fci_tape_scratch(tape));
    void *more = fc_arena_alloc(fci_tape_scratch(tape), fc_tensor_bytes(t));
    write_values(backend, t->dtype, more, grad, fc_tensor_count(t));
    const fci_add_args args = {
        .count = fc_tensor_count(t), .x = more, .y = {.at = to, .add = true}};
    fci_tape_kernels(tape)->add_fwd(&args, fci_tape_scratch(tape));
    fc_arena_rewind(fci_tape_scratch(tape), mark);
}
