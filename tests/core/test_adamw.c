/* AdamW over a set of parameters against the formulas written out in double: which tensors decay,
 * which stay untouched or within bounds, the norm, clipping, and bias correction by how often each
 * tensor was updated. */
#include "core/adamw.h"
#include "core/rng.h"
#include "tests/check.h"

#include <math.h>
#include <string.h>

enum { STEPS = 7, MOST = 64 };

typedef struct row {
    const char *name; /* NULL: filler */
    int ndim;
    int64_t shape[4];
    bool decay, frozen;
    int missing; /* the step no gradient reaches it in; -1: none */
} row;

/* Names as towers have them: decay goes by number of dimensions and by what the name contains. */
static const row ROWS[] = {
    {"visual.conv1.weight", 4, {2, 3, 2, 2}, true, false, -1},
    {"visual.class_embedding", 1, {5}, false, false, -1},
    {"visual.cls_token", 3, {1, 1, 5}, true, false, 0},
    {NULL, 1, {3}, false, false, -1},
    {"visual.blocks.0.attn.inner_attn_ln.weight", 2, {2, 3}, false, false, 2},
    {"text.frozen.weight", 2, {4, 4}, true, true, -1},
    {"text.bn.table", 2, {3, 3}, false, false, -1},
    {"text.q_bias", 2, {1, 7}, false, false, -1},
    {"text_projection", 2, {4, 3}, true, false, 3},
    {"logit_scale", 0, {0}, false, false, -1},
};
enum { COUNT = sizeof ROWS / sizeof ROWS[0], BOUNDED = 8 };
static const double LEAST = -0.25, MOST_VALUE = 0.5;

typedef struct plain {
    double p[MOST], m[MOST], v[MOST];
    int updates;
} plain;

static double get(const void *base, fc_dtype dtype, int64_t i)
{
    return dtype == FC_F64 ? ((const double *)base)[i] : (double)((const float *)base)[i];
}

static void set(void *base, fc_dtype dtype, int64_t i, double value)
{
    if (dtype == FC_F64) {
        ((double *)base)[i] = value;
    } else {
        ((float *)base)[i] = (float)value;
    }
}

static fc_params *make_params(fc_dtype dtype, plain *want, fc_rng *rng)
{
    fc_params *p = fc_params_create(dtype);
    for (int i = 0; i < COUNT; i++) {
        const row *r = &ROWS[i];
        int at = r->name == NULL ? fc_params_add_filler(p, r->shape[0])
                                 : fc_params_add(p, r->name, r->ndim, r->shape);
        FC_CHECK_INT(at, i);
        if (r->name != NULL) {
            FC_CHECK(p->items[i].decay == r->decay);
        }
        if (r->frozen) {
            FC_CHECK_INT(fc_params_freeze(p, i, 1), 1);
        }
    }
    fc_params_bound(p, BOUNDED, LEAST, MOST_VALUE);
    fc_params_commit(p);
    for (int i = 0; i < COUNT; i++) {
        FC_CHECK(p->items[i].count <= MOST);
        for (int64_t k = 0; k < p->items[i].count; k++) {
            set(fc_param_data(p, i), dtype, k, ROWS[i].name == NULL ? 0 : fc_rng_normal(rng));
            want[i].p[k] = get(fc_param_data(p, i), dtype, k);
        }
    }
    return p;
}

/* METHOD.md section 6, element by element. */
static void plain_update(plain *w, const double *g, int64_t count, const fc_adamw_options *o,
                         double lr, bool decay, bool bounded)
{
    w->updates++;
    for (int64_t k = 0; k < count; k++) {
        w->p[k] -= decay ? lr * o->weight_decay * w->p[k] : 0;
        w->m[k] = o->beta1 * w->m[k] + (1 - o->beta1) * g[k];
        w->v[k] = o->beta2 * w->v[k] + (1 - o->beta2) * g[k] * g[k];
        double m = w->m[k] / (1 - pow(o->beta1, w->updates)),
               v = w->v[k] / (1 - pow(o->beta2, w->updates));
        w->p[k] -= lr * m / (sqrt(v) + o->eps);
        w->p[k] = bounded ? fmax(LEAST, fmin(MOST_VALUE, w->p[k])) : w->p[k];
    }
}

static void compare(const fc_params *p, const plain *want, double tolerance)
{
    for (int i = 0; i < COUNT; i++) {
        double got[MOST];
        for (int64_t k = 0; k < p->items[i].count; k++) {
            got[k] = get(fc_param_data(p, i), p->dtype, k);
        }
        double error = fc_check_max_abs(got, want[i].p, p->items[i].count);
        fc_check_true(error <= tolerance, __FILE__, __LINE__, "%s is off by %g",
                      ROWS[i].name != NULL ? ROWS[i].name : "filler", error);
    }
}

static void test_steps(fc_dtype dtype, double clip, double tolerance)
{
    static plain want[COUNT];
    memset(want, 0, sizeof want);
    fc_rng rng = fc_rng_stream(11, FC_RNG_TEST, 0, 0);
    fc_params *p = make_params(dtype, want, &rng);
    fc_comm *comm;
    FC_CHECK_OK(fc_comm_create_self(&comm));
    fc_adamw_options options = {
        .weight_decay = 0.3, .beta1 = 0.9, .beta2 = 0.97, .eps = 1e-6, .clip_grad_norm = clip};
    fc_adamw *a = fc_adamw_create(p, comm, &options);
    for (int step = 0; step < STEPS; step++) {
        double lr = 0.01 * (step + 1), square = 0, size = step == 4 ? 1e-3 : 1;
        static double g[COUNT][MOST];
        fc_params_zero_grad(p);
        for (int i = 0; i < COUNT; i++) {
            p->items[i].touched = ROWS[i].missing != step;
            bool counts = p->items[i].touched && p->items[i].trainable && p->items[i].name != NULL;
            for (int64_t k = 0; k < p->items[i].count && counts; k++) {
                set(fc_param_grad(p, i), dtype, k, size * fc_rng_normal(&rng));
                g[i][k] = get(fc_param_grad(p, i), dtype, k);
                square += g[i][k] * g[i][k];
            }
        }
        double norm = fc_adamw_grad_norm(a);
        FC_CHECK_NEAR(norm, sqrt(square), 1e-6 * sqrt(square));
        double scale = clip > 0 && norm > clip ? clip / norm : 1;
        FC_CHECK((scale < 1) == (clip > 0 && step != 4)); /* both sides of the limit are met */
        for (int i = 0; i < COUNT; i++) {
            if (p->items[i].touched && p->items[i].trainable && p->items[i].name != NULL) {
                for (int64_t k = 0; k < p->items[i].count; k++) {
                    g[i][k] *= scale;
                }
                plain_update(&want[i], g[i], p->items[i].count, &options, lr, ROWS[i].decay,
                             i == BOUNDED);
            }
        }
        FC_CHECK_OK(fc_adamw_step(a, lr, norm));
        compare(p, want, tolerance);
    }
    int at_bound[2] = {0, 0};
    for (int64_t k = 0; k < p->items[BOUNDED].count; k++) {
        const double value = get(fc_param_data(p, BOUNDED), dtype, k);
        at_bound[0] += value == LEAST;
        at_bound[1] += value == MOST_VALUE;
    }
    FC_CHECK(at_bound[0] > 0 && at_bound[1] > 0 &&
             at_bound[0] + at_bound[1] < p->items[BOUNDED].count);
    for (int i = 0; i < COUNT; i++) {
        FC_CHECK_INT(a->steps[i], want[i].updates);
        FC_CHECK_INT(want[i].updates, ROWS[i].name == NULL || ROWS[i].frozen ? 0
                                      : ROWS[i].missing >= 0                 ? STEPS - 1
                                                                             : STEPS);
    }
    fc_adamw_destroy(&a);
    fc_comm_destroy(&comm);
    fc_params_destroy(&p);
}

/* A value that is no number is not made one: what watches for it must see it. */
static void test_nan(void)
{
    static plain want[COUNT];
    fc_rng rng = fc_rng_stream(12, FC_RNG_TEST, 0, 0);
    fc_params *p = make_params(FC_F32, want, &rng);
    fc_comm *comm;
    FC_CHECK_OK(fc_comm_create_self(&comm));
    fc_adamw_options options = {.beta1 = 0.9, .beta2 = 0.97, .eps = 1e-6};
    fc_adamw *a = fc_adamw_create(p, comm, &options);
    fc_params_zero_grad(p);
    p->items[BOUNDED].touched = true;
    set(fc_param_grad(p, BOUNDED), FC_F32, 1, NAN);
    FC_CHECK_OK(fc_adamw_step(a, 0.01, 1));
    FC_CHECK(isnan(get(fc_param_data(p, BOUNDED), FC_F32, 1)));
    FC_CHECK(!isnan(get(fc_param_data(p, BOUNDED), FC_F32, 2)));
    fc_adamw_destroy(&a);
    fc_comm_destroy(&comm);
    fc_params_destroy(&p);
}

int main(void)
{
    test_nan();
    /* Clipping divides by norm + 1e-6, as is usual; AdamW hardly sees the scale of a gradient. */
    test_steps(FC_F64, 0, 1e-13);
    test_steps(FC_F64, 0.5, 1e-6);
    test_steps(FC_F32, 0, 2e-6);
    test_steps(FC_F32, 0.5, 2e-6);
    return fc_check_end();
}
