/* fctest: np=1,2,4 timeout=60
 * Every loss term, every gather semantics: value and gradients in double against plain code over
 * the whole global batch and its central differences, with a different number of rows on every rank
 * (none on one of them). */
#include "core/memory.h"
#include "core/rng.h"
#include "launch/dist.h"
#include "losses/loss.h"
#include "tests/check.h"

#include <math.h>
#include <string.h>

enum { D = 6, MOST_RANKS = 4, MOST_ROWS = 16 };
static const int ROWS[MOST_RANKS] = {3, 0, 5, 2};

typedef struct batch {
    int ranks, rank, first, rows, total;
    double u[MOST_ROWS * D], v[MOST_ROWS * D], log_scale;
} batch;

static batch make_batch(void)
{
    batch b = {.ranks = fc_comm_size(fc_dist_comm()),
               .rank = fc_comm_rank(fc_dist_comm()),
               .log_scale = 1.3};
    for (int r = 0; r < b.ranks; r++) {
        b.first += r < b.rank ? ROWS[r] : 0;
        b.total += ROWS[r];
    }
    b.rows = ROWS[b.rank];
    fc_rng rng = fc_rng_stream(5, FC_RNG_TEST, 1, 0);
    for (int i = 0; i < b.total; i++) {
        for (int side = 0; side < 2; side++) {
            double *x = (side != 0 ? b.v : b.u) + i * D, norm = 0;
            for (int d = 0; d < D; d++) {
                x[d] = fc_rng_normal(&rng);
                norm += x[d] * x[d];
            }
            for (int d = 0; d < D; d++) {
                x[d] /= sqrt(norm);
            }
        }
    }
    return b;
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int d = 0; d < D; d++) {
        sum += a[d] * b[d];
    }
    return sum;
}

/* Mean over rows and columns [first, end) of the two cross-entropies, halved. */
static double contrastive(const batch *b, int first, int end)
{
    double s = exp(b->log_scale), loss = 0;
    for (int i = first; i < end; i++) {
        double row = 0, col = 0;
        for (int j = 0; j < b->total; j++) {
            row += exp(s * dot(b->u + i * D, b->v + j * D));
            col += exp(s * dot(b->u + j * D, b->v + i * D));
        }
        loss += (log(row) + log(col)) / 2 - s * dot(b->u + i * D, b->v + i * D);
    }
    return end > first ? loss / (end - first) : 0;
}

static double distillation(const batch *b, int first, int end)
{
    double sum = 0;
    for (int i = first; i < end; i++) {
        sum += 1 - dot(b->u + i * D, b->v + i * D);
    }
    return end > first ? sum / (end - first) : 0;
}

typedef double (*plain_loss)(const batch *b, int first, int end);

/* d plain / d *x by central differences. */
static double slope(plain_loss f, batch *b, double *x, int first, int end)
{
    double kept = *x, h = 1e-5;
    *x = kept + h;
    double up = f(b, first, end);
    *x = kept - h;
    double down = f(b, first, end);
    *x = kept;
    return (up - down) / (2 * h);
}

typedef struct outcome {
    double value, u[MOST_ROWS * D], v[MOST_ROWS * D], scale;
} outcome;

static outcome run(const batch *b, const char *name, const char *options, bool local, bool gather)
{
    outcome o = {0};
    fc_params *params = fc_params_create(FC_F64);
    (void)fc_params_add(params, "logit_scale", 0, NULL);
    fc_tensor *scale = fc_params_view(params, 0, 1, 0, 1);
    fc_params_commit(params);
    *(double *)scale->data = b->log_scale;
    fc_tape *tape = fc_tape_create(FC_F64);
    int64_t shape[2] = {b->rows, D}, captioned[MOST_ROWS];
    fc_tensor *u = fc_tape_tensor(tape, 2, shape, true), *v = fc_tape_tensor(tape, 2, shape, true);
    memcpy(u->data, b->u + b->first * D, (size_t)(b->rows * D) * sizeof(double));
    memcpy(v->data, b->v + b->first * D, (size_t)(b->rows * D) * sizeof(double));
    for (int i = 0; i < b->rows; i++) {
        captioned[i] = i;
    }
    const fc_loss_def *def = fc_loss_find(name);
    fc_loss_inputs in = {.comm = fc_dist_comm(),
                         .local_loss = local,
                         .gather_with_grad = gather,
                         .logit_scale = scale,
                         .image = u,
                         .text = v,
                         .box = u,
                         .crop = v,
                         .region_text = v,
                         .captioned = captioned,
                         .captioned_count = b->rows};
    if (strcmp(name, "region_contrastive") == 0) {
        in.text = NULL;
    }
    fc_yaml *yaml = NULL;
    fc_loss_options choice;
    if (options != NULL) {
        FC_CHECK_OK(fc_yaml_parse(&yaml, options, strlen(options), "test"));
    }
    FC_CHECK_OK(fc_loss_read_options(def, yaml, &choice));
    fc_yaml_destroy(&yaml);
    fc_tensor *loss = def->forward(tape, &in, &choice);
    double one = 1;
    if (FC_CHECK_OK(fc_tape_status(tape))) {
        FC_CHECK_OK(fc_backward(tape, 1, &loss, &one));
        o.value = *(double *)loss->data;
        size_t bytes = (size_t)(b->rows * D) * sizeof(double);
        if (u->grad != NULL) {
            memcpy(o.u, u->grad, bytes);
        }
        if (v->grad != NULL) {
            memcpy(o.v, v->grad, bytes);
        }
        o.scale = *(double *)scale->grad;
        FC_CHECK_OK(fc_comm_all_reduce(fc_dist_comm(), &o.scale, 1, FC_COMM_F64, FC_COMM_SUM));
    }
    fc_tape_destroy(&tape);
    fc_params_destroy(&params);
    return o;
}

/* first..end: the rows whose plain loss each rank differentiates; factor: what averaging leaves of
 * it. */
static void check_gradients(batch *b, const outcome *o, plain_loss f, int first, int end,
                            double factor, bool to_u, bool to_v)
{
    double u[MOST_ROWS * D], v[MOST_ROWS * D];
    for (int i = 0; i < b->rows * D; i++) {
        u[i] = to_u ? factor * slope(f, b, &b->u[b->first * D + i], first, end) : 0;
        v[i] = to_v ? factor * slope(f, b, &b->v[b->first * D + i], first, end) : 0;
    }
    FC_CHECK_NEAR(fc_check_max_abs(o->u, u, b->rows * D), 0, 1e-8);
    FC_CHECK_NEAR(fc_check_max_abs(o->v, v, b->rows * D), 0, 1e-8);
}

static double mean_over_ranks(const batch *b, plain_loss f)
{
    double sum = 0;
    for (int r = 0, first = 0; r < b->ranks; first += ROWS[r++]) {
        sum += f(b, first, first + ROWS[r]);
    }
    return sum / b->ranks;
}

static void test_contrastive(const char *name)
{
    batch b = make_batch();
    double whole = contrastive(&b, 0, b.total),
           scale = slope(contrastive, &b, &b.log_scale, 0, b.total);
    for (int local = 0; local < 2; local++) {
        outcome exact = run(&b, name, NULL, local != 0, true);
        FC_CHECK_NEAR(exact.value, whole, 1e-12);
        FC_CHECK_NEAR(exact.scale, scale, 1e-8);
        check_gradients(&b, &exact, contrastive, 0, b.total, 1, true, true);
    }
    outcome averaged = run(&b, name, NULL, false, false);
    FC_CHECK_NEAR(averaged.value, whole, 1e-12);
    FC_CHECK_NEAR(averaged.scale, scale, 1e-8);
    check_gradients(&b, &averaged, contrastive, 0, b.total, 1.0 / b.ranks, true, true);

    outcome own = run(&b, name, NULL, true, false);
    FC_CHECK_NEAR(own.value, mean_over_ranks(&b, contrastive), 1e-12);
    check_gradients(&b, &own, contrastive, b.first, b.first + b.rows, 1.0 / b.ranks, true, true);
    double own_scale = 0;
    for (int r = 0, first = 0; r < b.ranks; first += ROWS[r++]) {
        own_scale += slope(contrastive, &b, &b.log_scale, first, first + ROWS[r]) / b.ranks;
    }
    FC_CHECK_NEAR(own.scale, own_scale, 1e-8);
}

static void test_distillation(void)
{
    static const char *const options[] = {NULL, "stop_gradient: none", "stop_gradient: crops",
                                          "stop_gradient: regions"};
    batch b = make_batch();
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        bool to_box = i != 3, to_crop = i != 2;
        outcome o = run(&b, "self_distillation", options[i], true, true);
        FC_CHECK_NEAR(o.value, distillation(&b, 0, b.total), 1e-12);
        check_gradients(&b, &o, distillation, 0, b.total, 1, to_box, to_crop);
        o = run(&b, "self_distillation", options[i], false, false);
        FC_CHECK_NEAR(o.value, mean_over_ranks(&b, distillation), 1e-12);
        check_gradients(&b, &o, distillation, b.first, b.first + b.rows, 1.0 / b.ranks, to_box,
                        to_crop);
    }
}

int main(void)
{
    FC_CHECK_OK(fc_dist_start());
    test_contrastive("global_contrastive");
    test_contrastive("region_contrastive");
    test_distillation();
    int failed = fc_check_end();
    fc_dist_stop();
    return failed;
}
