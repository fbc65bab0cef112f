/* fctest: np=1,2,4 timeout=60
 * The terms of compared methods (regionclip, clipself): hand-worked values, then value and
 * gradients in double against plain code over the whole global batch and its central differences,
 * with a different number of regions on every rank (none on one of them), some without a concept;
 * and that the concepts that compete do not depend on ranks. */
#include "core/memory.h"
#include "core/rng.h"
#include "launch/dist.h"
#include "losses/loss.h"
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { D = 6, MOST_RANKS = 4, MOST_ROWS = 16, K = 9 };
static const int ROWS[MOST_RANKS] = {3, 0, 5, 2};
static const int32_t CONCEPT[MOST_ROWS] = {4, -1, 0, 4, 7, -1, 8, 0, 2, 4};

typedef struct batch {
    int ranks, rank, first, rows, total, width;
    double box[MOST_ROWS * D], teacher[MOST_ROWS * D], concepts[K * D], log_scale;
    const int32_t *concept;
    int64_t classes, step, kinds; /* option; step; K */
    bool competes[K];
} batch;

static void unit_rows(fc_rng *rng, double *x, int rows)
{
    for (int i = 0; i < rows; i++) {
        double norm = 0;
        for (int d = 0; d < D; d++) {
            x[i * D + d] = fc_rng_normal(rng);
            norm += x[i * D + d] * x[i * D + d];
        }
        for (int d = 0; d < D; d++) {
            x[i * D + d] /= sqrt(norm);
        }
    }
}

/* Those of the batch, then others in the order of random draws: written out from the rule. */
static void choose(batch *b, uint64_t seed)
{
    int64_t count = 0, absent[K], left = 0;
    memset(b->competes, 0, sizeof b->competes);
    for (int r = 0; r < b->total; r++) {
        if (b->concept[r] >= 0) {
            b->competes[b->concept[r]] = true;
        }
    }
    for (int64_t k = 0; k < b->kinds; k++) {
        if (b->competes[k]) {
            count++;
        } else {
            absent[left++] = k;
        }
    }
    fc_rng rng = fc_rng_stream(seed, FC_RNG_CONCEPTS, (uint64_t)b->step, 0);
    for (int64_t first = 0; count < b->classes && first < left; first++, count++) {
        int64_t pick = first + (int64_t)fc_rng_below(&rng, (uint64_t)(left - first));
        int64_t chosen = absent[pick];
        absent[pick] = absent[first];
        b->competes[chosen] = true;
    }
}

static batch make_batch(int64_t classes, int64_t step)
{
    batch b = {.ranks = fc_comm_size(fc_dist_comm()),
               .rank = fc_comm_rank(fc_dist_comm()),
               .width = D,
               .log_scale = 1.3,
               .concept = CONCEPT,
               .classes = classes,
               .step = step,
               .kinds = K};
    for (int r = 0; r < b.ranks; r++) {
        b.first += r < b.rank ? ROWS[r] : 0;
        b.total += ROWS[r];
    }
    b.rows = ROWS[b.rank];
    fc_rng rng = fc_rng_stream(5, FC_RNG_TEST, 2, 0);
    unit_rows(&rng, b.box, MOST_ROWS);
    unit_rows(&rng, b.teacher, MOST_ROWS);
    unit_rows(&rng, b.concepts, K);
    choose(&b, 11);
    return b;
}

static double dot(const double *x, const double *y, int width)
{
    double sum = 0;
    for (int d = 0; d < width; d++) {
        sum += x[d] * y[d];
    }
    return sum;
}

/* Mean over rows [first, end) that have a concept of the sum over concepts of the cross-entropy. */
static double regionclip(const batch *b, int first, int end)
{
    double sum = 0, s = exp(b->log_scale);
    int count = 0;
    for (int r = first; r < end; r++) {
        for (int k = 0; b->concept[r] >= 0 && k < b->kinds; k++) {
            double p =
                1 /
                (1 + exp(-s * dot(b->box + r * b->width, b->concepts + k * b->width, b->width)));
            sum -= !b->competes[k] ? 0 : k == b->concept[r] ? log(p) : log(1 - p);
        }
        count += b->concept[r] >= 0;
    }
    return count > 0 ? sum / count : 0;
}

static double clipself(const batch *b, int first, int end)
{
    double sum = 0;
    for (int r = first; r < end; r++) {
        sum += 1 - dot(b->box + r * b->width, b->teacher + r * b->width, b->width);
    }
    return end > first ? sum / (end - first) : 0;
}

typedef double (*plain_loss)(const batch *b, int first, int end);

static double mean_over_ranks(const batch *b, plain_loss f)
{
    double sum = 0;
    for (int r = 0, first = 0; r < b->ranks; first += ROWS[r++]) {
        sum += f(b, first, first + ROWS[r]);
    }
    return sum / b->ranks;
}

typedef struct outcome {
    double value, box[MOST_ROWS * D];
    bool teacher_grad, scale_grad;
} outcome;

static outcome run(const batch *b, const char *name, bool gather)
{
    outcome o = {0};
    fc_params *params = fc_params_create(FC_F64);
    (void)fc_params_add(params, "logit_scale", 0, NULL);
    fc_tensor *scale = fc_params_view(params, 0, 1, 0, 1);
    fc_params_commit(params);
    fc_params_zero_grad(params);
    *(double *)scale->data = b->log_scale;
    fc_tape *tape = fc_tape_create(FC_F64);
    fc_tensor *box = fc_tape_matrix(tape, b->rows, b->width, true);
    fc_tensor *teacher = fc_tape_matrix(tape, b->rows, b->width, false);
    size_t bytes = (size_t)(b->rows * b->width) * sizeof(double);
    memcpy(box->data, b->box + b->first * b->width, bytes);
    memcpy(teacher->data, b->teacher + b->first * b->width, bytes);
    fc_loss_inputs in = {.comm = fc_dist_comm(),
                         .local_loss = gather,
                         .gather_with_grad = gather,
                         .logit_scale = scale,
                         .box = box,
                         .teacher = teacher,
                         .concept = b->concept + b->first,
                         .concept_embeddings = b->concepts,
                         .concepts = b->kinds,
                         .seed = 11,
                         .step = (uint64_t)b->step};
    const fc_loss_def *def = fc_loss_find(name);
    fc_loss_options options;
    FC_CHECK_OK(fc_loss_read_options(def, NULL, &options));
    FC_CHECK_INT(options.value[0], def->options != NULL ? 100 : 0);
    options.value[0] = b->classes;
    fc_tensor *loss = def->forward(tape, &in, &options);
    double one = 1;
    if (FC_CHECK_OK(fc_tape_status(tape))) {
        FC_CHECK_OK(fc_backward(tape, 1, &loss, &one));
        o.value = *(double *)loss->data;
        if (box->grad != NULL) {
            memcpy(o.box, box->grad, bytes);
        }
        o.teacher_grad = teacher->grad != NULL;
        o.scale_grad = params->items[0].touched;
    }
    fc_tape_destroy(&tape);
    fc_params_destroy(&params);
    return o;
}

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

static void check(batch *b, const char *name, plain_loss f)
{
    double want[MOST_ROWS * D];
    for (int gather = 0; gather < 2; gather++) {
        outcome o = run(b, name, gather != 0);
        bool own = gather == 0; /* averaged over ranks: the mean of their means */
        FC_CHECK_NEAR(o.value, own ? mean_over_ranks(b, f) : f(b, 0, b->total), 1e-12);
        for (int i = 0; i < b->rows * D; i++) {
            double *x = &b->box[b->first * D + i];
            want[i] = own ? slope(f, b, x, b->first, b->first + b->rows) / b->ranks
                          : slope(f, b, x, 0, b->total);
        }
        FC_CHECK_NEAR(fc_check_max_abs(o.box, want, b->rows * D), 0, 1e-8);
        FC_CHECK(!o.teacher_grad && !o.scale_grad);
    }
}

/* s = 1; regions (1,0) and (0,1), both of concept (1,0), against that and (0,1):
 * (log(1+e^-1) + log 2 + log 2 + log(1+e)) / 2. The teacher says (0.6,0.8) to both: 0.4, 0.2. */
static void test_by_hand(void)
{
    static const int32_t concept[] = {0, 0};
    batch b = {.ranks = 1, .rows = 2, .total = 2, .width = 2, .concept = concept, .kinds = 2};
    memcpy(b.box, (double[]){1, 0, 0, 1}, 4 * sizeof(double));
    memcpy(b.teacher, (double[]){0.6, 0.8, 0.6, 0.8}, 4 * sizeof(double));
    memcpy(b.concepts, (double[]){1, 0, 0, 1}, 4 * sizeof(double));
    b.classes = 2;
    outcome o = run(&b, "regionclip", true);
    FC_CHECK_NEAR(o.value, 1.5064088681, 1e-9);
    int ranks = fc_comm_size(fc_dist_comm()); /* every rank holds both regions here */
    FC_CHECK_NEAR(o.box[0], -0.2689414214 / 2 / ranks, 1e-9);
    FC_CHECK_NEAR(o.box[1], 0.5 / 2 / ranks, 1e-9);
    FC_CHECK_NEAR(o.box[2], -0.5 / 2 / ranks, 1e-9);
    FC_CHECK_NEAR(o.box[3], 0.7310585786 / 2 / ranks, 1e-9);
    o = run(&b, "clipself", true);
    FC_CHECK_NEAR(o.value, 0.3, 1e-12);
    FC_CHECK_NEAR(o.box[0], -0.3 / ranks, 1e-12);
    FC_CHECK_NEAR(o.box[3], -0.4 / ranks, 1e-12);
    memcpy(b.teacher, b.box, sizeof b.box);
    FC_CHECK_NEAR(run(&b, "clipself", true).value, 0, 1e-12);
    /* A logit of 100 or -100 does not overflow. */
    b.log_scale = log(100.0);
    b.box[0] = -1;
    FC_CHECK_NEAR(run(&b, "regionclip", true).value, (100 + 2 * log(2.0) + 100) / 2, 1e-9);
}

/* All concepts compete where there are few; else those of the batch and new others every step. */
static void test_choice(void)
{
    int changed = 0;
    bool before[K] = {false};
    for (int64_t step = 0; step < 20; step++) {
        batch b = make_batch(7, step);
        int count = 0;
        for (int k = 0; k < K; k++) {
            count += b.competes[k];
            changed += step > 0 && before[k] != b.competes[k];
            before[k] = b.competes[k];
        }
        FC_CHECK_INT(count, 7);
        FC_CHECK_NEAR(run(&b, "regionclip", true).value, regionclip(&b, 0, b.total), 1e-12);
    }
    FC_CHECK(changed > 5);
    batch all = make_batch(100, 0), few = make_batch(1, 0);
    for (int k = 0; k < K; k++) {
        bool shown = false;
        for (int r = 0; r < few.total; r++) {
            shown = shown || CONCEPT[r] == k;
        }
        FC_CHECK(all.competes[k]);
        FC_CHECK_INT(few.competes[k], shown);
    }
}

static void test_nothing(void)
{
    static const int32_t none[MOST_ROWS] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    batch b = make_batch(5, 0);
    b.concept = none;
    outcome o = run(&b, "regionclip", true);
    FC_CHECK_NEAR(o.value, 0, 0);
    for (int i = 0; i < b.rows * D; i++) {
        FC_CHECK(o.box[i] == 0);
    }
}

int main(void)
{
    FC_CHECK_OK(fc_dist_start());
    test_by_hand();
    static const int64_t classes[] = {1, 6, 8, 100};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        batch b = make_batch(classes[i], 3 + (int64_t)i);
        check(&b, "regionclip", regionclip);
    }
    batch b = make_batch(100, 0);
    check(&b, "clipself", clipself);
    test_choice();
    test_nothing();
    int failed = fc_check_end();
    fc_dist_stop();
    return failed;
}
