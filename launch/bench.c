/* `fineclip bench EXPERIMENT.yaml [--ranks N]`: steps on made-up data against what the machine can
 * do. */
#include "core/clock.h"
#include "core/cpu/gemm.h"
#include "core/cuda/cuda.h"
#include "core/fatal.h"
#include "core/log.h"
#include "core/median.h"
#include "core/memory.h"
#include "launch/bench_scaling.h"
#include "launch/cli.h"
#include "launch/dist.h"
#include "launch/experiment.h"
#include "launch/fake_batch.h"
#include "launch/input.h"
#include "launch/memory_plan.h"
#include "launch/verbs.h"

#include <stdio.h>

enum {
    SQUARE = 2048,
    MIN_SQUARE = 128,
    MAX_SQUARE = 8192,
    WARM_UP = 2,
    MIN_STEPS = 5,
    MAX_STEPS = 200
};
/* Ids of a COCO caption and of a region caption with their start and end, rounded up. */
enum { CAPTION_TOKENS = 16, REGION_TOKENS = 12 };
enum { CONCEPTS = 80 }; /* COCO's categories */
static const double ENOUGH_SECONDS = 10, LONG_PRODUCT = 2e-3;

typedef struct timings {
    int count;
    double step[MAX_STEPS], gradients[MAX_STEPS], wait[MAX_STEPS], square[MAX_STEPS]; /* seconds */
    double forward[MAX_STEPS];
    fc_exchange exchange;
    double flops;             /* of the model, a step and rank */
    int64_t side, peak_bytes; /* of the square product; of the backend's memory */
    fc_profile profile;       /* of one more step */
} timings;

/* Seconds of one 2048-cubed product: what the machine can do, measured beside every step so that
 * noise hits both. */
static double time_square(const float *a, const float *b, float *c)
{
    double start = fc_clock_seconds();
    fci_gemm_f32(false, false, SQUARE, SQUARE, SQUARE, 1, a, SQUARE, b, SQUARE, 0, c, SQUARE);
    return fc_clock_seconds() - start;
}

/* The same on a device, of the tape's type and large enough to be worth its while; once the steps
 * are done and what they held is known. */
static void time_device(const fc_clip *model, timings *t)
{
    const fc_dtype type = model->params->compute;
    double seconds = 0;
    for (t->side = MIN_SQUARE; t->side < MAX_SQUARE; t->side *= 2) {
        seconds = fc_cuda_time_product(type, t->side);
        if (seconds > LONG_PRODUCT) {
            break;
        }
    }
    seconds = t->side == MAX_SQUARE ? fc_cuda_time_product(type, t->side) : seconds;
    for (int i = 0; i < t->count; i++) {
        t->square[i] = seconds;
    }
}

/* Two batches in turn, the next one's pictures on their way to a device while a step computes. */
static const fc_batch *next_batch(fc_input *input, const fc_batch batch[2], int step)
{
    if (input != NULL) {
        fc_input_again(input, &batch[(step + 1) % 2]);
    }
    return &batch[step % 2];
}

static fc_status time_steps(fc_step *step, const fc_clip *model, fc_comm *comm, fc_input *input,
                            const fc_batch batch[2], timings *t)
{
    const fc_backend *backend = model->params->backend;
    const bool on_host = backend->on_host;
    float *a = fc_alloc((size_t)SQUARE * SQUARE, sizeof *a),
          *b = fc_alloc((size_t)SQUARE * SQUARE, sizeof *b);
    float *c = fc_alloc((size_t)SQUARE * SQUARE, sizeof *c);
    for (int i = 0; i < SQUARE * SQUARE; i++) {
        a[i] = (float)(i % 17) - 8.0F;
        b[i] = (float)(i % 13) - 6.0F;
    }
    double begun = fc_clock_seconds();
    fc_status status = FC_OK;
    for (int i = -WARM_UP; status == FC_OK && i < MAX_STEPS; i++) {
        fc_step_result result;
        double square = on_host ? time_square(a, b, c) : 0;
        FC_TRY_GOTO(status, fc_comm_barrier(comm), done);
        double start = fc_clock_seconds();
        FC_TRY_GOTO(status, fc_step_gradients(step, next_batch(input, batch, i + WARM_UP), &result),
                    done);
        double middle = fc_clock_seconds();
        FC_TRY_GOTO(status, fc_step_update(step, 1e-6, &result), done);
        backend->synchronize();
        FC_TRY_GOTO(status, fc_comm_barrier(comm), done);
        double end = fc_clock_seconds();
        if (i < 0) {
            begun = end;
            continue;
        }
        t->step[i] = end - start;
        t->gradients[i] = middle - start;
        t->forward[i] = result.forward_seconds;
        t->wait[i] = result.wait_seconds;
        t->exchange = result.exchange;
        t->square[i] = square;
        t->flops = result.flops;
        t->count = i + 1;
        int64_t enough = t->count >= MIN_STEPS && end - begun >= ENOUGH_SECONDS;
        FC_TRY_GOTO(status, fc_comm_all_reduce(comm, &enough, 1, FC_COMM_I64, FC_COMM_MIN), done);
        if (enough != 0) {
            break;
        }
    }
    fc_step_result result;
    fc_step_profile(step, &t->profile);
    FC_TRY_GOTO(status, fc_step_gradients(step, next_batch(input, batch, 0), &result), done);
    fc_step_profile(step, NULL);
    t->peak_bytes = backend->peak();
    if (!on_host) {
        time_device(model, t);
    }
done:
    fc_free(&a);
    fc_free(&b);
    fc_free(&c);
    return status;
}

static void print_line(const char *name, double value, const char *unit)
{
    printf("%s: %.4g%s%s\n", name, value, unit[0] != '\0' ? " " : "", unit);
}

/* The slowest kernels first. */
static void report_kernels(fc_profile *p)
{
    double all = 0;
    for (int i = 0; i < p->count; i++) {
        all += p->row[i].seconds;
    }
    printf("kernels: %.4g s in one more step that waits for each\n", all);
    for (int done = 0; done < p->count; done++) {
        int most = 0;
        for (int i = 1; i < p->count; i++) {
            most = p->row[i].seconds > p->row[most].seconds ? i : most;
        }
        printf("  %-24s %5.1f %%  %10.4g s  %6lld calls\n", p->row[most].kernel,
               100 * p->row[most].seconds / all, p->row[most].seconds,
               (long long)p->row[most].calls);
        p->row[most].seconds = -1;
    }
}

static void report(const fc_config *config, fc_step *step, const fc_clip *model,
                   const fc_memory_plan *plan, int ranks, timings *t)
{
    double seconds = fc_median(t->step, t->count), square = fc_median(t->square, t->count);
    double gradients = fc_median(t->gradients, t->count), wait = fc_median(t->wait, t->count);
    double rate = t->flops / seconds, side = (double)t->side;
    double peak = 2.0 * side * side * side / square;
    const bool on_host = model->params->backend->on_host;
    const fc_tape_memory memory = fc_step_memory(step);
    char again[96];
    fc_memory_plan_say(plan, again, sizeof again);
    double mib = 1 << 20;
    printf("model: %s, %d pixels, %d pictures x %d boxes a rank, %d ranks, %d threads a rank, %s\n",
           model->config.name, model->image_size, config->train.batch_size, config->data.max_boxes,
           ranks, fc_dist_threads(), fc_precision_name(model->params->compute));
    if (!on_host) {
        printf("device: %s\n", fc_cuda_device_name());
    }
    printf("steps: %d, medians follow\n", t->count);
    print_line("step_seconds", seconds, "");
    print_line("gradient_seconds", gradients, "");
    print_line("update_seconds", seconds - gradients, "");
    print_line("communication_wait_seconds", wait, "");
    print_line("images_per_second", (double)config->train.batch_size * ranks / seconds, "");
    print_line("model_gflop", t->flops / 1e9, "a step and rank");
    print_line("model_gflops", rate / 1e9, "a second and rank");
    if (on_host) {
        print_line("sgemm_2048_gflops", peak / 1e9, "a second and rank, same process");
        print_line("share_of_sgemm", rate / peak, "");
    } else {
        printf("gemm_%lld_gflops: %.4g a second and rank, same process, same type\n",
               (long long)t->side, peak / 1e9);
        print_line("share_of_gemm", rate / peak, "");
    }
    print_line("weights_gradients_optimizer_mib", (double)plan->held / mib, "");
    print_line("activations_mib", (double)memory.activations / mib, "");
    print_line("temporaries_mib", (double)(memory.gradients + memory.scratch) / mib, "");
    print_line("peak_host_mib", (double)fc_peak_host_bytes() / mib, "");
    if (!on_host) {
        print_line("peak_device_mib", (double)t->peak_bytes / mib, "");
    }
    print_line("predicted_mib", (double)plan->total / mib, "");
    print_line("peak_over_predicted", (double)t->peak_bytes / (double)plan->total, "");
    printf("blocks_run_again: %s\n", again);
    report_kernels(&t->profile);
}

static fc_status measure(const fc_config *config, const fc_scaling_plan *plan, fc_step *step,
                         const fc_clip *model, fc_comm *comm, fc_input *input,
                         const fc_batch batch[2])
{
    fc_memory_plan memory;
    FC_TRY(fc_memory_plan_make(&memory, config, step, model, comm, &batch[0], 0));
    if (config->train.memory_budget > 0) {
        fc_step_settle(step, memory.recompute, &memory.step);
    }
    timings *t = fc_alloc(1, sizeof *t);
    t->side = SQUARE;
    fc_log_info("timing steps, at least %d and %g s", MIN_STEPS, ENOUGH_SECONDS);
    fc_status status = time_steps(step, model, comm, input, batch, t);
    if (status != FC_OK) {
        fc_fatal(status);
    }
    if (fc_comm_rank(comm) == 0) {
        report(config, step, model, &memory, fc_comm_size(comm), t);
    }
    if (plan->ranks > 0) {
        const fc_scaling_times times = {.step = fc_median(t->step, t->count),
                                        .forward = fc_median(t->forward, t->count),
                                        .gradients = fc_median(t->gradients, t->count),
                                        .wait = fc_median(t->wait, t->count)};
        status = fc_bench_scaling(config, plan, step, model, comm, &times, &t->exchange);
    }
    fc_free(&t);
    return status;
}

static fc_status bench(const fc_config *config, const fc_scaling_plan *plan)
{
    fc_comm *comm = fc_dist_comm();
    fc_step_options options;
    fc_device device;
    FC_TRY(fc_device_open(&device, config, comm));
    FC_TRY(fc_experiment_step_options(config, fc_comm_size(comm), &options));
    fc_clip *model;
    FC_TRY(fc_clip_create_on(&model, device.backend, &config->model.config,
                             config->model.image_size, device.compute,
                             fc_experiment_freeze(config)));
    fc_log_info("drawing weights");
    fc_clip_init(model, (uint64_t)config->seed);
    unsigned needs = fc_step_needs(&options);
    if ((needs & FC_NEED_TEACHER) != 0) {
        FC_TRY(fc_clip_keep_initial(model));
    }
    int context = model->config.text.context_length;
    fc_fake_sizes sizes = {.images = config->train.batch_size,
                           .boxes = config->data.max_boxes,
                           .crops = (needs & (FC_NEED_CROP | FC_NEED_TEACHER)) != 0,
                           .image_size = model->image_size,
                           .caption_tokens = context < CAPTION_TOKENS ? context : CAPTION_TOKENS,
                           .region_tokens = context < REGION_TOKENS ? context : REGION_TOKENS,
                           .vocab_size = model->config.text.vocab_size};
    fc_batch batch[2];
    fc_fake_batch(&batch[0], &sizes, (uint64_t)config->seed + (uint64_t)fc_comm_rank(comm));
    fc_concepts *concepts = NULL;
    if ((needs & FC_NEED_CONCEPT) != 0) {
        concepts = fc_concepts_fake(CONCEPTS, batch[0].regions, model, (uint64_t)config->seed);
        options.concepts = concepts;
    }
    const fc_loader_options room = {.count = sizes.images,
                                    .max_boxes = (int)sizes.boxes,
                                    .image_size = model->image_size,
                                    .need_crops = sizes.crops,
                                    .depth = 1};
    fc_input *input = fc_input_create(device.backend, &room);
    batch[1] = batch[0];
    for (int i = 0; input != NULL && i < 2; i++) {
        fc_input_ready(input, i, &batch[i]);
    }
    fc_step *step = fc_step_create(model, comm, &options);
    fc_status status = measure(config, plan, step, model, comm, input, batch);
    fc_step_destroy(&step);
    fc_concepts_close(&concepts);
    fc_input_destroy(&input);
    fc_batch_free(&batch[0]); /* the second shows the same arrays */
    fc_clip_destroy(&model);
    return status;
}

fc_status fc_verb_bench(int argc, char **argv)
{
    fc_scaling_words words = {0};
    const fc_flag flags[] = {{"--ranks", NULL, &words.ranks},
                             {"--ranks-per-host", NULL, &words.per_host},
                             {"--link", NULL, &words.link},
                             {"--link-latency", NULL, &words.link_latency},
                             {"--network", NULL, &words.network},
                             {"--network-latency", NULL, &words.network_latency},
                             {0}};
    fc_cli cli;
    fc_scaling_plan plan;
    FC_TRY(fc_cli_parse(&cli, argc, argv, flags));
    FC_TRY(fc_scaling_plan_read(&words, &plan));
    fc_config *config = NULL;
    fc_status status =
        fc_dist_agree(fc_config_load(&config, cli.file, cli.overrides, cli.override));
    if (status == FC_OK && plan.ranks > 0) {
        fc_step_options options; /* such a run must be possible */
        status = fc_experiment_step_options(config, plan.ranks, &options);
    }
    if (status == FC_OK) {
        status = bench(config, &plan);
    }
    fc_config_destroy(&config);
    return status;
}
