/* Gradient checks of anything made of ops.
 *
 * A case is a function from leaves and views of parameters to one tensor. Its gradient for a random
 * cotangent is compared with central differences in double (step 1e-5 max(1, |x|), relative L2 at
 * most 1e-7, every input on its own), for two seeds, the second with three threads. Two runs must
 * agree bit for bit, and a run in float with the one in double. */
#ifndef FC_TESTS_OP_GRAD_H
#define FC_TESTS_OP_GRAD_H

#include "core/op.h"

enum { FC_GRAD_INPUTS = 8 };

typedef struct fc_grad_case {
    const char *name;
    int leaves;
    int64_t shape[FC_GRAD_INPUTS][2]; /* rows, columns */
    /* Add parameters and make views of them; returns how many. NULL: none. */
    int (*parameters)(fc_params *params, fc_tensor **views);
    /* in: the leaves, then the views. */
    fc_tensor *(*forward)(fc_tape *tape, fc_tensor *const *in, const void *ctx);
    const void *ctx;
    double float_tolerance; /* relative L2 of float against double; 0: 2e-6 */
} fc_grad_case;

void fc_check_gradient(const fc_grad_case *c);

/** The case's output in double for one seed, with the inputs and parameters (flat) it came from;
 * free everything with fc_grad_result_fini. For checks against plain code. */
typedef struct fc_grad_result {
    int leaves;
    double *leaf[FC_GRAD_INPUTS], *leaf_grad[FC_GRAD_INPUTS];
    int64_t leaf_count[FC_GRAD_INPUTS];
    double *params, *params_grad; /* as fc_params holds them */
    int64_t params_count;
    double *y, *dy;
    int64_t y_count;
} fc_grad_result;

void fc_grad_run(const fc_grad_case *c, uint64_t seed, fc_dtype dtype, fc_grad_result *out);
void fc_grad_result_fini(fc_grad_result *r);
/** True when outputs and gradients agree bit for bit. */
bool fc_grad_same(const fc_grad_result *a, const fc_grad_result *b);

/** n standard normal numbers, rounded to float; stream `which` of the seed. */
void fc_grad_random(uint64_t seed, uint64_t which, double *out, int64_t n);

#endif
