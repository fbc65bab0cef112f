/* The tape: ops run at once and record how to go back; fc_backward walks the record.
 *
 * Ops return tensors, not statuses. The first failure is kept on the tape, with the scope it
 * happened in, and later ops pass NULL through; the caller does one FC_TRY(fc_tape_status(tape))
 * per forward. Everything an op returns lives until fc_tape_reset. */
#ifndef FC_CORE_TAPE_H
#define FC_CORE_TAPE_H

#include "core/arena.h"
#include "core/kernel.h"
#include "core/param.h"
#include "core/profile.h"
#include "core/tensor.h"

typedef struct fc_tape fc_tape;

/* Bytes of step memory: the backend's for results of ops, their gradients, and what is needed
 * inside an op alone; the process's for headers and lists. */
typedef struct fc_tape_memory {
    size_t activations, gradients, scratch, host;
} fc_tape_memory;
typedef struct fc_relevance fc_relevance;

/** Tensors are of `dtype` in the backend's memory; their headers, the record and notes are the
 * process's. */
fc_tape *fc_tape_create_on(const fc_backend *backend, fc_dtype dtype);
/** On the CPU. */
static inline fc_tape *fc_tape_create(fc_dtype dtype)
{
    return fc_tape_create_on(fc_backend_cpu(), dtype);
}
const fc_backend *fc_tape_backend(const fc_tape *tape);
void fc_tape_destroy(fc_tape **tape);
fc_dtype fc_tape_dtype(const fc_tape *tape);
/** Drop the record and all its memory; the next step starts. Also clears a failure. */
void fc_tape_reset(fc_tape *tape);
fc_status fc_tape_status(const fc_tape *tape);

/** Off: ops compute and record nothing (evaluation). Returns the previous value. */
bool fc_tape_record(fc_tape *tape, bool on);
bool fc_tape_recording(const fc_tape *tape);

/** Name what runs now, as the parameters are named ("visual.blocks.3"); shown in errors. Pop what
 * was pushed. */
void fc_tape_push(fc_tape *tape, const char *fmt, ...) FC_PRINTF(2, 3);
void fc_tape_pop(fc_tape *tape);

/** Relevance to carry back through attention (core/op.h); NULL: none. Borrowed while it is set. */
void fc_tape_set_relevance(fc_tape *tape, fc_relevance *relevance);
fc_relevance *fc_tape_relevance(const fc_tape *tape);

/** Add the time of every kernel to a profile; NULL: stop. Borrowed while it is set. */
void fc_tape_set_profile(fc_tape *tape, fc_profile *profile);
fc_profile *fc_tape_profile(const fc_tape *tape);

/** New tensor in step memory, uninitialised. NULL after a failure. */
fc_tensor *fc_tape_tensor(fc_tape *tape, int ndim, const int64_t *shape, bool needs_grad);
static inline fc_tensor *fc_tape_matrix(fc_tape *tape, int64_t rows, int64_t cols, bool needs_grad)
{
    int64_t shape[2] = {rows, cols};
    return fc_tape_tensor(tape, 2, shape, needs_grad);
}
/** A scalar of the wide type that the process may read, its gradient as well: what a loss returns.
 */
fc_tensor *fc_tape_scalar(fc_tape *tape, double value, bool needs_grad);
/** Step memory of the process, for lists and notes. */
void *fc_tape_alloc(fc_tape *tape, size_t bytes);
/** A tensor's values in the process's memory, (count) of fc_dtype_wide; waits for them. */
void fc_tape_read(const fc_tape *tape, const fc_tensor *t, void *out);
/** The other way, rounded to the tensor's type. */
void fc_tape_write(fc_tape *tape, fc_tensor *t, const void *in);
/** The only value of a tensor; waits for it. */
double fc_tape_value(const fc_tape *tape, const fc_tensor *t);
/** The gradient of a scalar that fc_tape_scalar made. */
double fc_tape_grad_value(const fc_tensor *scalar);
/** The same data seen with other axes (same count). Gradients go to the original. */
fc_tensor *fc_reshape(fc_tape *tape, fc_tensor *x, int ndim, const int64_t *shape);

/** Walk back from `outputs`, whose gradients start as `seeds[i]` everywhere (scalars), or as what
 * fc_tape_seed put there where seeds is NULL. Afterwards leaves and parameters hold their gradients
 * (added to what was there). */
FC_NODISCARD fc_status fc_backward(fc_tape *tape, int count, fc_tensor *const *outputs,
                                   const double *seeds);
/** Set a tensor's gradient from the caller's array of the wide type (copied), for fc_backward with
 * seeds NULL. */
void fc_tape_seed(fc_tape *tape, fc_tensor *t, const void *grad);

/** A function from one tensor to one tensor, for segments. */
typedef fc_tensor *(*fc_segment_fn)(fc_tape *tape, void *ctx, fc_tensor *x);
/** Run fn on x. When nothing is recorded its temporaries are dropped at once. With `recompute` only
 * x and the result are kept, and fn runs again on the way back (activation checkpointing). ctx must
 * live until the tape is reset. */
fc_tensor *fc_segment(fc_tape *tape, fc_segment_fn fn, void *ctx, fc_tensor *x, bool recompute);

/** Floating point operations since the last call with reset: those of the model, forward and
 * backward, as ops count them (multiply-add = 2); segments that run again count once. */
double fc_tape_flops(fc_tape *tape, bool reset);
/** Peaks since creation. */
fc_tape_memory fc_tape_peaks(const fc_tape *tape);
/** Take so much step memory in one piece each, or give all back until more is needed. On a tape
 * that was reset. */
void fc_tape_reserve(fc_tape *tape, const fc_tape_memory *bytes);
void fc_tape_release(fc_tape *tape);

/* ---- For ops ---- */

typedef void (*fci_backward_fn)(fc_tape *tape, void *ctx);

/** Record how to go back: ctx of `bytes` zeroed bytes, to be filled by the op. NULL when nothing is
 * recorded (then the op is done). The inputs named are counted as uses of parameters. `output` gets
 * its gradient before backward is called; nodes whose output got none are skipped. */
void *fci_tape_node(fc_tape *tape, fci_backward_fn backward, size_t bytes, fc_tensor *output,
                    int inputs, fc_tensor *const *input);
/** True when recording and any of the inputs needs a gradient (NULL inputs do not). */
bool fci_needs_grad(const fc_tape *tape, int inputs, fc_tensor *const *input);
/** Gradient buffer of an input to write into. *accumulate: add to what is there, else overwrite all
 * of it. NULL when the tensor needs none. */
void *fci_grad(fc_tape *tape, fc_tensor *t, bool *accumulate);
/** Hand the finished gradient buffer of `from` on to `to` (same count) where `to` has none yet;
 * false: add it yourself. */
bool fci_grad_steal(fc_tape *tape, fc_tensor *to, fc_tensor *from);
/** Keep the tape's first failure; returns NULL for `return fci_tape_fail(...)`. */
void *fci_tape_fail(fc_tape *tape, fc_status code, const char *fmt, ...) FC_PRINTF(3, 4);
/** The tape's backend's memory, for statistics that kernels leave for the way back: `count` of the
 * wide type. Step memory. */
void *fci_tape_notes(fc_tape *tape, int64_t count);
/** `bytes` of the tape's backend's memory; step memory. */
void *fci_tape_room(fc_tape *tape, size_t bytes);
/** Copy an array of the process to where kernels can read it; step memory. */
void *fci_tape_copy(fc_tape *tape, const void *from, size_t bytes);
/** Scratch memory of the backend inside an op: save, alloc, restore. */
fc_arena *fci_tape_scratch(fc_tape *tape);
const fci_kernels *fci_tape_kernels(const fc_tape *tape);
void fci_tape_count(fc_tape *tape, double flops);
/** True while a segment runs again on the way back. */
bool fci_tape_replaying(const fc_tape *tape);

#endif
