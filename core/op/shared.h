/* What every op does around its kernel. */
#ifndef FC_CORE_OP_SHARED_H
#define FC_CORE_OP_SHARED_H

#include "core/activity.h"
#include "core/kernel.h"
#include "core/op.h"

/** Around a kernel: its time goes into the tape's profile, where there is one. */
double fci_op_begun(const fc_tape *tape);
void fci_op_ended(const fc_tape *tape, const char *kernel, double begun);

/** Run one kernel of the tape's table and give its scratch back. */
#define FCI_RUN(tape, kernel, args)                                                                \
    do {                                                                                           \
        fc_arena *scratch_ = fci_tape_scratch(tape);                                               \
        const fc_arena_mark mark_ = fc_arena_save(scratch_);                                       \
        fci_activity_kernel = #kernel;                                                             \
        const double begun_ = fci_op_begun(tape);                                                  \
        fci_tape_kernels(tape)->kernel((args), scratch_);                                          \
        fci_op_ended(tape, #kernel, begun_);                                                       \
        fci_activity_kernel = NULL;                                                                \
        fc_arena_rewind(scratch_, mark_);                                                          \
    } while (0)

/** False when the op has nothing to do: an earlier failure, which also shows as an input that is
 * NULL, or inputs of another type than the tape's, which becomes the tape's failure. Those whose
 * bits are set in `wide` are of the wide type. */
bool fci_op_ready(fc_tape *tape, const char *op, int inputs, fc_tensor *const *input,
                  unsigned wide);
/** Keep "op: a (r,c) does not fit b (r,c)" as the tape's failure; returns NULL. */
void *fci_op_misfit(fc_tape *tape, const char *op, const char *a_name, const fc_tensor *a,
                    const char *b_name, const fc_tensor *b);

/** fci_grad as kernels take it. */
static inline fci_out fci_op_grad(fc_tape *tape, fc_tensor *t)
{
    fci_out out;
    out.at = fci_grad(tape, t, &out.add);
    return out;
}
/** As fci_op_grad for an op that may write x's gradient over that of y, of the same count: where x
 * has none yet it takes y's buffer. Read y->grad before. */
fci_out fci_op_grad_in_place(fc_tape *tape, fc_tensor *x, fc_tensor *y);
/** Hand y's gradient on to x as it is: the buffer, or its sum with what x has. The last thing an op
 * does with y->grad. */
void fci_op_pass_grad(fc_tape *tape, fc_tensor *x, fc_tensor *y);

#endif
