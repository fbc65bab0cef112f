/* The initial model kept beside the one that trains: as a teacher it gives the class embeddings of
 * the model it was copied from and gets no gradient; ensembling is exact and leaves no trace. And
 * locked towers: the parameters of the last blocks get the gradient they get in a free tower, all
 * others of the tower none. */
#include "tests/models/fixture.h"

enum { PICTURES = 70, LAYERS = 3 }; /* more pictures than the teacher takes at a time */

static uint8_t *pictures(const fc_clip *m)
{
    size_t bytes = 3 * (size_t)PICTURES * (size_t)(m->image_size * m->image_size);
    uint8_t *rgb = fc_alloc(bytes, 1);
    fc_rng rng = fc_rng_stream(5, FC_RNG_TEST, 2, 0);
    for (size_t i = 0; i < bytes; i++) {
        rgb[i] = (uint8_t)fc_rng_u32(&rng);
    }
    return rgb;
}

static void disturb(fc_clip *m)
{
    fc_rng rng = fc_rng_stream(6, FC_RNG_TEST, 3, 0);
    for (int i = 0; i < m->params->count; i++) {
        double *data = fc_param_data(m->params, i);
        for (int64_t k = 0; m->params->items[i].name != NULL && k < m->params->items[i].count;
             k++) {
            data[k] += 0.1 * fc_rng_normal(&rng);
        }
    }
}

static void test_teacher(fc_vision_kind kind)
{
    fc_clip *m = fx_tiny(kind, LAYERS, 0);
    fc_tape *tape = fc_tape_create(FC_F64);
    uint8_t *rgb = pictures(m);
    fc_pixels pixels = {.size = m->image_size, .count = {PICTURES}, .rgb = {rgb}};
    fc_tensor *cls, *dense;
    FX_NEED(fc_clip_vision(m, tape, &pixels, 0, 0, 0, &cls, &dense));
    fc_tensor *own = fc_l2norm(tape, cls);
    int64_t count = fc_tensor_count(own);
    double *want = fx_values(own);
    fc_tape_reset(tape);

    FX_NEED(fc_clip_keep_initial(m));
    disturb(m);
    fc_params_zero_grad(m->params);
    fc_tensor *taught = fc_clip_teacher(m, tape, rgb, PICTURES, false);
    FX_NEED(fc_tape_status(tape));
    FC_CHECK_INT(taught->rows, PICTURES);
    FC_CHECK_NEAR(fc_check_max_abs(taught->data, want, count), 0, 1e-14);
    FC_CHECK(!taught->needs_grad);
    FC_CHECK_INT(m->initial->params->grad_total, 0);
    /* What flows back to it goes nowhere. */
    fc_tape_seed(tape, taught, want);
    FX_NEED(fc_backward(tape, 0, NULL, NULL));
    FC_CHECK(taught->grad == NULL);
    for (int i = 0; i < m->params->count; i++) {
        FC_CHECK(!m->params->items[i].touched && m->params->items[i].pending == 0);
    }
    FC_CHECK_INT(fc_clip_teacher(m, tape, rgb, 0, false)->rows, 0);
    fc_free(&want);
    fc_free(&rgb);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

static void test_ensemble(void)
{
    const double alpha = 0.7;
    fc_clip *m = fx_tiny(FC_VISION_EVA02, LAYERS, FC_FREEZE_TEXT);
    fc_params *p = m->params;
    size_t bytes = (size_t)p->total * sizeof(double);
    double *before = memcpy(fc_alloc(bytes, 1), p->data, bytes);
    void *own;
    fc_clip_ensemble_begin(m, &own); /* off */
    FC_CHECK(own == NULL && memcmp(before, p->data, bytes) == 0);
    fc_clip_ensemble_end(m, &own);

    FX_NEED(fc_clip_keep_initial(m));
    disturb(m);
    m->ensemble_alpha = alpha;
    double *moved = memcpy(fc_alloc(bytes, 1), p->data, bytes);
    fc_clip_ensemble_begin(m, &own);
    FC_CHECK(own != NULL);
    int64_t mixed = 0;
    for (int64_t i = 0; i < p->total; i++) {
        double have = ((const double *)p->data)[i];
        FC_CHECK(have == before[i] + alpha * (moved[i] - before[i]));
        FC_CHECK_NEAR(have, alpha * moved[i] + (1 - alpha) * before[i], 1e-15);
        mixed += have != moved[i];
    }
    FC_CHECK(mixed > 1000);
    fc_clip_ensemble_end(m, &own);
    FC_CHECK(own == NULL && memcmp(moved, p->data, bytes) == 0);
    fc_free(&before);
    fc_free(&moved);
    fc_clip_destroy(&m);
}

/* The sum of class and dense features against random numbers, back into the parameters. */
static double run(const fc_clip *m, const double *planes)
{
    enum { N = 2 };
    fc_tape *tape = fc_tape_create(FC_F64);
    fc_pixels pixels = {.size = m->image_size, .count = {N}, .planes = planes};
    fc_tensor *out[2];
    double sum = 0;
    fc_params_zero_grad(m->params);
    FX_NEED(fc_clip_vision(m, tape, &pixels, N, 0, 0, &out[0], &out[1]));
    for (int i = 0; i < 2; i++) {
        int64_t n = fc_tensor_count(out[i]);
        double *weight = fc_tape_alloc(tape, (size_t)n * sizeof *weight);
        fc_rng rng = fc_rng_stream(11, FC_RNG_TEST, (uint64_t)i, 0);
        for (int64_t k = 0; k < n; k++) {
            weight[k] = fc_rng_normal(&rng);
            sum += weight[k] * ((const double *)out[i]->data)[k];
        }
        fc_tape_seed(tape, out[i], weight);
    }
    FX_NEED(fc_backward(tape, 0, NULL, NULL));
    fc_tape_destroy(&tape);
    return sum;
}

static bool in_last_blocks(const char *name, int blocks)
{
    for (int l = LAYERS - blocks; l < LAYERS; l++) {
        char eva[64], vit[64];
        snprintf(eva, sizeof eva, "visual.blocks.%d.", l);
        snprintf(vit, sizeof vit, "visual.transformer.resblocks.%d.", l);
        if (strncmp(name, eva, strlen(eva)) == 0 || strncmp(name, vit, strlen(vit)) == 0) {
            return true;
        }
    }
    return false;
}

static void test_locked(fc_vision_kind kind, int blocks)
{
    fc_clip *m = fx_tiny(kind, LAYERS, FC_TRAIN_LAST_BLOCKS(blocks)),
            *open = fx_tiny(kind, LAYERS, 0);
    double *planes = fx_planes(m, 2);
    FC_CHECK(run(m, planes) == run(open, planes));
    int compared = 0;
    for (int i = m->vision_first; i < m->vision_first + m->vision_count; i++) {
        const fc_param *item = &m->params->items[i];
        if (item->name == NULL) {
            continue;
        }
        bool trained = in_last_blocks(item->name, blocks);
        FC_CHECK_INT(item->trainable, trained);
        FC_CHECK_INT(item->touched, trained);
        FC_CHECK((fc_param_grad(m->params, i) != NULL) == trained);
        if (trained) {
            FC_CHECK_NEAR(fc_check_max_abs(fc_param_grad(m->params, i),
                                           fc_param_grad(open->params, i), item->count),
                          0, 0);
            compared++;
        }
    }
    FC_CHECK(compared >= 12 * blocks);
    FC_CHECK(m->params->items[m->text_first].trainable);
    fc_free(&planes);
    fc_clip_destroy(&m);
    fc_clip_destroy(&open);
}

int main(void)
{
    for (int kind = 0; kind < 2; kind++) {
        fc_vision_kind k = kind == 0 ? FC_VISION_EVA02 : FC_VISION_VIT;
        test_teacher(k);
        for (int blocks = 1; blocks <= LAYERS; blocks++) {
            test_locked(k, blocks);
        }
    }
    test_ensemble();
    fc_model_config config = fx_tiny_config(FC_VISION_VIT, LAYERS);
    fc_clip *m = NULL;
    FC_CHECK_FAILS(fc_clip_create(&m, &config, 12, FC_F64, FC_TRAIN_LAST_BLOCKS(4)), FC_USAGE,
                   "4, the picture tower has 3 blocks");
    return fc_check_end();
}
