/* The checkers reject NaN, all-zero and 1.01 times wrong data, and accept what is right. A failure
 * of theirs is expected here, so they run in a child whose exit status tells. */
#include "core/memory.h"
#include "tests/check.h"
#include "tests/op/grad.h"

#include <math.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 12 };

typedef enum { RIGHT, ZERO, NOT_A_NUMBER, SCALED, KINDS } kind;
static const char *const NAMES[KINDS] = {"right", "all zero", "NaN", "1.01 times wrong"};

static double spoil(kind k, double value, int at)
{
    switch (k) {
    case ZERO:
        return 0;
    case NOT_A_NUMBER:
        return at == 3 ? NAN : value;
    case SCALED:
        return 1.01 * value;
    default:
        return value;
    }
}

/* A gelu whose way back is spoiled through the op it is followed by: y = gelu(x) forward, but the
 * gradient of another function. */
typedef struct spoiled_ctx {
    fc_tensor *x, *y;
    kind how;
} spoiled_ctx;

static void spoiled_backward(fc_tape *tape, void *ctx)
{
    const spoiled_ctx *c = ctx;
    bool accumulate;
    void *to = fci_grad(tape, c->x, &accumulate);
    for (int64_t i = 0; i < fc_tensor_count(c->x); i++) {
        if (fc_tape_dtype(tape) == FC_F64) {
            const double *x = c->x->data, *dy = c->y->grad;
            ((double *)to)[i] = spoil(c->how, 2 * x[i] * dy[i], (int)i);
        } else {
            const float *x = c->x->data, *dy = c->y->grad;
            ((float *)to)[i] = (float)spoil(c->how, 2 * (double)x[i] * (double)dy[i], (int)i);
        }
    }
}

static fc_tensor *spoiled_square(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    fc_tensor *x = in[0], *y = fc_tape_matrix(tape, x->rows, x->cols, true);
    for (int64_t i = 0; i < fc_tensor_count(x); i++) {
        if (fc_tape_dtype(tape) == FC_F64) {
            const double v = ((const double *)x->data)[i];
            ((double *)y->data)[i] = v * v;
        } else {
            const float v = ((const float *)x->data)[i];
            ((float *)y->data)[i] = v * v;
        }
    }
    spoiled_ctx *c = fci_tape_node(tape, spoiled_backward, sizeof *c, y, 1, in);
    if (c != NULL) {
        *c = (spoiled_ctx){x, y, *(const kind *)ctx};
    }
    return y;
}

static void gradient(kind k)
{
    const fc_grad_case c = {
        .name = "spoiled", .leaves = 1, .shape = {{3, 4}}, .forward = spoiled_square, .ctx = &k};
    fc_check_gradient(&c);
}

static void fill(kind k, double *got, double *want)
{
    for (int i = 0; i < N; i++) {
        want[i] = 1 + 0.25 * i;
        got[i] = spoil(k, want[i], i);
    }
}

static void near(kind k)
{
    double got[N], want[N];
    fill(k, got, want);
    FC_CHECK_NEAR(got[3], want[3], 1e-3);
}

static void relative(kind k)
{
    double got[N], want[N];
    fill(k, got, want);
    FC_CHECK_NEAR(fc_check_rel_l2(got, want, N), 0, 1e-3);
}

static void relative_float(kind k)
{
    double got[N], want[N];
    float got32[N], want32[N];
    fill(k, got, want);
    for (int i = 0; i < N; i++) {
        got32[i] = (float)got[i];
        want32[i] = (float)want[i];
    }
    FC_CHECK_NEAR(fc_check_rel_l2f(got32, want32, N), 0, 1e-3);
}

static void largest(kind k)
{
    double got[N], want[N];
    fill(k, got, want);
    FC_CHECK_NEAR(fc_check_max_abs(got, want, N), 0, 1e-3);
}

/* NaN on the other side. */
static void wanted(kind k)
{
    double got[N], want[N];
    fill(k, want, got);
    FC_CHECK_NEAR(fc_check_rel_l2(got, want, N), 0, 1e-3);
    FC_CHECK_NEAR(fc_check_max_abs(got, want, N), 0, 1e-3);
    FC_CHECK_NEAR(got[3], want[3], 1e-3);
}

static void nothing(kind k)
{
    if (k == RIGHT) {
        FC_CHECK(true);
    }
}

/* Exit status of a program that ran this check and nothing else. */
static int run_apart(void (*check)(kind), kind k)
{
    const pid_t child = fork();
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        (void)!freopen("/dev/null", "w", stdout);
        check(k);
        _exit(fc_check_end());
    }
    int status = -1;
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void)
{
    static const struct {
        const char *name;
        void (*check)(kind);
    } all[] = {{"near", near},
               {"relative L2", relative},
               {"relative L2 of floats", relative_float},
               {"largest difference", largest},
               {"wanted side", wanted},
               {"gradient", gradient},
               {"no check at all", nothing}};
    int status[sizeof all / sizeof *all][KINDS];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int k = 0; k < KINDS; k++) { /* before anything is checked in this process */
            status[i][k] = run_apart(all[i].check, (kind)k);
        }
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int k = 0; k < KINDS; k++) {
            const int want = k == RIGHT ? 0 : 1;
            fc_check_true(status[i][k] == want, __FILE__, __LINE__,
                          "checker '%s' on data that is %s ended with %d, want %d", all[i].name,
                          NAMES[k], status[i][k], want);
        }
    }
    return fc_check_end();
}
