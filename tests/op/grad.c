#include "tests/op/grad.h"

#include "core/memory.h"
#include "core/rng.h"
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <omp.h>

void fc_grad_random(uint64_t seed, uint64_t which, double *out, int64_t n)
{
    fc_rng rng = fc_rng_stream(seed, FC_RNG_TEST, which, 0);
    for (int64_t i = 0; i < n; i++) {
        out[i] = (double)(float)fc_rng_normal(&rng);
    }
}

static double get(const void *data, fc_dtype dtype, int64_t i)
{
    return dtype == FC_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void put(void *data, fc_dtype dtype, int64_t i, double value)
{
    if (dtype == FC_F64) {
        ((double *)data)[i] = value;
    } else {
        ((float *)data)[i] = (float)value;
    }
}

static double *copy_out(const void *data, fc_dtype dtype, int64_t n)
{
    double *out = fc_alloc((size_t)n + 1, sizeof *out);
    for (int64_t i = 0; data != NULL && i < n; i++) {
        out[i] = get(data, dtype, i);
    }
    return out;
}

/* A case set up for one type and seed; values can be changed between evaluations. */
typedef struct setup {
    const fc_grad_case *c;
    fc_tape *tape;
    fc_params *params;
    fc_tensor *in[2 * FC_GRAD_INPUTS];
    double *leaf[FC_GRAD_INPUTS];
    int64_t leaf_count[FC_GRAD_INPUTS];
} setup;

static void set_up(setup *s, const fc_grad_case *c, uint64_t seed, fc_dtype dtype)
{
    *s = (setup){.c = c, .tape = fc_tape_create(dtype), .params = fc_params_create(dtype)};
    for (int i = 0; i < c->leaves; i++) {
        s->leaf_count[i] = c->shape[i][0] * c->shape[i][1];
        s->leaf[i] = fc_alloc((size_t)s->leaf_count[i] + 1, sizeof(double));
        fc_grad_random(seed, (uint64_t)i, s->leaf[i], s->leaf_count[i]);
    }
    if (c->parameters != NULL) {
        FC_ASSERT(c->parameters(s->params, s->in + c->leaves) <= FC_GRAD_INPUTS);
    }
    fc_params_commit(s->params);
    double *values = fc_alloc((size_t)s->params->total + 1, sizeof *values);
    fc_grad_random(seed, 100, values, s->params->total);
    for (int64_t i = 0; i < s->params->total; i++) {
        put(s->params->data, dtype, i, values[i]);
    }
    fc_free(&values);
}

static void tear_down(setup *s)
{
    for (int i = 0; i < s->c->leaves; i++) {
        fc_free(&s->leaf[i]);
    }
    fc_params_destroy(&s->params);
    fc_tape_destroy(&s->tape);
}

static fc_tensor *evaluate(setup *s)
{
    fc_tape_reset(s->tape);
    for (int i = 0; i < s->c->leaves; i++) {
        s->in[i] = fc_tape_matrix(s->tape, s->c->shape[i][0], s->c->shape[i][1], true);
        for (int64_t k = 0; k < s->leaf_count[i]; k++) {
            put(s->in[i]->data, fc_tape_dtype(s->tape), k, s->leaf[i][k]);
        }
    }
    fc_tensor *y = s->c->forward(s->tape, s->in, s->c->ctx);
    FC_CHECK_OK(fc_tape_status(s->tape));
    FC_ASSERT(y != NULL);
    return y;
}

void fc_grad_run(const fc_grad_case *c, uint64_t seed, fc_dtype dtype, fc_grad_result *out)
{
    setup s;
    set_up(&s, c, seed, dtype);
    fc_params_zero_grad(s.params);
    fc_tensor *y = evaluate(&s);
    *out = (fc_grad_result){
        .leaves = c->leaves, .params_count = s.params->total, .y_count = fc_tensor_count(y)};
    out->dy = fc_alloc((size_t)out->y_count + 1, sizeof(double));
    fc_grad_random(seed, 200, out->dy, out->y_count);
    void *seeded = fc_alloc((size_t)out->y_count + 1, sizeof(double));
    for (int64_t i = 0; i < out->y_count; i++) {
        put(seeded, dtype, i, out->dy[i]);
    }
    out->y = copy_out(y->data, dtype, out->y_count);
    fc_tape_seed(s.tape, y, seeded);
    FC_CHECK_OK(fc_backward(s.tape, 1, &y, NULL));
    fc_free(&seeded);
    for (int i = 0; i < c->leaves; i++) {
        out->leaf_count[i] = s.leaf_count[i];
        out->leaf[i] = copy_out(s.leaf[i], FC_F64, s.leaf_count[i]);
        out->leaf_grad[i] = copy_out(s.in[i]->grad, dtype, s.leaf_count[i]);
    }
    out->params = copy_out(s.params->data, dtype, s.params->total);
    out->params_grad = copy_out(s.params->grad, dtype, s.params->total);
    tear_down(&s);
}

void fc_grad_result_fini(fc_grad_result *r)
{
    for (int i = 0; i < r->leaves; i++) {
        fc_free(&r->leaf[i]);
        fc_free(&r->leaf_grad[i]);
    }
    fc_free(&r->params);
    fc_free(&r->params_grad);
    fc_free(&r->y);
    fc_free(&r->dy);
}

static bool same(const double *a, const double *b, int64_t n)
{
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

bool fc_grad_same(const fc_grad_result *a, const fc_grad_result *b)
{
    bool ok = a->y_count == b->y_count && same(a->y, b->y, a->y_count) &&
              same(a->params_grad, b->params_grad, a->params_count);
    for (int i = 0; i < a->leaves; i++) {
        ok = ok && same(a->leaf_grad[i], b->leaf_grad[i], a->leaf_count[i]);
    }
    return ok;
}

/* <y, dy> with one value changed. Compensated summation: the difference of two of these is divided
 * by a small step. */
static double objective(setup *s, const double *dy)
{
    const fc_tensor *y = evaluate(s);
    double sum = 0, lost = 0;
    for (int64_t i = 0; i < fc_tensor_count(y); i++) {
        const double term = ((const double *)y->data)[i] * dy[i] - lost, next = sum + term;
        lost = (next - sum) - term;
        sum = next;
    }
    return sum;
}

static double slope(setup *s, const double *dy, double *value)
{
    const double x = *value, step = 1e-5 * fmax(1, fabs(x));
    *value = x + step;
    const double high = *value, up = objective(s, dy);
    *value = x - step;
    const double low = *value, down = objective(s, dy);
    *value = x;
    return (up - down) / (high - low);
}

static void compare_slopes(setup *s, const char *what, int index, const fc_grad_result *r,
                           double *values, const double *grad, int64_t n)
{
    if (n == 0) {
        return;
    }
    double *numeric = fc_alloc((size_t)n, sizeof *numeric);
    for (int64_t i = 0; i < n; i++) {
        numeric[i] = slope(s, r->dy, &values[i]);
    }
    const double error = fc_check_rel_l2(grad, numeric, n);
    fc_check_true(error <= 1e-7, __FILE__, __LINE__,
                  "%s: gradient of %s %d is off by %.3g (relative L2 over %lld values)", s->c->name,
                  what, index, error, (long long)n);
    fc_free(&numeric);
}

static void compare_float(const fc_grad_case *c, const fc_grad_result *r, uint64_t seed)
{
    const double tolerance = c->float_tolerance > 0 ? c->float_tolerance : 2e-6;
    fc_grad_result f;
    fc_grad_run(c, seed, FC_F32, &f);
    double worst = fc_check_rel_l2(f.y, r->y, r->y_count);
    worst = fmax(worst, fc_check_rel_l2(f.params_grad, r->params_grad, r->params_count));
    for (int i = 0; i < r->leaves; i++) {
        worst = fmax(worst, fc_check_rel_l2(f.leaf_grad[i], r->leaf_grad[i], r->leaf_count[i]));
    }
    fc_check_true(worst <= tolerance, __FILE__, __LINE__,
                  "%s: float is off double by %.3g, at most %.3g", c->name, worst, tolerance);
    fc_grad_result again;
    fc_grad_run(c, seed, FC_F32, &again);
    fc_check_true(fc_grad_same(&f, &again), __FILE__, __LINE__, "%s: two float runs differ",
                  c->name);
    fc_grad_result_fini(&again);
    fc_grad_result_fini(&f);
}

void fc_check_gradient(const fc_grad_case *c)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        const int threads = omp_get_max_threads();
        omp_set_num_threads(seed == 1 ? 1 : 3);
        fc_grad_result r, again;
        fc_grad_run(c, seed, FC_F64, &r);
        fc_grad_run(c, seed, FC_F64, &again);
        fc_check_true(fc_grad_same(&r, &again), __FILE__, __LINE__, "%s: two runs differ", c->name);
        compare_float(c, &r, seed);
        setup s;
        set_up(&s, c, seed, FC_F64);
        (void)fc_tape_record(s.tape, false);
        for (int i = 0; i < c->leaves; i++) {
            compare_slopes(&s, "leaf", i, &r, s.leaf[i], r.leaf_grad[i], s.leaf_count[i]);
        }
        compare_slopes(&s, "parameters", 0, &r, s.params->data, r.params_grad, s.params->total);
        tear_down(&s);
        fc_grad_result_fini(&again);
        fc_grad_result_fini(&r);
        omp_set_num_threads(threads);
    }
}
