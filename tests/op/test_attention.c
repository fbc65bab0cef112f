/* fc_attention and fc_attention_cross: central differences on short sequences, plain loops forward
 * and back on lengths around tile borders. */
#include "core/memory.h"
#include "tests/check.h"
#include "tests/op/grad.h"

#include <math.h>
#include <string.h>

#include <omp.h>

enum { TABLE_ROWS = 320, MAX_HALF = 8 };

/* Angles without structure, so that a wrong row or channel shows. */
static struct {
    double cos64[TABLE_ROWS * MAX_HALF], sin64[TABLE_ROWS * MAX_HALF];
    float cos32[TABLE_ROWS * MAX_HALF], sin32[TABLE_ROWS * MAX_HALF];
} rope;

static void fill_rope(void)
{
    for (int i = 0; i < TABLE_ROWS * MAX_HALF; i++) {
        const double angle = fmod(i * 0.7390851, 6.2831853);
        rope.cos32[i] = (float)cos(angle);
        rope.sin32[i] = (float)sin(angle);
        rope.cos64[i] = (double)rope.cos32[i];
        rope.sin64[i] = (double)rope.sin32[i];
    }
}

typedef struct layout {
    int heads;
    int64_t sequences;
    const int64_t *q_offsets, *k_offsets;
    bool causal, rotated, shared_kv;
} layout;

static fc_attention_spec spec_of(const layout *l, fc_dtype dtype)
{
    fc_attention_spec spec = {.heads = l->heads,
                              .sequences = l->sequences,
                              .q_offsets = l->q_offsets,
                              .k_offsets = l->k_offsets,
                              .causal = l->causal};
    if (l->rotated) {
        spec.rope_cos = dtype == FC_F64 ? (const void *)rope.cos64 : rope.cos32;
        spec.rope_sin = dtype == FC_F64 ? (const void *)rope.sin64 : rope.sin32;
    }
    return spec;
}

static fc_tensor *self(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    const fc_attention_spec spec = spec_of(ctx, fc_tape_dtype(tape));
    return fc_attention(tape, in[0], &spec);
}

static fc_tensor *self_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    return fc_concat_rows(tape, self(tape, in, ctx), self(tape, in, ctx));
}

static fc_tensor *cross(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    const layout *l = ctx;
    const fc_attention_spec spec = spec_of(l, fc_tape_dtype(tape));
    return fc_attention_cross(tape, in[0], in[1], l->shared_kv ? in[1] : in[2], &spec);
}

static fc_tensor *cross_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    return fc_concat_rows(tape, cross(tape, in, ctx), cross(tape, in, ctx));
}

/* ---- Plain reference: q (Tq,D), k and v (T,D); all gradients ---- */

typedef struct plain {
    double *q, *k, *v, *dy; /* in */
    double *y, *dq, *dk, *dv;
} plain;

static void rotate(double *x, int64_t row, int64_t width, bool back)
{
    for (int64_t j = 0; row > 0 && j < width / 2; j++) {
        const int64_t at = (row - 1) * (width / 2) + j;
        const double c = rope.cos64[at], s = back ? -rope.sin64[at] : rope.sin64[at];
        const double a = x[2 * j], b = x[2 * j + 1];
        x[2 * j] = a * c - b * s;
        x[2 * j + 1] = b * c + a * s;
    }
}

static void rotate_all(double *x, const int64_t *offsets, const layout *l, int64_t width, bool back)
{
    for (int64_t s = 0; s < l->sequences; s++) {
        for (int64_t r = offsets[s]; r < offsets[s + 1]; r++) {
            for (int h = 0; h < l->heads; h++) {
                rotate(x + (r * l->heads + h) * width, r - offsets[s], width, back);
            }
        }
    }
}

static void plain_row(plain *p, const layout *l, int64_t width, int64_t q_row, int64_t k_first,
                      int64_t keys, int h)
{
    const int64_t d = width * l->heads, at = q_row * d + h * width;
    double *weights = fc_alloc((size_t)keys + 1, sizeof *weights), sum = 0, delta = 0;
    for (int64_t i = 0; i < keys; i++) {
        double score = 0;
        for (int64_t j = 0; j < width; j++) {
            score += p->q[at + j] * p->k[(k_first + i) * d + h * width + j];
        }
        weights[i] = exp(score / sqrt((double)width));
        sum += weights[i];
    }
    for (int64_t i = 0; i < keys; i++) {
        weights[i] /= sum;
        for (int64_t j = 0; j < width; j++) {
            p->y[at + j] += weights[i] * p->v[(k_first + i) * d + h * width + j];
        }
    }
    for (int64_t j = 0; j < width; j++) {
        delta += p->y[at + j] * p->dy[at + j];
    }
    for (int64_t i = 0; i < keys; i++) {
        const int64_t k_at = (k_first + i) * d + h * width;
        double slope = -delta;
        for (int64_t j = 0; j < width; j++) {
            slope += p->dy[at + j] * p->v[k_at + j];
            p->dv[k_at + j] += weights[i] * p->dy[at + j];
        }
        slope *= weights[i] / sqrt((double)width);
        for (int64_t j = 0; j < width; j++) {
            p->dq[at + j] += slope * p->k[k_at + j];
            p->dk[k_at + j] += slope * p->q[at + j];
        }
    }
    fc_free(&weights);
}

static void plain_run(plain *p, const layout *l, int64_t width, bool is_cross)
{
    const int64_t *k_offsets = l->k_offsets != NULL ? l->k_offsets : l->q_offsets;
    if (l->rotated) {
        rotate_all(p->k, k_offsets, l, width, false);
        if (!is_cross) {
            rotate_all(p->q, l->q_offsets, l, width, false);
        }
    }
    for (int64_t s = 0; s < l->sequences; s++) {
        const int64_t keys = k_offsets[s + 1] - k_offsets[s];
        for (int64_t r = l->q_offsets[s]; r < l->q_offsets[s + 1]; r++) {
            const int64_t below = r - l->q_offsets[s] + 1;
            for (int h = 0; h < l->heads; h++) {
                plain_row(p, l, width, r, k_offsets[s], l->causal && below < keys ? below : keys,
                          h);
            }
        }
    }
    if (l->rotated) {
        rotate_all(p->dk, k_offsets, l, width, true);
        if (!is_cross) {
            rotate_all(p->dq, l->q_offsets, l, width, true);
        }
    }
}

static double *zeros(int64_t n)
{
    return fc_alloc((size_t)n + 1, sizeof(double));
}

static plain plain_alloc(int64_t q_count, int64_t k_count)
{
    return (plain){.q = zeros(q_count),
                   .k = zeros(k_count),
                   .v = zeros(k_count),
                   .dy = zeros(q_count),
                   .y = zeros(q_count),
                   .dq = zeros(q_count),
                   .dk = zeros(k_count),
                   .dv = zeros(k_count)};
}

static void plain_free(plain *p)
{
    fc_free(&p->q);
    fc_free(&p->k);
    fc_free(&p->v);
    fc_free(&p->dy);
    fc_free(&p->y);
    fc_free(&p->dq);
    fc_free(&p->dk);
    fc_free(&p->dv);
}

/* Copy part `part` of a (T,3D) array out of it or into it. */
static void fused_copy(double *fused, double *apart, int64_t rows, int64_t d, int part, bool out)
{
    for (int64_t i = 0; i < rows; i++) {
        double *f = fused + i * 3 * d + part * d, *a = apart + i * d;
        memcpy(out ? a : f, out ? f : a, (size_t)d * sizeof *a);
    }
}

static void compare(const char *what, fc_dtype dtype, const double *got, const double *want,
                    int64_t n)
{
    const double error = fc_check_rel_l2(got, want, n);
    const double tolerance = dtype == FC_F64 ? 1e-13 : 3e-6;
    fc_check_true(error <= tolerance, __FILE__, __LINE__, "%s in %s is off by %.3g, at most %g",
                  what, dtype == FC_F64 ? "double" : "float", error, tolerance);
}

static void check_self_values(const layout *l, int64_t width, fc_dtype dtype)
{
    const int64_t rows = l->q_offsets[l->sequences], d = width * l->heads;
    const fc_grad_case c = {.name = "self attention values",
                            .leaves = 1,
                            .shape = {{rows, 3 * d}},
                            .forward = self,
                            .ctx = l};
    fc_grad_result r;
    fc_grad_run(&c, 5, dtype, &r);
    plain p = plain_alloc(rows * d, rows * d);
    fused_copy(r.leaf[0], p.q, rows, d, 0, true);
    fused_copy(r.leaf[0], p.k, rows, d, 1, true);
    fused_copy(r.leaf[0], p.v, rows, d, 2, true);
    memcpy(p.dy, r.dy, (size_t)(rows * d) * sizeof(double));
    plain_run(&p, l, width, false);
    double *grad = zeros(rows * 3 * d);
    fused_copy(grad, p.dq, rows, d, 0, false);
    fused_copy(grad, p.dk, rows, d, 1, false);
    fused_copy(grad, p.dv, rows, d, 2, false);
    compare("self attention", dtype, r.y, p.y, rows * d);
    compare("self attention's gradient", dtype, r.leaf_grad[0], grad, rows * 3 * d);
    fc_grad_result again;
    fc_grad_run(&c, 5, dtype, &again);
    FC_CHECK(fc_grad_same(&r, &again));
    fc_free(&grad);
    plain_free(&p);
    fc_grad_result_fini(&again);
    fc_grad_result_fini(&r);
}

static void check_cross_values(const layout *l, int64_t width, fc_dtype dtype)
{
    const int64_t rows = l->q_offsets[l->sequences], d = width * l->heads;
    const int64_t keys = l->k_offsets[l->sequences];
    const fc_grad_case c = {.name = "cross attention values",
                            .leaves = 3,
                            .shape = {{rows, d}, {keys, d}, {keys, d}},
                            .forward = cross,
                            .ctx = l};
    fc_grad_result r;
    fc_grad_run(&c, 6, dtype, &r);
    plain p = plain_alloc(rows * d, keys * d);
    memcpy(p.q, r.leaf[0], (size_t)(rows * d) * sizeof(double));
    memcpy(p.k, r.leaf[1], (size_t)(keys * d) * sizeof(double));
    memcpy(p.v, r.leaf[2], (size_t)(keys * d) * sizeof(double));
    memcpy(p.dy, r.dy, (size_t)(rows * d) * sizeof(double));
    plain_run(&p, l, width, true);
    compare("cross attention", dtype, r.y, p.y, rows * d);
    compare("cross attention's dq", dtype, r.leaf_grad[0], p.dq, rows * d);
    compare("cross attention's dk", dtype, r.leaf_grad[1], p.dk, keys * d);
    compare("cross attention's dv", dtype, r.leaf_grad[2], p.dv, keys * d);
    plain_free(&p);
    fc_grad_result_fini(&r);
}

static void check_values(void)
{
    static const int64_t offsets[] = {0, 1, 8, 135, 263, 263, 392, 692};
    static const int64_t one_each[] = {0, 1, 2, 3, 4, 4, 5, 6};
    static const int64_t some[] = {0, 2, 2, 132, 135, 137, 140, 141};
    for (int flags = 0; flags < 4; flags++) {
        const layout l = {2, 7, offsets, NULL, flags & 1, flags & 2, false};
        check_self_values(&l, 16, FC_F64);
        check_self_values(&l, 16, FC_F32);
        const layout odd = {1, 7, offsets, NULL, flags & 1, false, false};
        check_self_values(&odd, 5, FC_F32);
        const layout classes = {2, 7, one_each, offsets, false, flags & 2, false};
        check_cross_values(&classes, 16, FC_F64);
        check_cross_values(&classes, 16, FC_F32);
        const layout several = {1, 7, some, offsets, flags & 1, flags & 2, false};
        check_cross_values(&several, 6, FC_F64);
    }
}

/* Large scores neither overflow nor lose the sum. */
static void check_large_scores(void)
{
    fc_tape *tape = fc_tape_create(FC_F32);
    fc_tensor *qkv = fc_tape_matrix(tape, 3, 12, false);
    const float rows[3][12] = {{300, 0, 0, 0, 300, 0, 0, 0, 1, 2, 3, 4},
                               {-300, 0, 0, 0, -300, 0, 0, 0, 5, 6, 7, 8},
                               {0, 0, 0, 0, 0, 0, 0, 0, 9, 10, 11, 12}};
    memcpy(qkv->data, rows, sizeof rows);
    const int64_t offsets[2] = {0, 3};
    const fc_attention_spec spec = {.heads = 1, .sequences = 1, .q_offsets = offsets};
    const float *y = fc_attention(tape, qkv, &spec)->data;
    FC_CHECK_NEAR(y[0], 1, 0);
    FC_CHECK_NEAR(y[4], 5, 0);
    FC_CHECK_NEAR(y[8], 5, 1e-6);
    ((float *)qkv->data)[5] = NAN; /* must reach every query of the sequence */
    y = fc_attention(tape, qkv, &spec)->data;
    FC_CHECK(isnan(y[0]) && isnan(y[5]) && isnan(y[11]));
    fc_tape_destroy(&tape);
}

static void check_cost_and_failures(void)
{
    fc_tape *tape = fc_tape_create(FC_F32);
    const int64_t offsets[3] = {0, 2, 5}, gap[3] = {0, 2, 4};
    fc_attention_spec spec = {.heads = 2, .sequences = 2, .q_offsets = offsets};
    fc_tensor *qkv = fc_tape_matrix(tape, 5, 24, true);
    memset(qkv->data, 0, 5 * 24 * sizeof(float));
    fc_tensor *y = fc_attention(tape, qkv, &spec);
    const double forward = 4.0 * (2 * 2 + 3 * 3) * 8;
    double flops = fc_tape_flops(tape, true);
    FC_CHECK_NEAR(flops, forward, 0);
    float seed[40] = {0};
    fc_tape_seed(tape, y, seed);
    FC_CHECK_OK(fc_backward(tape, 1, &y, NULL));
    flops = fc_tape_flops(tape, true);
    FC_CHECK_NEAR(flops, 2.5 * forward, 0);
    spec.q_offsets = gap;
    FC_CHECK(fc_attention(tape, qkv, &spec) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "attention: offsets of 2 sequences");
    fc_tape_reset(tape);
    spec = (fc_attention_spec){.heads = 3, .sequences = 2, .q_offsets = offsets};
    FC_CHECK(fc_attention(tape, fc_tape_matrix(tape, 5, 24, false), &spec) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "attention: 3 heads do not fit a width of 8");
    fc_tape_destroy(&tape);
}

int main(void)
{
    static const int64_t offsets[] = {0, 1, 4, 4, 9}, one_each[] = {0, 1, 2, 2, 3};
    static const int64_t some[] = {0, 2, 5, 5, 6}, nothing[] = {0};
    static const layout plain_self = {2, 4, offsets, NULL, false, false, false};
    static const layout causal = {2, 4, offsets, NULL, true, false, false};
    static const layout rotated = {2, 4, offsets, NULL, false, true, false};
    static const layout both = {1, 4, offsets, NULL, true, true, false};
    static const layout empty = {2, 0, nothing, nothing, false, false, false};
    static const layout classes = {2, 4, one_each, offsets, false, true, false};
    static const layout several = {2, 4, some, offsets, false, false, false};
    static const layout shared = {2, 4, some, offsets, false, true, true};
    const fc_grad_case cases[] = {
        {"self", 1, {{9, 18}}, .forward = self, .ctx = &plain_self},
        {"self, causal", 1, {{9, 18}}, .forward = self, .ctx = &causal},
        {"self, rotated", 1, {{9, 24}}, .forward = self, .ctx = &rotated},
        {"self, causal, rotated", 1, {{9, 12}}, .forward = self, .ctx = &both},
        {"self, used twice", 1, {{9, 24}}, .forward = self_twice, .ctx = &rotated},
        {"self, nothing", 1, {{0, 24}}, .forward = self, .ctx = &empty},
        {"cross, classes", 3, {{3, 8}, {9, 8}, {9, 8}}, .forward = cross, .ctx = &classes},
        {"cross, several", 3, {{6, 6}, {9, 6}, {9, 6}}, .forward = cross, .ctx = &several},
        {"cross, used twice", 3, {{6, 6}, {9, 6}, {9, 6}}, .forward = cross_twice, .ctx = &several},
        {"cross, k is v", 2, {{6, 8}, {9, 8}}, .forward = cross_twice, .ctx = &shared},
        {"cross, k is v, once", 2, {{6, 8}, {9, 8}}, .forward = cross, .ctx = &shared},
        {"cross, nothing", 3, {{0, 8}, {0, 8}, {0, 8}}, .forward = cross, .ctx = &empty},
    };
    fill_rope();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fc_check_gradient(&cases[i]);
    }
    omp_set_num_threads(2);
    check_values();
    check_large_scores();
    check_cost_and_failures();
    return fc_check_end();
}
