/* Gradients of whole tiny models in double against finite differences, for every way the picture
 * tower is asked; what gets no gradient; recomputed blocks give the same. */
/* fctest: timeout=120 */
#include "tests/models/fixture.h"

enum { PICTURES = 2, CROPS = 1, ALL = PICTURES + CROPS, BOXES = 3, ROWS = 4 };

static const float boxes[BOXES][4] = {
    {0.1F, 0.2F, 0.7F, 0.9F}, {0.0F, 0.0F, 1.0F, 1.0F}, {0.4F, 0.35F, 0.6F, 0.5F}};
static const int32_t box_image[BOXES] = {0, 1, 1};
/* Rows 0 and 2 are equal up to the end token 19; zeros and smaller ids after it do not matter. */
static const int32_t tokens[] = {18, 3, 4, 19, 0, 0, 18, 19, 18, 3, 4, 19, 5, 18, 7, 8, 9, 2, 19};
static const int64_t offsets[ROWS + 1] = {0, 6, 8, 13, 19};

typedef struct call {
    const char *name;
    int64_t dense_count, class_first;
    bool text, recompute;
} call;

/* The outputs of a call, each against random numbers: the scalar whose gradient is checked. With
 * `back`, gradients are left in the parameters. */
static double run(const fc_clip *m, fc_tape *tape, const double *planes, const call *c, bool back)
{
    fc_tensor *out[4] = {0};
    fc_pixels pixels = {.size = m->image_size, .count = {ALL, 0}, .planes = planes};
    if (c->dense_count < ALL && c->class_first == ALL) {
        pixels.count[0] = c->dense_count;
    }
    int64_t class_first = c->class_first < ALL ? c->class_first : pixels.count[0];
    fc_tape_reset(tape);
    (void)fc_tape_record(tape, back);
    FX_NEED(fc_clip_vision(m, tape, &pixels, c->dense_count, class_first,
                           c->recompute ? FC_ALL_BLOCKS : 0, &out[0], &out[1]));
    if (c->dense_count >= PICTURES) {
        out[2] = fc_clip_box_features(tape, out[1], m->grid, boxes[0], box_image, BOXES);
    }
    if (c->text) {
        out[3] = fc_clip_text(m, tape, ROWS, tokens, offsets, c->recompute ? FC_ALL_BLOCKS : 0);
    }
    FX_NEED(fc_tape_status(tape));
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        int64_t n = out[i] == NULL ? 0 : fc_tensor_count(out[i]);
        double *weight = fc_tape_alloc(tape, (size_t)n * sizeof *weight);
        fc_rng rng = fc_rng_stream(11, FC_RNG_TEST, (uint64_t)i, 0);
        for (int64_t k = 0; k < n; k++) {
            weight[k] = fc_rng_normal(&rng);
            sum += weight[k] * ((const double *)out[i]->data)[k];
        }
        if (n > 0 && back) {
            fc_tape_seed(tape, out[i], weight);
        }
    }
    if (back) {
        FX_NEED(fc_backward(tape, 0, NULL, NULL));
    }
    return sum;
}

static double difference(const fc_clip *m, fc_tape *tape, const double *planes, const call *c,
                         double *x)
{
    double before = *x, step = 1e-5 * fmax(1.0, fabs(before));
    *x = before + step;
    double up = run(m, tape, planes, c, false);
    *x = before - step;
    double down = run(m, tape, planes, c, false);
    *x = before;
    return (up - down) / (2 * step);
}

/* A few elements of every parameter. */
static void check_call(fc_clip *m, const call *c)
{
    enum { EACH = 3, MOST = 4096 };
    static double have[MOST], want[MOST];
    fc_tape *tape = fc_tape_create(FC_F64);
    double *planes = fx_planes(m, ALL);
    fc_rng rng = fc_rng_stream(13, FC_RNG_TEST, 0, 0);
    int n = 0;
    fc_params_zero_grad(m->params);
    run(m, tape, planes, c, true);
    for (int i = 0; i < m->params->count; i++) {
        const fc_param *item = &m->params->items[i];
        const double *grad = fc_param_grad(m->params, i);
        double *data = fc_param_data(m->params, i);
        FC_CHECK(item->pending == 0);
        if (item->name == NULL) {
            continue;
        }
        int first = n;
        for (int e = 0; e < EACH && n < MOST; e++, n++) {
            int64_t k = (int64_t)fc_rng_below(&rng, (uint64_t)item->count);
            have[n] = grad[k];
            want[n] = difference(m, tape, planes, c, &data[k]);
        }
        double error = fc_check_max_abs(have + first, want + first, n - first);
        fc_check_true(error <= 2e-6, __FILE__, __LINE__, "%s: gradient of %s is off by %g", c->name,
                      item->name, error);
        for (int64_t k = 0; !item->touched && k < item->count; k++) {
            FC_CHECK(grad[k] == 0);
        }
    }
    double error = fc_check_rel_l2(have, want, n);
    fc_check_true(error <= 1e-7, __FILE__, __LINE__, "%s: relative error %g", c->name, error);
    printf("%-24s %.2g\n", c->name, error);
    fc_free(&planes);
    fc_tape_destroy(&tape);
}

static bool touched(const fc_clip *m, const char *name)
{
    int i = fc_params_find(m->params, name);
    FC_CHECK(i >= 0);
    return i >= 0 && m->params->items[i].touched;
}

/* METHOD.md section 6: with no class embedding wanted the last block's q and k stay untouched. */
static void check_untouched(void)
{
    static const call dense = {"dense alone", ALL, ALL, false, false};
    static const call both = {"both", PICTURES, 0, false, false};
    fc_tape *tape = fc_tape_create(FC_F64);
    fc_clip *m = fx_tiny(FC_VISION_EVA02, 2, 0);
    double *planes = fx_planes(m, ALL);
    for (int round = 0; round < 2; round++) {
        fc_params_zero_grad(m->params);
        run(m, tape, planes, round == 0 ? &dense : &both, true);
        FC_CHECK(touched(m, "visual.blocks.0.attn.q_proj.weight"));
        FC_CHECK(touched(m, "visual.blocks.0.attn.q_bias"));
        FC_CHECK_INT(touched(m, "visual.blocks.1.attn.q_proj.weight"), round);
        FC_CHECK_INT(touched(m, "visual.blocks.1.attn.k_proj.weight"), round);
        FC_CHECK_INT(touched(m, "visual.blocks.1.attn.q_bias"), round);
        FC_CHECK(touched(m, "visual.blocks.1.attn.v_proj.weight"));
        FC_CHECK(touched(m, "visual.blocks.1.attn.v_bias"));
        FC_CHECK(touched(m, "visual.cls_token"));
        FC_CHECK(!touched(m, "logit_scale"));
        FC_CHECK(!touched(m, "text.token_embedding.weight"));
    }
    fc_clip_destroy(&m);
    m = fx_tiny(FC_VISION_VIT, 2, 0);
    fc_params_zero_grad(m->params);
    run(m, tape, planes, &dense, true);
    FC_CHECK(touched(m, "visual.transformer.resblocks.1.attn.in_proj_weight"));
    const double *grad =
        fc_param_grad(m->params, fc_params_find(m->params, "visual.transformer.resblocks.1."
                                                           "attn.in_proj_weight"));
    for (int64_t k = 0; k < 2 * 16 * 16; k++) {
        FC_CHECK(grad[k] == 0);
    }
    fc_clip_destroy(&m);
    fc_free(&planes);
    fc_tape_destroy(&tape);
}

static void check_frozen(void)
{
    fc_clip *m = fx_tiny(FC_VISION_EVA02, 2, FC_FREEZE_TEXT | FC_FREEZE_LOGIT_SCALE);
    fc_clip *free_one = fx_tiny(FC_VISION_EVA02, 2, 0);
    fc_tape *tape = fc_tape_create(FC_F64);
    double *planes = fx_planes(m, ALL);
    static const call both = {"both", PICTURES, 0, true, false};
    fc_params_zero_grad(m->params);
    fc_params_zero_grad(free_one->params);
    FC_CHECK(run(m, tape, planes, &both, true) == run(free_one, tape, planes, &both, true));
    int64_t compared = 0;
    for (int i = 0; i < m->params->count; i++) {
        const fc_param *item = &m->params->items[i];
        bool image = i >= m->vision_first && i < m->vision_first + m->vision_count;
        FC_CHECK((fc_param_grad(m->params, i) != NULL) == (image && item->grad_offset >= 0));
        if (!image) {
            FC_CHECK(!item->touched);
        } else if (item->name != NULL) {
            FC_CHECK_NEAR(fc_check_max_abs(fc_param_grad(m->params, i),
                                           fc_param_grad(free_one->params, i), item->count),
                          0, 0);
            compared += item->count;
        }
    }
    FC_CHECK(compared > 1000);
    fc_free(&planes);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
    fc_clip_destroy(&free_one);
}

int main(void)
{
    static const call calls[] = {
        {"both, text", PICTURES, 0, true, false},
        {"both, text, recomputed", PICTURES, 0, true, true},
        {"class alone", 0, 0, false, false},
        {"dense alone", ALL, ALL, false, false},
        {"crops' class, dense", PICTURES, PICTURES, false, true},
        {"overlap", PICTURES, 1, false, false},
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (int kind = 0; kind < 2; kind++) {
            fc_clip *m = fx_tiny(kind == 0 ? FC_VISION_EVA02 : FC_VISION_VIT, 3 - (int)(i % 3), 0);
            check_call(m, &calls[i]);
            fc_clip_destroy(&m);
        }
    }
    check_untouched();
    check_frozen();
    return fc_check_end();
}
