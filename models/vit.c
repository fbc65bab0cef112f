/* The picture tower of OpenAI's CLIP. Source: METHOD.md section 3 "vit"; Radford et al. 2021.
 * n pictures, P patches each, T rows, W width, D embed_dim. */
#include "core/memory.h"
#include "models/clip_parts.h"

#include <math.h>

static const double NORM_EPS = 1e-5;

typedef struct vit_tower {
    fc_tensor *conv1, *class_embedding, *positions, *ln_pre[2], *ln_post[2], *proj;
    fci_block *blocks;
} vit_tower;

static void build(fc_clip *m)
{
    const fc_model_config *c = &m->config;
    int64_t width = c->vision.width, patch = c->vision.patch_size;
    double fan_in = 3.0 * (double)(patch * patch);
    fci_init_rule by_width = FCI_NORMAL(1.0 / sqrt((double)width));
    vit_tower *v = m->vision = fc_alloc(1, sizeof *v);

    v->class_embedding = fci_add_vector(m, by_width, width, "visual.class_embedding");
    v->positions =
        fci_add_matrix(m, by_width, 1 + m->patches, width, "%s", fci_vision_positions(c));
    fc_params_keep_wide(m->params, v->class_embedding->param_first);
    fc_params_keep_wide(m->params, v->positions->param_first);
    v->proj = fci_add_matrix(m, by_width, width, c->embed_dim, "visual.proj");
    int conv1 = fci_add(m, (fci_init_rule){FCI_INIT_UNIFORM, 1.0 / sqrt(fan_in)}, 4,
                        (int64_t[]){width, 3, patch, patch}, "visual.conv1.weight");
    v->conv1 = fc_params_view(m->params, conv1, 1, width, 3 * patch * patch);
    fci_add_norm(m, v->ln_pre, width, "visual.ln_pre");
    fci_align(m);
    v->blocks = fc_alloc((size_t)c->vision.layers, sizeof *v->blocks);
    for (int l = 0; l < c->vision.layers; l++) {
        char *prefix = fc_format("visual.transformer.resblocks.%d", l);
        fci_block_add(m, &v->blocks[l], prefix, width, fci_vision_hidden(c), c->vision.layers);
        fc_free(&prefix);
    }
    fci_add_norm(m, v->ln_post, width, "visual.ln_post");
}

static void destroy(fc_clip *m)
{
    vit_tower *v = m->vision;
    if (v != NULL) {
        fc_free(&v->blocks);
        fc_free(&m->vision);
    }
}

static fc_tensor *embed(const fc_clip *m, fc_tape *tape, const fc_pixels *pixels)
{
    const vit_tower *v = m->vision;
    fc_tensor *x = fc_patchify(tape, pixels, m->config.vision.patch_size);
    x = fc_linear(tape, x, v->conv1, NULL, NULL);
    x = fc_tokens(tape, x, v->class_embedding, v->positions);
    return fci_norm(tape, x, v->ln_pre, NORM_EPS);
}

static fc_tensor *block(const fc_clip *m, fc_tape *tape, int layer, fc_tensor *x,
                        const fc_attention_spec *spec)
{
    const vit_tower *v = m->vision;
    fc_tape_push(tape, "visual.transformer.resblocks.%d", layer);
    x = fci_block_forward(&v->blocks[layer], tape, x, spec);
    fc_tape_pop(tape);
    return x;
}

static const fci_block *last(const fc_clip *m)
{
    const vit_tower *v = m->vision;
    return &v->blocks[m->config.vision.layers - 1];
}

static fc_tensor *norm(const fc_clip *m, fc_tape *tape, fc_tensor *x)
{
    return fci_block_norm(last(m), tape, x);
}

static fc_tensor *part(const fc_clip *m, fc_tape *tape, fci_part which, fc_tensor *h)
{
    return fci_block_part(last(m), tape, which, h);
}

static fc_tensor *finish(const fc_clip *m, fc_tape *tape, fc_tensor *mixed, fc_tensor *residual)
{
    const vit_tower *v = m->vision;
    fc_tensor *x = fci_block_finish(last(m), tape, mixed, residual);
    return fc_project(tape, fci_norm(tape, x, v->ln_post, NORM_EPS), v->proj);
}

const fci_vision_def fci_vit = {
    "visual.transformer.resblocks.", build, destroy, embed, block, norm, part, finish};
