/* What tests of models share: golden models, tiny random ones, and values as doubles. */
#ifndef FC_TESTS_MODELS_FIXTURE_H
#define FC_TESTS_MODELS_FIXTURE_H

#include "core/memory.h"
#include "core/rng.h"
#include "models/clip.h"
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* End the test where going on makes no sense. */
#define FX_NEED(call)                                                                              \
    do {                                                                                           \
        if (!FC_CHECK_OK(call)) {                                                                  \
            exit(fc_check_end());                                                                  \
        }                                                                                          \
    } while (0)

static inline fc_model_config fx_golden_config(const char *folder)
{
    char name[64];
    fc_model_config config;
    snprintf(name, sizeof name, "%s/model.yaml", folder);
    FX_NEED(fc_model_config_load(&config, fc_check_golden(name)));
    return config;
}

static inline fc_clip *fx_golden(const char *folder, int image_size, fc_dtype dtype)
{
    char name[64];
    fc_clip *m = NULL;
    fc_model_config config = fx_golden_config(folder);
    FX_NEED(fc_clip_create(&m, &config, image_size, dtype, 0));
    snprintf(name, sizeof name, "%s/init.safetensors", folder);
    FX_NEED(fc_clip_load(m, fc_check_golden(name)));
    return m;
}

/* Half a million parameters: grid 8 at 64 pixels, 4 blocks and 3. */
static inline fc_model_config fx_small_config(fc_vision_kind kind)
{
    fc_model_config c = {.name = "custom", .embed_dim = 48};
    c.vision.kind = kind;
    c.vision.image_size = 64;
    c.vision.patch_size = 8;
    c.vision.width = 96;
    c.vision.layers = 4;
    c.vision.head_width = 32;
    c.vision.mlp_ratio = kind == FC_VISION_EVA02 ? 2.6667 : 4.0;
    c.vision.pt_hw_seq_len = 16;
    c.text.context_length = 16;
    c.text.vocab_size = 100;
    c.text.width = 64;
    c.text.heads = 4;
    c.text.layers = 3;
    return c;
}

/* A few thousand parameters: grid 3, 2 heads in each tower. */
static inline fc_model_config fx_tiny_config(fc_vision_kind kind, int vision_layers)
{
    fc_model_config c = {.name = "custom", .embed_dim = 6, .quick_gelu = kind == FC_VISION_VIT};
    c.vision.kind = kind;
    c.vision.image_size = 12;
    c.vision.patch_size = 4;
    c.vision.width = 16;
    c.vision.layers = vision_layers;
    c.vision.head_width = 8;
    c.vision.mlp_ratio = 2.0;
    c.vision.pt_hw_seq_len = 16;
    c.text.context_length = 8;
    c.text.vocab_size = 20;
    c.text.width = 8;
    c.text.heads = 2;
    c.text.layers = 2;
    return c;
}

static inline fc_clip *fx_tiny(fc_vision_kind kind, int vision_layers, unsigned freeze)
{
    fc_clip *m = NULL;
    fc_model_config config = fx_tiny_config(kind, vision_layers);
    FX_NEED(fc_clip_create(&m, &config, config.vision.image_size, FC_F64, freeze));
    fc_clip_init(m, 7);
    /* Far from where biases are 0 and gains are 1, so that every parameter matters. */
    fc_rng rng = fc_rng_stream(3, FC_RNG_TEST, 0, 0);
    for (int i = 0; i < m->params->count; i++) {
        double *data = fc_param_data(m->params, i);
        for (int64_t k = 0; m->params->items[i].name != NULL && k < m->params->items[i].count;
             k++) {
            data[k] += 0.2 * fc_rng_normal(&rng);
        }
    }
    return m;
}

/* n pictures of random normalised planes. */
static inline double *fx_planes(const fc_clip *m, int64_t n)
{
    int64_t count = n * 3 * m->image_size * m->image_size;
    double *planes = fc_alloc((size_t)count, sizeof *planes);
    fc_rng rng = fc_rng_stream(5, FC_RNG_TEST, 1, 0);
    for (int64_t i = 0; i < count; i++) {
        planes[i] = fc_rng_normal(&rng);
    }
    return planes;
}

/* Values of a tensor as doubles, heap. */
static inline double *fx_values(const fc_tensor *t)
{
    int64_t n = fc_tensor_count(t);
    double *out = fc_alloc((size_t)n, sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        out[i] =
            t->dtype == FC_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
    }
    return out;
}

#endif
