/* fc_gather_rows and fc_concat_rows. */
#include "tests/check.h"
#include "tests/op/grad.h"

#include <string.h>

static const int64_t INDEX[] = {4, 0, 4, 4, 2, 0};

static fc_tensor *gather(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_gather_rows(tape, in[0], INDEX, 6);
}

static fc_tensor *gather_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, fc_gather_rows(tape, in[0], INDEX, 6),
                          fc_gather_rows(tape, in[0], INDEX + 2, 3));
}

static fc_tensor *gather_none(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_gather_rows(tape, in[0], INDEX, 0);
}

static fc_tensor *concat(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, in[0], in[1]);
}

static fc_tensor *concat_with_itself(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, in[0], in[0]);
}

static fc_tensor *squares(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    fc_tensor *both = fc_concat_rows(tape, in[0], in[1]);
    return fc_linear(tape, both, both, NULL, NULL);
}

static void check_values(void)
{
    fc_tape *tape = fc_tape_create(FC_F32);
    const float values[6] = {1, 2, 3, 4, 5, 6};
    fc_tensor *x = fc_tape_matrix(tape, 3, 2, true), *none = fc_tape_matrix(tape, 0, 2, true);
    memcpy(x->data, values, sizeof values);
    const int64_t index[4] = {2, 2, 0, 2};
    fc_tensor *y = fc_gather_rows(tape, x, index, 4);
    FC_CHECK(memcmp(y->data, (const float[]){5, 6, 5, 6, 1, 2, 5, 6}, 8 * sizeof(float)) == 0);
    FC_CHECK(memcmp(fc_concat_rows(tape, none, x)->data, values, sizeof values) == 0);
    FC_CHECK(fc_concat_rows(tape, none, none)->rows == 0);
    fc_tape_seed(tape, y, (const float[]){1, 2, 3, 4, 5, 6, 7, 8});
    FC_CHECK_OK(fc_backward(tape, 1, &y, NULL));
    FC_CHECK(memcmp(x->grad, (const float[]){5, 6, 0, 0, 11, 14}, 6 * sizeof(float)) == 0);
    const int64_t wrong[2] = {0, 3};
    FC_CHECK(fc_gather_rows(tape, x, wrong, 2) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "gather_rows: index 1 is 3, x (3,2)");
    fc_tape_reset(tape);
    x = fc_tape_matrix(tape, 3, 2, false);
    FC_CHECK(fc_concat_rows(tape, x, fc_tape_matrix(tape, 3, 1, false)) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "concat_rows: a (3,2) does not fit b (3,1)");
    fc_tape_destroy(&tape);
}

int main(void)
{
    const fc_grad_case cases[] = {
        {"gather", 1, {{5, 7}}, .forward = gather},
        {"gather, wide", 1, {{5, 35}}, .forward = gather},
        {"gather, used twice", 1, {{5, 3}}, .forward = gather_twice},
        {"gather, none", 1, {{5, 3}}, .forward = gather_none},
        {"concat", 2, {{3, 5}, {4, 5}}, .forward = concat},
        {"concat, nothing and something", 2, {{0, 5}, {4, 5}}, .forward = concat},
        {"concat, something and nothing", 2, {{4, 5}, {0, 5}}, .forward = concat},
        {"concat with itself", 1, {{4, 5}}, .forward = concat_with_itself},
        {"x is weight as well", 2, {{4, 5}, {2, 5}}, .forward = squares},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fc_check_gradient(&cases[i]);
    }
    check_values();
    return fc_check_end();
}
