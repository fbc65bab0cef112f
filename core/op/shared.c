#include "core/op/shared.h"

#include "core/clock.h"

#include <string.h>

bool fci_op_ready(fc_tape *tape, const char *op, int inputs, fc_tensor *const *input, unsigned wide)
{
    if (fc_tape_status(tape) != FC_OK) {
        return false;
    }
    for (int i = 0; i < inputs; i++) {
        const fc_dtype own = fc_tape_dtype(tape);
        const fc_dtype want = (wide >> i & 1U) != 0 ? fc_dtype_wide(own) : own;
        if (input[i] != NULL && (input[i]->dtype != want || input[i]->on_host)) {
            (void)fci_tape_fail(tape, FC_BUG, "%s: input %d is not of the tape's type", op, i);
            return false;
        }
    }
    return true;
}

void *fci_op_misfit(fc_tape *tape, const char *op, const char *a_name, const fc_tensor *a,
                    const char *b_name, const fc_tensor *b)
{
    return fci_tape_fail(tape, FC_BUG, "%s: %s (%lld,%lld) does not fit %s (%lld,%lld)", op, a_name,
                         (long long)a->rows, (long long)a->cols, b_name, (long long)b->rows,
                         (long long)b->cols);
}

fci_out fci_op_grad_in_place(fc_tape *tape, fc_tensor *x, fc_tensor *y)
{
    if (fci_grad_steal(tape, x, y)) {
        return (fci_out){.at = x->grad};
    }
    return fci_op_grad(tape, x);
}

void fci_op_pass_grad(fc_tape *tape, fc_tensor *x, fc_tensor *y)
{
    const void *dy = y->grad;
    if (fci_grad_steal(tape, x, y)) {
        return;
    }
    fci_add_args args = {.count = fc_tensor_count(y), .x = dy, .y = fci_op_grad(tape, x)};
    FCI_RUN(tape, add_fwd, &args);
}

double fci_op_begun(const fc_tape *tape)
{
    if (fc_tape_profile(tape) == NULL) {
        return 0;
    }
    fc_tape_backend(tape)->synchronize();
    return fc_clock_seconds();
}

void fci_op_ended(const fc_tape *tape, const char *kernel, double begun)
{
    fc_profile *p = fc_tape_profile(tape);
    if (p == NULL) {
        return;
    }
    fc_tape_backend(tape)->synchronize();
    int i = 0;
    while (i < p->count && strcmp(p->row[i].kernel, kernel) != 0) {
        i++;
    }
    FC_ASSERT(i < FC_PROFILE_KERNELS);
    p->count = i == p->count ? i + 1 : p->count;
    p->row[i].kernel = kernel;
    p->row[i].seconds += fc_clock_seconds() - begun;
    p->row[i].calls++;
}
