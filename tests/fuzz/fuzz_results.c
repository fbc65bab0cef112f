/* results.h5 whose HDF5 is in order and whose contents are wrong: shown and checked as `fineclip
 * inspect --check` does. */
#include "core/memory.h"
#include "launch/results/results.h"
#include "tests/check.h"
#include "tests/fuzz/h5_edit.h"

#include <math.h>

static const char *const objects[] = {"/",
                                      "/train",
                                      "/train/step",
                                      "/train/epoch",
                                      "/train/loss",
                                      "/train/grad_norm",
                                      "/train/losses",
                                      "/train/losses/global_contrastive",
                                      "/train/losses/self_distillation",
                                      "/eval",
                                      "/eval/epoch",
                                      "/eval/box_classification",
                                      "/eval/box_classification/top1",
                                      "/eval/box_classification/regions",
                                      "/eval/box_classification/per_category_top1",
                                      "/eval/retrieval",
                                      "/eval/retrieval/i2t_r1",
                                      "/cost",
                                      "/cost/epoch_seconds",
                                      "/cost/peak_device_bytes",
                                      "/cost/peak_host_bytes",
                                      NULL};
static const char *const attributes[] = {"format",     "version",    "name",     "config", "status",
                                         "world_size", "parameters", "protocol", "device", NULL};

static void write_results(const char *path)
{
    static const char *const terms[] = {"global_contrastive", "self_distillation"};
    const fc_results_info info = {"demo", "seed: 0\n", "0", "cpu", "fp32", 2, 100, 50, 2, terms};
    const double values[2] = {1, 2}, shares[3] = {0.25, NAN, 1};
    fc_results *r = NULL;
    FUZZ_CHECK(fuzz_ok(fc_results_open(&r, path, &info, NULL)));
    for (int64_t step = 1; step <= 6; step++) {
        const fc_results_row row = {
            .step = step, .epoch = (double)step, .loss = 3, .terms = values};
        FUZZ_CHECK(fuzz_ok(fc_results_step(r, &row)));
    }
    for (int epoch = 0; epoch < 2; epoch++) {
        const fc_results_eval_row row = {.epoch = epoch,
                                         .has_box = true,
                                         .has_retrieval = true,
                                         .top1 = 0.5,
                                         .i2t_r1 = 0.25,
                                         .regions = 900,
                                         .categories = 3,
                                         .per_category_top1 = shares,
                                         .box_protocol = "data: coco",
                                         .retrieval_protocol = "data: coco"};
        FUZZ_CHECK(fuzz_ok(fc_results_eval(r, &row)));
    }
    fc_results_epoch_seconds(r, 12.5);
    fc_results_memory(r, 2, (const int64_t[]){1, 2}, (const int64_t[]){3, 4});
    FUZZ_CHECK(fuzz_ok(fc_results_finish(r, "completed")));
    fc_results_close(&r);
}

static const fuzz_h5_base *base(void)
{
    static fuzz_h5_base kept;
    if (kept.bytes == NULL) {
        char *path = fc_strdup(fc_check_temp("results.h5"));
        write_results(path);
        fuzz_h5_keep(&kept, path, objects, attributes);
        fc_free(&path);
    }
    return &kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    FUZZ_CHECK(fuzz_inspect(fci_inspect_results, fuzz_h5_edited(base(), &in)) ||
               size > 0); /* the sound file is sound */
    return 0;
}
