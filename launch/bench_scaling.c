#include "launch/bench_scaling.h"

#include "core/clock.h"
#include "core/median.h"
#include "core/memory.h"
#include "launch/experiment.h"
#include "launch/table.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A DGX H100: NVLink 4, and a card of 400 Gbit/s a GPU. The latencies are rules of thumb: a run
 * under mpirun says what they are. */
static const fc_cluster dgx_h100 = {.per_host = 8, .link = {450e9, 3e-6}, .network = {50e9, 10e-6}};
enum { MOST_RANKS = 1 << 20 };
enum { TRIES = 5, FEW_TRIES = 3 };
enum { MOST_COLUMN_RANKS = 16 }; /* columns are timed of at most so many ranks */
static const double MOST_COLUMN_BYTES = 256 << 20;

/* ---- The command line ---- */

static fc_status read_count(const char *flag, const char *text, int *out)
{
    char *end;
    errno = 0;
    const long n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < 1 || n > MOST_RANKS) {
        return FC_FAIL(FC_USAGE, "%s %s: want a whole number from 1 to %d", flag, text, MOST_RANKS);
    }
    *out = (int)n;
    return FC_OK;
}

/* above: zero is too small */
static fc_status read_real(const char *flag, const char *text, bool above, const char *unit,
                           double *out)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || !(above ? value > 0 : value >= 0)) {
        return FC_FAIL(FC_USAGE, "%s %s: want %s, a number %s 0", flag, text, unit,
                       above ? "above" : "of at least");
    }
    *out = value;
    return FC_OK;
}

fc_status fc_scaling_plan_read(const fc_scaling_words *words, fc_scaling_plan *out)
{
    fc_cluster *c = &out->cluster;
    *out = (fc_scaling_plan){.cluster = dgx_h100};
    const struct {
        const char *flag, *text, *unit;
        bool above;
        double *to;
    } reals[] = {
        {"--link", words->link, "bytes a second", true, &c->link.bandwidth},
        {"--link-latency", words->link_latency, "seconds", false, &c->link.latency},
        {"--network", words->network, "bytes a second", true, &c->network.bandwidth},
        {"--network-latency", words->network_latency, "seconds", false, &c->network.latency},
    };
    const char *given = words->per_host != NULL ? "--ranks-per-host" : NULL;
    if (words->ranks != NULL) {
        FC_TRY(read_count("--ranks", words->ranks, &out->ranks));
    }
    if (words->per_host != NULL) {
        FC_TRY(read_count("--ranks-per-host", words->per_host, &c->per_host));
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        if (reals[i].text != NULL) {
            given = reals[i].flag;
            FC_TRY(read_real(given, reals[i].text, reals[i].above, reals[i].unit, reals[i].to));
        }
    }
    if (out->ranks == 0) {
        return given == NULL ? FC_OK
                             : FC_FAIL(FC_USAGE, "%s goes with --ranks N, which predicts", given);
    }
    if (!fc_scaling_fits(out->ranks, c->per_host)) {
        return FC_FAIL(FC_USAGE,
                       "--ranks %d: more than one host's %d and no multiple of it; "
                       "--ranks-per-host says how many a host has",
                       out->ranks, c->per_host);
    }
    return FC_OK;
}

/* ---- What is measured for it ---- */

/* Both directions of a contrastive term, forward and back, against the columns of so many ranks:
 * the shortest of a few tries. */
static double time_pair(const fc_backend *backend, const fc_exchange *e, int pair, int ranks)
{
    const fc_dtype dtype = e->pair[pair].dtype;
    const int64_t rows = e->pair[pair].rows, width = e->pair[pair].width, cols = rows * ranks;
    const size_t row = (size_t)width * fc_dtype_bytes(dtype),
                 wide = fc_dtype_bytes(fc_dtype_wide(dtype));
    void *all = backend->alloc((size_t)cols * row), *grad = backend->alloc((size_t)rows * row);
    void *lse = backend->alloc((size_t)cols * wide), *sums = backend->alloc(2 * sizeof(double));
    fc_arena *scratch = fc_arena_create_on(backend);
    fci_contrastive_args args = {.rows = rows,
                                 .cols = cols,
                                 .width = width,
                                 .scale = 1,
                                 .own = all,
                                 .all = all,
                                 .lse_own = lse,
                                 .loss_sum = sums,
                                 .lse_other = lse,
                                 .other_count = cols,
                                 .factor = 1,
                                 .grad = grad,
                                 .scale_grad = (double *)sums + 1};
    backend->fill(all, 0x3C, (size_t)cols * row); /* a small number in every type */
    double best = INFINITY;
    for (int i = -1; i < TRIES; i++) {
        backend->synchronize();
        const double start = fc_clock_seconds();
        for (int text = 0; text < 2; text++) {
            const fc_arena_mark mark = fc_arena_save(scratch);
            backend->kernels(dtype)->contrastive_fwd(&args, scratch);
            backend->kernels(dtype)->contrastive_bwd(&args, scratch);
            fc_arena_rewind(scratch, mark);
        }
        backend->synchronize();
        best = i < 0 ? best : fmin(best, fc_clock_seconds() - start);
    }
    fc_arena_destroy(&scratch);
    fc_backend_free(backend, &all);
    fc_backend_free(backend, &grad);
    fc_backend_free(backend, &lse);
    fc_backend_free(backend, &sums);
    return best;
}

/* What one more rank's columns cost: the slope from one rank's to those of up to 16. */
static double column_seconds(const fc_backend *backend, const fc_exchange *e, int pair, int ranks)
{
    const double bytes = (double)e->pair[pair].rows * (double)e->pair[pair].width *
                         (double)fc_dtype_bytes(e->pair[pair].dtype);
    int most = ranks < MOST_COLUMN_RANKS ? ranks : MOST_COLUMN_RANKS;
    while (most > 2 && most * bytes > MOST_COLUMN_BYTES) {
        most--;
    }
    if (most < 2 || bytes <= 0) {
        return 0;
    }
    const double one = time_pair(backend, e, pair, 1), many = time_pair(backend, e, pair, most);
    return fmax(0, (many - one) / (most - 1));
}

typedef struct alone {
    double all;   /* seconds that the sum of all gradients takes with nothing beside it */
    double small; /* that of one number */
} alone;

static fc_status time_alone(fc_step *step, const fc_clip *model, fc_comm *comm, alone *out)
{
    fc_params *p = model->params;
    double all[FEW_TRIES + 1], small[FEW_TRIES + 1];
    for (int i = 0; i <= FEW_TRIES; i++) {
        fc_device_request *request;
        fc_params_zero_grad(p);
        p->backend->synchronize();
        FC_TRY(fc_comm_barrier(comm));
        double start = fc_clock_seconds();
        fc_grad_reduce_begin(fc_step_grad_reduce(step));
        FC_TRY(fc_grad_reduce_finish(fc_step_grad_reduce(step), NULL));
        p->backend->synchronize();
        all[i] = fc_clock_seconds() - start;
        FC_TRY(fc_comm_barrier(comm));
        start = fc_clock_seconds();
        FC_TRY(fc_device_all_reduce_start(p->backend, comm, p->grad, 1, p->dtype, &request));
        FC_TRY(fc_device_wait(p->backend, comm, &request));
        p->backend->synchronize();
        small[i] = fc_clock_seconds() - start;
    }
    /* The first is a warm-up. */
    *out = (alone){.all = fc_median(all + 1, FEW_TRIES), .small = fc_median(small + 1, FEW_TRIES)};
    return FC_OK;
}

/* ---- The model's input ---- */

/* The way back: all of it, and its last part, while which gradients go out. With micro-batches the
 * first forward pass is over all of them, and what follows is forward and back again one by one. */
static void split_backward(const fc_scaling_times *times, int accumulate, fc_scaling_input *in)
{
    in->backward = fmax(0, times->gradients - times->forward - times->wait);
    in->window =
        accumulate == 1 ? in->backward : fmax(0, (in->backward - times->forward) / accumulate);
}

static fc_scaling_bucket *read_buckets(const fc_grad_reduce *r)
{
    fc_scaling_bucket *b = fc_alloc((size_t)fc_grad_reduce_count(r), sizeof *b);
    for (int i = 0; i < fc_grad_reduce_count(r); i++) {
        fc_grad_reduce_bucket(r, i, &b[i].bytes, &b[i].ready);
    }
    return b;
}

static void read_pairs(const fc_exchange *e, const fc_backend *backend, int ranks,
                       fc_scaling_pair *out)
{
    for (int i = 0; i < e->pairs; i++) {
        const double rows = (double)e->pair[i].rows;
        out[i] = (fc_scaling_pair){
            .row_bytes = rows * (double)e->pair[i].width * (double)fc_dtype_bytes(e->pair[i].dtype),
            .wide_bytes = rows * (double)fc_dtype_bytes(fc_dtype_wide(e->pair[i].dtype)),
            .column_seconds = column_seconds(backend, e, i, ranks)};
    }
}

static double bucket_bytes(const fc_scaling_input *in)
{
    double bytes = 0;
    for (int i = 0; i < in->bucket_count; i++) {
        bytes += in->bucket[i].bytes;
    }
    return bytes;
}

/* ---- What it prints ---- */

/* The prediction for the ranks there are beside what they did, and the link that would explain it.
 */
static void print_check(const fc_scaling_input *in, const fc_cluster *cluster,
                        const fc_scaling_times *times, const alone *measured)
{
    const char *const headings[] = {"", "measured", "predicted"};
    fc_cluster here = *cluster;
    here.per_host = in->per_host;
    const fc_scaling s = fc_scaling_predict(in, &here, in->ranks);
    printf("\nmeasured on %d ranks, %d a host, and predicted for as many; seconds\n", in->ranks,
           in->per_host);
    fc_table *t = fc_table_create(3, headings);
    if (in->bucket_count > 0) {
        fc_table_cell(t, "sum of gradients with nothing beside it");
        fc_table_cell(t, "%.4g", measured->all);
        fc_table_cell(t, "%.4g", s.reduce);
    }
    fc_table_cell(t, "waited for gradients");
    fc_table_cell(t, "%.4g", times->wait);
    fc_table_cell(t, "%.4g", s.exposed);
    fc_table_cell(t, "step");
    fc_table_cell(t, "%.4g", times->step);
    fc_table_cell(t, "%.4g", s.step);
    fc_table_print(t, stdout);
    fc_table_destroy(&t);
    const double moving = measured->all - in->bucket_count * measured->small,
                 moved = 2.0 * (in->ranks - 1) / in->ranks * bucket_bytes(in);
    if (in->bucket_count == 0 || !(moving > 0)) {
        return;
    }
    const bool one_host = in->ranks <= in->per_host;
    const char *flag = one_host ? "--link" : "--network";
    printf("the first line is that of %s %.3g %s-latency %.2g\n", flag,
           moved / moving / (one_host ? 1 : in->per_host), flag,
           measured->small / 2 / (in->ranks - 1));
}

/* 1, 2, 4 ... ranks of one host, then of 1, 2, 4 ... hosts, then all. */
static int next_ranks(const fc_scaling_plan *plan, int ranks)
{
    const int host = plan->cluster.per_host;
    const int next = ranks < host && 2 * ranks > host ? host : 2 * ranks;
    return next < plan->ranks ? next : plan->ranks;
}

static void print_table(const fc_scaling_input *in, const fc_scaling_plan *plan)
{
    const char *const headings[] = {"ranks",     "hosts",      "step",   "compute",    "features",
                                    "gradients", "not hidden", "update", "efficiency", "images/s"};
    const int host = plan->cluster.per_host;
    printf("\npredicted; seconds, and images/s a rank over those of one rank alone in per cent\n");
    fc_table *t = fc_table_create(10, headings);
    fc_scaling s;
    for (int ranks = 1;; ranks = next_ranks(plan, ranks)) {
        s = fc_scaling_predict(in, &plan->cluster, ranks);
        fc_table_cell(t, "%d", ranks);
        fc_table_cell(t, "%d", (ranks + host - 1) / host);
        const double seconds[] = {s.step,   s.compute, s.features,
                                  s.reduce, s.exposed, s.update_wait};
        for (int i = 0; i < 6; i++) {
            fc_table_cell(t, "%.4g", seconds[i]);
        }
        fc_table_percent(t, s.efficiency);
        fc_table_cell(t, "%.4g", s.images_per_second);
        if (ranks == plan->ranks) {
            break;
        }
    }
    fc_table_print(t, stdout);
    fc_table_destroy(&t);
    printf("predicted_step_seconds: %.4g on %d ranks\n", s.step, plan->ranks);
    printf("predicted_images_per_second: %.4g on %d ranks\n", s.images_per_second, plan->ranks);
}

static void print_assumptions(const fc_scaling_input *in, const fc_scaling_plan *plan)
{
    const fc_cluster *c = &plan->cluster;
    printf("\nIt is assumed that\n"
           "* a host has %d ranks, with %.4g GB/s each way a rank (--link) and %.3g us a hop\n"
           "  (--link-latency); hosts are joined by %.4g GB/s each way a rank (--network) and\n"
           "  %.3g us a hop (--network-latency), and links carry that in full;\n",
           c->per_host, c->link.bandwidth / 1e9, c->link.latency * 1e6, c->network.bandwidth / 1e9,
           c->network.latency * 1e6);
    printf("* large arrays go around rings through all ranks, one through each card of a host: at\n"
           "  the rate of a rank's link or of all cards of a host together, the lower; sums move\n"
           "  2 (N-1)/N of their bytes a rank, gathers (N-1)/N of the result. Few numbers go up "
           "and\n"
           "  down a tree;\n"
           "* sums of gradients, %d of %.4g MiB in all, go out as backward made them ready in one\n"
           "  step here, one after the other, and slow nothing beside them; features and the\n"
           "  optimizer's values (%.4g MiB) are waited for;\n",
           in->bucket_count, bucket_bytes(in) / (1 << 20), in->shard_bytes / (1 << 20));
    printf("* each rank has these %.0f pictures a step, and its rows meet the columns of all "
           "ranks:\n"
           "  timed here with those of up to %d, a straight line from there;\n"
           "* every rank is as fast as the one measured, at every step: none lags behind, and "
           "none\n"
           "  waits for pictures.\n",
           in->images, MOST_COLUMN_RANKS);
    if (in->ranks > 1) {
        printf("* what the %d measured ranks exchanged beside gradients took them what is "
               "predicted.\n",
               in->ranks);
    }
}

/* ---- All of it ---- */

fc_status fc_bench_scaling(const fc_config *config, const fc_scaling_plan *plan, fc_step *step,
                           const fc_clip *model, fc_comm *comm, const fc_scaling_times *times,
                           const fc_exchange *exchange)
{
    const fc_params *p = model->params;
    const int ranks = fc_comm_size(comm);
    int64_t per_host = fc_comm_local_size(comm);
    fc_step_options options;
    FC_TRY(fc_experiment_step_options(config, plan->ranks, &options));
    FC_TRY(fc_comm_broadcast(comm, &per_host, 1, FC_COMM_I64, 0));
    if (!fc_scaling_fits(ranks, (int)per_host)) {
        return FC_FAIL(FC_USAGE, "--ranks: the %d ranks to measure on do not fill hosts of %d",
                       ranks, (int)per_host);
    }
    const fc_grad_reduce *reduce = fc_step_grad_reduce(step);
    fc_scaling_bucket *buckets = read_buckets(reduce);
    fc_scaling_pair pairs[FC_MOST_PAIRS];
    read_pairs(exchange, p->backend, plan->ranks > ranks ? plan->ranks : ranks, pairs);
    const double value =
        (double)(fc_dtype_bytes(p->dtype) + (p->working != NULL ? fc_dtype_bytes(p->compute) : 0));
    fc_scaling_input in = {
        .ranks = ranks,
        .per_host = (int)per_host,
        .images = config->train.batch_size,
        .forward = times->forward,
        .update = times->step - times->gradients,
        .bucket_count = options.unsynced_gradients ? 0 : fc_grad_reduce_count(reduce),
        .bucket = buckets,
        .pair_count = exchange->pairs,
        .pair = pairs,
        .meetings = exchange->meetings + 1, /* which parameters a gradient reached */
        .shard_bytes = options.adamw.shard ? (double)p->grad_total * value : 0,
        .shard_messages = p->working != NULL ? 2 : 1};
    split_backward(times, options.accumulate, &in);
    alone sums = {0};
    fc_status status = ranks > 1 ? time_alone(step, model, comm, &sums) : FC_OK;
    if (status == FC_OK && fc_comm_rank(comm) == 0) {
        if (ranks > 1) {
            print_check(&in, &plan->cluster, times, &sums);
        }
        print_table(&in, plan);
        print_assumptions(&in, plan);
    }
    fc_free(&buckets);
    return status;
}
