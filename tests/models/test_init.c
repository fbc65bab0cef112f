/* Random initialisation: deviations of METHOD.md section 4b by name, and independence of what else
 * a model holds. */
#include "tests/models/fixture.h"

static fc_clip *create(fc_vision_kind kind, int image_size, uint64_t seed, fc_dtype dtype)
{
    fc_model_config c = fx_tiny_config(kind, 2);
    fc_clip *m = NULL;
    c.vision.width = 64;
    c.text.width = 32;
    c.text.vocab_size = 300;
    FX_NEED(fc_clip_create(&m, &c, image_size, dtype, 0));
    fc_clip_init(m, seed);
    return m;
}

static double *values(const fc_clip *m, const char *name, int64_t *count)
{
    int i = fc_params_find(m->params, name);
    if (!fc_check_true(i >= 0, __FILE__, __LINE__, "no %s", name)) {
        exit(fc_check_end());
    }
    *count = m->params->items[i].count;
    float *single = fc_alloc((size_t)*count, sizeof *single);
    double *out = fc_alloc((size_t)*count, sizeof *out);
    fc_param_get_f32(m->params, i, single);
    for (int64_t k = 0; k < *count; k++) {
        out[k] = (double)single[k];
    }
    fc_free(&single);
    return out;
}

/* Mean and deviation within what chance allows (5 standard errors). */
static void check_deviation(const fc_clip *m, const char *name, double mean, double deviation)
{
    int64_t n;
    double *v = values(m, name, &n), sum = 0, squares = 0;
    for (int64_t k = 0; k < n; k++) {
        sum += v[k];
        squares += (v[k] - mean) * (v[k] - mean);
    }
    double have = sqrt(squares / (double)n);
    double allowed = 5 * deviation / sqrt((double)n);
    fc_check_true(fabs(sum / (double)n - mean) <= allowed + 1e-6 &&
                      fabs(have - deviation) <= allowed + 1e-6,
                  __FILE__, __LINE__, "%s: mean %g deviation %g, want %g %g", name, sum / (double)n,
                  have, mean, deviation);
    fc_free(&v);
}

static void check_names(void)
{
    const double w = 64, t = 32;
    fc_clip *m = create(FC_VISION_VIT, 12, 1, FC_F32);
    check_deviation(m, "logit_scale", log(1 / 0.07), 0);
    const fc_param *scale = &m->params->items[m->logit_scale->param_first];
    FC_CHECK(scale->least == 0 && scale->most == log(100.0));
    check_deviation(m, "visual.class_embedding", 0, 1 / sqrt(w));
    check_deviation(m, "visual.positional_embedding", 0, 1 / sqrt(w));
    check_deviation(m, "visual.proj", 0, 1 / sqrt(w));
    check_deviation(m, "visual.conv1.weight", 0, 1 / sqrt(48.0) / sqrt(3.0));
    check_deviation(m, "visual.ln_pre.weight", 1, 0);
    check_deviation(m, "visual.ln_pre.bias", 0, 0);
    check_deviation(m, "visual.transformer.resblocks.1.attn.in_proj_weight", 0, 1 / sqrt(w));
    check_deviation(m, "visual.transformer.resblocks.1.attn.in_proj_bias", 0, 0);
    check_deviation(m, "visual.transformer.resblocks.1.attn.out_proj.weight", 0, 1 / sqrt(w * 4));
    check_deviation(m, "visual.transformer.resblocks.1.mlp.c_fc.weight", 0, 1 / sqrt(2 * w));
    check_deviation(m, "visual.transformer.resblocks.1.mlp.c_proj.weight", 0, 1 / sqrt(w * 4));
    check_deviation(m, "token_embedding.weight", 0, 0.02);
    check_deviation(m, "positional_embedding", 0, 0.01);
    check_deviation(m, "text_projection", 0, 1 / sqrt(t));
    check_deviation(m, "transformer.resblocks.0.mlp.c_fc.weight", 0, 1 / sqrt(2 * t));
    fc_clip_destroy(&m);
    m = create(FC_VISION_EVA02, 12, 1, FC_F32);
    check_deviation(m, "visual.cls_token", 0, 0.02);
    check_deviation(m, "visual.pos_embed", 0, 0.02);
    check_deviation(m, "visual.patch_embed.proj.weight", 0, 1 / sqrt(48.0) / sqrt(3.0));
    check_deviation(m, "visual.patch_embed.proj.bias", 0, 0);
    check_deviation(m, "visual.blocks.1.attn.q_proj.weight", 0, 0.02);
    check_deviation(m, "visual.blocks.1.attn.q_bias", 0, 0);
    check_deviation(m, "visual.blocks.0.attn.proj.weight", 0, 0.02 / sqrt(2.0));
    check_deviation(m, "visual.blocks.1.attn.proj.weight", 0, 0.02 / sqrt(4.0));
    check_deviation(m, "visual.blocks.1.mlp.w1.weight", 0, 0.02);
    check_deviation(m, "visual.blocks.1.mlp.w3.weight", 0, 0.02 / sqrt(4.0));
    check_deviation(m, "visual.blocks.1.mlp.ffn_ln.weight", 1, 0);
    check_deviation(m, "visual.head.weight", 0, 0.02);
    check_deviation(m, "text.token_embedding.weight", 0, 0.02);
    fc_clip_destroy(&m);
}

static double difference(const fc_clip *a, const fc_clip *b, const char *name)
{
    int64_t n, same;
    double *x = values(a, name, &n), *y = values(b, name, &same);
    FC_CHECK_INT(n, same);
    double d = fc_check_max_abs(x, y, n);
    fc_free(&x);
    fc_free(&y);
    return d;
}

static void check_streams(void)
{
    static const char name[] = "visual.blocks.1.mlp.w1.weight";
    fc_clip *m = create(FC_VISION_EVA02, 12, 1, FC_F32);
    fc_clip *larger = create(FC_VISION_EVA02, 20, 1, FC_F64);
    fc_clip *other = create(FC_VISION_EVA02, 12, 2, FC_F32);
    FC_CHECK_NEAR(difference(m, larger, name), 0, 0);
    FC_CHECK_NEAR(difference(m, larger, "text.text_projection"), 0, 0);
    FC_CHECK(difference(m, other, name) > 0.01);
    fc_clip_destroy(&m);
    fc_clip_destroy(&larger);
    fc_clip_destroy(&other);
}

int main(void)
{
    check_names();
    check_streams();
    return fc_check_end();
}
