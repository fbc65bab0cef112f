/* Estimates of --dry-run against a model that is built and a step that is run: parameters exactly,
 * FLOPs within 10%.
 * fctest: timeout=120 */
#include "models/estimate.h"
#include "tests/models/fixture.h"

enum { PICTURES = 3, ALL = 8, ROWS = 6, LENGTH = 11 };

static void check_close(const char *what, double have, double want)
{
    printf("%-12s %.4g, estimated %.4g (%+.1f%%)\n", what, have, want, 100 * (want / have - 1));
    fc_check_true(fabs(want / have - 1) <= 0.1, __FILE__, __LINE__, "%s is %g, estimated %g", what,
                  have, want);
}

static void check_work(fc_vision_kind kind, const fc_clip_work *work)
{
    fc_model_config config = fx_small_config(kind);
    fc_clip *m = NULL;
    fc_clip_cost cost;
    fc_tensor *out[3];
    int32_t tokens[ROWS * LENGTH];
    int64_t offsets[ROWS + 1];
    fc_clip_estimate(&cost, &config, 64, work);
    FX_NEED(fc_clip_create(&m, &config, 64, FC_F32, work->freeze));
    fc_clip_init(m, 1);
    FC_CHECK_INT(cost.parameters, fc_params_size(m->params));
    FC_CHECK_INT(cost.trained, fc_params_trained_size(m->params));

    for (int i = 0; i < ROWS * LENGTH; i++) {
        tokens[i] = i % LENGTH == LENGTH - 1 ? 99 : (i / LENGTH * 7 + i) % 98;
    }
    for (int i = 0; i <= ROWS; i++) {
        offsets[i] = i * LENGTH;
    }
    int64_t bytes = work->sequences * 64 * 64 * 3;
    uint8_t *rgb = fc_alloc((size_t)bytes, 1);
    fc_pixels pixels = {.size = 64, .count = {work->sequences, 0}, .rgb = {rgb, NULL}};
    fc_tape *tape = fc_tape_create(FC_F32);
    FX_NEED(fc_clip_vision(m, tape, &pixels, work->dense_count, work->class_first, 0, &out[0],
                           &out[1]));
    out[2] = fc_clip_text(m, tape, ROWS, tokens, offsets, 0);
    FX_NEED(fc_tape_status(tape));
    check_close("forward", fc_tape_flops(tape, false), cost.forward_flops);
    for (int i = 0; i < 3; i++) {
        if (out[i] != NULL && out[i]->needs_grad) {
            float *seed = fc_alloc((size_t)fc_tensor_count(out[i]), sizeof *seed);
            for (int64_t k = 0; k < fc_tensor_count(out[i]); k++) {
                seed[k] = 1;
            }
            fc_tape_seed(tape, out[i], seed);
            fc_free(&seed);
        }
    }
    FX_NEED(fc_backward(tape, 0, NULL, NULL));
    check_close("step", fc_tape_flops(tape, true), cost.step_flops);
    fc_free(&rgb);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

/* Sizes of the published models, in millions of parameters. */
static void check_published(const char *name, double millions)
{
    fc_model_config config;
    fc_clip_cost cost;
    fc_clip_work none = {0};
    FX_NEED(fc_model_config_load(&config, name));
    fc_clip_estimate(&cost, &config, config.vision.image_size, &none);
    fc_check_true(fabs((double)cost.parameters / 1e6 - millions) <= 0.01 * millions, __FILE__,
                  __LINE__, "%s has %g million parameters, published are %g", name,
                  (double)cost.parameters / 1e6, millions);
}

int main(void)
{
    static const fc_clip_work works[] = {
        {ALL, PICTURES, 0, ROWS, ROWS * LENGTH, 0},
        {ALL, PICTURES, 0, ROWS, ROWS * LENGTH, FC_FREEZE_TEXT},
        {ALL, PICTURES, PICTURES, ROWS, ROWS * LENGTH, FC_FREEZE_LOGIT_SCALE},
        {PICTURES, PICTURES, PICTURES, ROWS, ROWS * LENGTH, 0},
        {ALL, 0, 0, ROWS, ROWS * LENGTH, 0},
        {ALL, PICTURES, 0, ROWS, ROWS * LENGTH, FC_TRAIN_LAST_BLOCKS(4) | FC_FREEZE_TEXT},
        {ALL, PICTURES, 0, ROWS, ROWS * LENGTH, FC_TRAIN_LAST_BLOCKS(2) | FC_FREEZE_TEXT},
        {PICTURES, PICTURES, PICTURES, ROWS, ROWS * LENGTH, FC_TRAIN_LAST_BLOCKS(3)},
        {ALL, PICTURES, 0, ROWS, ROWS * LENGTH, FC_TRAIN_LAST_BLOCKS(1)},
    };
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        check_work(FC_VISION_EVA02, &works[i]);
        check_work(FC_VISION_VIT, &works[i]);
    }
    check_published("clip-vit-b-32", 151.3);
    check_published("clip-vit-b-16", 149.6);
    check_published("clip-vit-l-14", 427.6);
    check_published("eva02-clip-b-16", 149.7);
    check_published("eva02-clip-l-14-336", 428.1);
    return fc_check_end();
}
