/* The residual block of OpenAI's CLIP, in the vit picture tower and in the text tower:
 * x += out_proj(attention(ln_1 x)), x += c_proj(gelu(c_fc(ln_2 x))).
 * T rows, D width. */
#include "models/clip_parts.h"

#include <math.h>

static const double NORM_EPS = 1e-5;

void fci_block_add(fc_clip *m, fci_block *b, const char *prefix, int64_t width, int64_t hidden,
                   int layers)
{
    fc_params *p = m->params;
    double w = (double)width;
    fci_init_rule in = FCI_NORMAL(1.0 / sqrt(w));
    fci_init_rule out = FCI_NORMAL(1.0 / sqrt(w * 2.0 * layers));
    fci_add_norm(m, b->ln_1, width, "%s.ln_1", prefix);
    b->in_proj[0] = fci_add_matrix(m, in, 3 * width, width, "%s.attn.in_proj_weight", prefix);
    b->in_proj[1] = fci_add_vector(m, FCI_ZEROS, 3 * width, "%s.attn.in_proj_bias", prefix);
    for (int part = 0; part < 3; part++) {
        for (int i = 0; i < 2; i++) {
            b->part[part][i] = fc_params_rows(p, b->in_proj[i]->param_first, part * width, width);
        }
    }
    b->out_proj[0] = fci_add_matrix(m, out, width, width, "%s.attn.out_proj.weight", prefix);
    b->out_proj[1] = fci_add_vector(m, FCI_ZEROS, width, "%s.attn.out_proj.bias", prefix);
    fci_add_norm(m, b->ln_2, width, "%s.ln_2", prefix);
    b->c_fc[0] = fci_add_matrix(m, FCI_NORMAL(1.0 / sqrt(2.0 * w)), hidden, width,
                                "%s.mlp.c_fc.weight", prefix);
    b->c_fc[1] = fci_add_vector(m, FCI_ZEROS, hidden, "%s.mlp.c_fc.bias", prefix);
    b->c_proj[0] = fci_add_matrix(m, out, width, hidden, "%s.mlp.c_proj.weight", prefix);
    b->c_proj[1] = fci_add_vector(m, FCI_ZEROS, width, "%s.mlp.c_proj.bias", prefix);
    b->gelu = m->config.quick_gelu ? FC_GELU_QUICK : FC_GELU_ERF;
    fci_align(m);
}

fc_tensor *fci_block_norm(const fci_block *b, fc_tape *tape, fc_tensor *x)
{
    return fci_norm(tape, x, b->ln_1, NORM_EPS);
}

fc_tensor *fci_block_part(const fci_block *b, fc_tape *tape, fci_part part, fc_tensor *h)
{
    return fc_linear(tape, h, b->part[part][0], b->part[part][1], NULL);
}

fc_tensor *fci_block_finish(const fci_block *b, fc_tape *tape, fc_tensor *mixed,
                            fc_tensor *residual)
{
    fc_tensor *x = fc_linear(tape, mixed, b->out_proj[0], b->out_proj[1], residual);
    fc_tensor *h = fci_norm(tape, x, b->ln_2, NORM_EPS);
    h = fc_gelu(tape, fc_linear(tape, h, b->c_fc[0], b->c_fc[1], NULL), b->gelu);
    return fc_linear(tape, h, b->c_proj[0], b->c_proj[1], x);
}

fc_tensor *fci_block_forward(const fci_block *b, fc_tape *tape, fc_tensor *x,
                             const fc_attention_spec *spec)
{
    fc_tensor *h = fci_block_norm(b, tape, x);
    h = fc_linear(tape, h, b->in_proj[0], b->in_proj[1], NULL);
    return fci_block_finish(b, tape, fc_attention(tape, h, spec), x);
}
