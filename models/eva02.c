/* The picture tower of EVA-02-CLIP: rotary positions, a norm after attention and inside the SwiGLU
 * MLP, no key bias. Source: METHOD.md section 3 "eva02"; Sun et al. 2023.
 * n pictures, P patches each, T rows, W width, F hidden width, D embed_dim. */
#include "core/memory.h"
#include "models/clip_parts.h"

#include <math.h>

static const double NORM_EPS = 1e-6;
static const fci_init_rule LINEAR = {FCI_INIT_TRUNCATED, 1.0};

typedef struct eva_block {
    fc_tensor *norm1[2], *norm2[2];
    fc_tensor *qkv[2], *part[3][2]; /* (3W,W) and (3W) at once; one of them, k without bias */
    fc_tensor *inner_attn_ln[2], *proj[2];
    fc_tensor *w12[2]; /* (2F,W), (2F) */
    fc_tensor *ffn_ln[2], *w3[2];
} eva_block;

typedef struct eva_tower {
    fc_tensor *patch_embed[2], *cls_token, *positions, *norm[2], *head[2];
    eva_block *blocks;
} eva_tower;

/* q, k, v lie side by side so that one product yields them all; so do their biases, with zeros in
 * place of the key's. */
static void add_attention(fc_clip *m, eva_block *b, int64_t width, int number)
{
    static const char letters[] = "qkv";
    fc_params *p = m->params;
    for (int i = 0; i < 3; i++) {
        b->part[i][0] = fci_add_matrix(m, LINEAR, width, width,
                                       "visual.blocks.%d.attn.%c_proj.weight", number, letters[i]);
    }
    b->qkv[0] = fc_params_view(p, b->part[0][0]->param_first, 3, 3 * width, width);
    b->part[FCI_Q][1] = fci_add_vector(m, FCI_ZEROS, width, "visual.blocks.%d.attn.q_bias", number);
    fc_params_add_filler(p, width);
    b->part[FCI_V][1] = fci_add_vector(m, FCI_ZEROS, width, "visual.blocks.%d.attn.v_bias", number);
    b->qkv[1] = fc_params_view(p, b->part[FCI_Q][1]->param_first, 3, 0, 3 * width);
    fci_add_norm(m, b->inner_attn_ln, width, "visual.blocks.%d.attn.inner_attn_ln", number);
    fci_init_rule out = {FCI_INIT_TRUNCATED, 1.0 / sqrt(2.0 * (number + 1))};
    b->proj[0] = fci_add_matrix(m, out, width, width, "visual.blocks.%d.attn.proj.weight", number);
    b->proj[1] = fci_add_vector(m, FCI_ZEROS, width, "visual.blocks.%d.attn.proj.bias", number);
}

static void add_mlp(fc_clip *m, eva_block *b, int64_t width, int64_t hidden, int number)
{
    fc_params *p = m->params;
    const fc_tensor *w1 =
        fci_add_matrix(m, LINEAR, hidden, width, "visual.blocks.%d.mlp.w1.weight", number);
    fci_add_matrix(m, LINEAR, hidden, width, "visual.blocks.%d.mlp.w2.weight", number);
    b->w12[0] = fc_params_view(p, w1->param_first, 2, 2 * hidden, width);
    const fc_tensor *bias1 =
        fci_add_vector(m, FCI_ZEROS, hidden, "visual.blocks.%d.mlp.w1.bias", number);
    fci_add_vector(m, FCI_ZEROS, hidden, "visual.blocks.%d.mlp.w2.bias", number);
    b->w12[1] = fc_params_view(p, bias1->param_first, 2, 0, 2 * hidden);
    fci_add_norm(m, b->ffn_ln, hidden, "visual.blocks.%d.mlp.ffn_ln", number);
    fci_align(m);
    fci_init_rule out = {FCI_INIT_TRUNCATED, 1.0 / sqrt(2.0 * (number + 1))};
    b->w3[0] = fci_add_matrix(m, out, width, hidden, "visual.blocks.%d.mlp.w3.weight", number);
    b->w3[1] = fci_add_vector(m, FCI_ZEROS, width, "visual.blocks.%d.mlp.w3.bias", number);
}

static void build(fc_clip *m)
{
    const fc_model_config *c = &m->config;
    int64_t width = c->vision.width, patch = c->vision.patch_size;
    double fan_in = 3.0 * (double)(patch * patch);
    eva_tower *v = m->vision = fc_alloc(1, sizeof *v);

    int at = fci_add(m, LINEAR, 3, (int64_t[]){1, 1, width}, "visual.cls_token");
    v->cls_token = fc_params_view(m->params, at, 1, 0, width);
    fc_params_keep_wide(m->params, at);
    at =
        fci_add(m, LINEAR, 3, (int64_t[]){1, 1 + m->patches, width}, "%s", fci_vision_positions(c));
    v->positions = fc_params_view(m->params, at, 1, 1 + m->patches, width);
    fc_params_keep_wide(m->params, at);
    at = fci_add(m, (fci_init_rule){FCI_INIT_UNIFORM, 1.0 / sqrt(fan_in)}, 4,
                 (int64_t[]){width, 3, patch, patch}, "visual.patch_embed.proj.weight");
    v->patch_embed[0] = fc_params_view(m->params, at, 1, width, 3 * patch * patch);
    v->patch_embed[1] = fci_add_vector(m, FCI_ZEROS, width, "visual.patch_embed.proj.bias");
    fci_align(m);
    v->blocks = fc_alloc((size_t)c->vision.layers, sizeof *v->blocks);
    for (int l = 0; l < c->vision.layers; l++) {
        eva_block *b = &v->blocks[l];
        fci_add_norm(m, b->norm1, width, "visual.blocks.%d.norm1", l);
        add_attention(m, b, width, l);
        fci_add_norm(m, b->norm2, width, "visual.blocks.%d.norm2", l);
        add_mlp(m, b, width, fci_vision_hidden(c), l);
        fci_align(m);
    }
    fci_add_norm(m, v->norm, width, "visual.norm");
    v->head[0] = fci_add_matrix(m, LINEAR, c->embed_dim, width, "visual.head.weight");
    v->head[1] = fci_add_vector(m, FCI_ZEROS, c->embed_dim, "visual.head.bias");
}

static void destroy(fc_clip *m)
{
    eva_tower *v = m->vision;
    if (v != NULL) {
        fc_free(&v->blocks);
        fc_free(&m->vision);
    }
}

static fc_tensor *embed(const fc_clip *m, fc_tape *tape, const fc_pixels *pixels)
{
    const eva_tower *v = m->vision;
    fc_tensor *x = fc_patchify(tape, pixels, m->config.vision.patch_size);
    x = fc_linear(tape, x, v->patch_embed[0], v->patch_embed[1], NULL);
    return fc_tokens(tape, x, v->cls_token, v->positions);
}

/* Everything after attention: heads joined `mixed` (T,W) -> (T,W). */
static fc_tensor *after_attention(const eva_block *b, fc_tape *tape, fc_tensor *mixed,
                                  fc_tensor *residual)
{
    fc_tensor *h = fci_norm(tape, mixed, b->inner_attn_ln, NORM_EPS);
    fc_tensor *x = fc_linear(tape, h, b->proj[0], b->proj[1], residual);
    h = fci_norm(tape, x, b->norm2, NORM_EPS);
    h = fc_linear(tape, h, b->w12[0], b->w12[1], NULL); /* (T,2F) */
    h = fc_swiglu_norm(tape, h, b->ffn_ln[0], b->ffn_ln[1], NORM_EPS);
    return fc_linear(tape, h, b->w3[0], b->w3[1], x);
}

static fc_tensor *block(const fc_clip *m, fc_tape *tape, int layer, fc_tensor *x,
                        const fc_attention_spec *spec)
{
    const eva_tower *v = m->vision;
    const eva_block *b = &v->blocks[layer];
    fc_tape_push(tape, "visual.blocks.%d", layer);
    fc_tensor *qkv =
        fc_linear(tape, fci_norm(tape, x, b->norm1, NORM_EPS), b->qkv[0], b->qkv[1], NULL);
    x = after_attention(b, tape, fc_attention(tape, qkv, spec), x);
    fc_tape_pop(tape);
    return x;
}

static const eva_block *last(const fc_clip *m)
{
    const eva_tower *v = m->vision;
    return &v->blocks[m->config.vision.layers - 1];
}

static fc_tensor *norm(const fc_clip *m, fc_tape *tape, fc_tensor *x)
{
    return fci_norm(tape, x, last(m)->norm1, NORM_EPS);
}

static fc_tensor *part(const fc_clip *m, fc_tape *tape, fci_part which, fc_tensor *h)
{
    return fc_linear(tape, h, last(m)->part[which][0], last(m)->part[which][1], NULL);
}

static fc_tensor *finish(const fc_clip *m, fc_tape *tape, fc_tensor *mixed, fc_tensor *residual)
{
    const eva_tower *v = m->vision;
    fc_tensor *x = after_attention(last(m), tape, mixed, residual);
    return fc_linear(tape, fci_norm(tape, x, v->norm, NORM_EPS), v->head[0], v->head[1], NULL);
}

const fci_vision_def fci_eva02 = {
    "visual.blocks.", build, destroy, embed, block, norm, part, finish};
