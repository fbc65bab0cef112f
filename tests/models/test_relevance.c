/* fctest: timeout=120
 * Relevance maps against plain towers: gradients by attention from central differences of y with
 * single attention weights moved, products and the recursion over layers as written in the paper,
 * whole matrices. Then degenerate cases, company in a batch, and float against double. */
#include "models/clip_parts.h"
#include "models/relevance.h"
#include "tests/models/fixture.h"

enum { LAYERS = 3, PICTURES = 2 };

/* A tower in plain code, from its tokens on: L tokens, W width, H heads. */
typedef struct plain {
    const fc_clip *m;
    bool eva, causal;
    const char *blocks, *norm, *project; /* names; project of eva is a Linear with bias */
    int layers, heads;
    int64_t length, width, row; /* row: whose embedding it is */
    double eps;
    const double *tokens, *target;
    double *attention; /* (layers,H,L,L) as last run */
    int64_t moved;     /* index into attention, -1: none */
    double by;
} plain;

static const double *values_of(const plain *p, const char *name)
{
    int at = fc_params_find(p->m->params, name);
    if (!fc_check_true(at >= 0, __FILE__, __LINE__, "no parameter %s", name)) {
        exit(fc_check_end());
    }
    return fc_param_data(p->m->params, at);
}

static const double *part_of(const plain *p, int layer, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%d.%s", p->blocks, layer, name);
    return values_of(p, full);
}

/* y (L,n) = x (L,k) w^T + b. */
static double *linear(const plain *p, const double *x, int64_t k, const double *w, const double *b,
                      int64_t n)
{
    double *y = fc_alloc((size_t)(p->length * n), sizeof *y);
    for (int64_t i = 0; i < p->length; i++) {
        for (int64_t o = 0; o < n; o++) {
            double sum = b != NULL ? b[o] : 0;
            for (int64_t j = 0; j < k; j++) {
                sum += x[i * k + j] * w[o * k + j];
            }
            y[i * n + o] = sum;
        }
    }
    return y;
}

static double *norm(const plain *p, const double *x, int64_t n, const double *gain,
                    const double *bias)
{
    double *y = fc_alloc((size_t)(p->length * n), sizeof *y);
    for (int64_t i = 0; i < p->length; i++) {
        double mean = 0, var = 0;
        for (int64_t j = 0; j < n; j++) {
            mean += x[i * n + j] / (double)n;
        }
        for (int64_t j = 0; j < n; j++) {
            var += (x[i * n + j] - mean) * (x[i * n + j] - mean) / (double)n;
        }
        for (int64_t j = 0; j < n; j++) {
            y[i * n + j] = (x[i * n + j] - mean) / sqrt(var + p->eps) * gain[j] + bias[j];
        }
    }
    return y;
}

static void rotate(const plain *p, double *x)
{
    const int64_t half = p->width / p->heads / 2;
    const double *c = p->m->rope_cos, *s = p->m->rope_sin;
    for (int64_t i = 1; i < p->length; i++) {
        for (int64_t j = 0; j < p->width / 2; j++) {
            double *pair = x + i * p->width + 2 * j, a = pair[0], b = pair[1];
            int64_t at = (i - 1) * half + j % half;
            pair[0] = a * c[at] - b * s[at];
            pair[1] = b * c[at] + a * s[at];
        }
    }
}

/* Heads joined (L,W); one attention weight may be moved. */
static double *attend(plain *p, int layer, double *q, double *k, const double *v)
{
    const int64_t n = p->length, w = p->width, d = w / p->heads;
    double *out = fc_alloc((size_t)(n * w), sizeof *out);
    if (p->eva) {
        rotate(p, q);
        rotate(p, k);
    }
    for (int64_t h = 0; h < p->heads; h++) {
        for (int64_t i = 0; i < n; i++) {
            int64_t first = ((layer * p->heads + h) * n + i) * n, seen = p->causal ? i + 1 : n;
            double *a = p->attention + first, sum = 0;
            for (int64_t j = 0; j < seen; j++) {
                double score = 0;
                for (int64_t c = 0; c < d; c++) {
                    score += q[i * w + h * d + c] * k[j * w + h * d + c];
                }
                a[j] = exp(score / sqrt((double)d));
                sum += a[j];
            }
            for (int64_t j = 0; j < n; j++) {
                a[j] = j < seen ? a[j] / sum : 0;
                double weight = a[j] + (first + j == p->moved ? p->by : 0);
                for (int64_t c = 0; c < d; c++) {
                    out[i * w + h * d + c] += weight * v[j * w + h * d + c];
                }
            }
        }
    }
    return out;
}

static void add_to(double *x, double *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] += y[i];
    }
    fc_free(&y);
}

static void block_clip(plain *p, int l, double *x)
{
    const int64_t w = p->width, hidden = p->causal ? 4 * w : fci_vision_hidden(&p->m->config);
    const double *in = part_of(p, l, "attn.in_proj_weight"),
                 *bias = part_of(p, l, "attn.in_proj_bias");
    double *h = norm(p, x, w, part_of(p, l, "ln_1.weight"), part_of(p, l, "ln_1.bias")), *part[3];
    for (int i = 0; i < 3; i++) {
        part[i] = linear(p, h, w, in + i * w * w, bias + i * w, w);
    }
    double *mixed = attend(p, l, part[0], part[1], part[2]);
    add_to(x,
           linear(p, mixed, w, part_of(p, l, "attn.out_proj.weight"),
                  part_of(p, l, "attn.out_proj.bias"), w),
           p->length * w);
    fc_free(&h);
    h = norm(p, x, w, part_of(p, l, "ln_2.weight"), part_of(p, l, "ln_2.bias"));
    double *m =
        linear(p, h, w, part_of(p, l, "mlp.c_fc.weight"), part_of(p, l, "mlp.c_fc.bias"), hidden);
    for (int64_t i = 0; i < p->length * hidden; i++) {
        m[i] = p->m->config.quick_gelu ? m[i] / (1 + exp(-1.702 * m[i]))
                                       : m[i] * 0.5 * (1 + erf(m[i] / sqrt(2)));
    }
    add_to(x,
           linear(p, m, hidden, part_of(p, l, "mlp.c_proj.weight"),
                  part_of(p, l, "mlp.c_proj.bias"), w),
           p->length * w);
    fc_free(&h);
    fc_free(&m);
    fc_free(&mixed);
    for (int i = 0; i < 3; i++) {
        fc_free(&part[i]);
    }
}

static void block_eva(plain *p, int l, double *x)
{
    const int64_t w = p->width, hidden = fci_vision_hidden(&p->m->config);
    double *h = norm(p, x, w, part_of(p, l, "norm1.weight"), part_of(p, l, "norm1.bias"));
    double *q =
        linear(p, h, w, part_of(p, l, "attn.q_proj.weight"), part_of(p, l, "attn.q_bias"), w);
    double *k = linear(p, h, w, part_of(p, l, "attn.k_proj.weight"), NULL, w);
    double *v =
        linear(p, h, w, part_of(p, l, "attn.v_proj.weight"), part_of(p, l, "attn.v_bias"), w);
    double *mixed = attend(p, l, q, k, v);
    fc_free(&h);
    h = norm(p, mixed, w, part_of(p, l, "attn.inner_attn_ln.weight"),
             part_of(p, l, "attn.inner_attn_ln.bias"));
    add_to(x,
           linear(p, h, w, part_of(p, l, "attn.proj.weight"), part_of(p, l, "attn.proj.bias"), w),
           p->length * w);
    fc_free(&h);
    h = norm(p, x, w, part_of(p, l, "norm2.weight"), part_of(p, l, "norm2.bias"));
    double *a =
        linear(p, h, w, part_of(p, l, "mlp.w1.weight"), part_of(p, l, "mlp.w1.bias"), hidden);
    double *b =
        linear(p, h, w, part_of(p, l, "mlp.w2.weight"), part_of(p, l, "mlp.w2.bias"), hidden);
    for (int64_t i = 0; i < p->length * hidden; i++) {
        a[i] *= b[i] / (1 + exp(-a[i]));
    }
    fc_free(&b);
    b = norm(p, a, hidden, part_of(p, l, "mlp.ffn_ln.weight"), part_of(p, l, "mlp.ffn_ln.bias"));
    add_to(x, linear(p, b, hidden, part_of(p, l, "mlp.w3.weight"), part_of(p, l, "mlp.w3.bias"), w),
           p->length * w);
    double *used[] = {h, q, k, v, mixed, a, b};
    for (int i = 0; i < 7; i++) {
        fc_free(&used[i]);
    }
}

/* y = s <n(embedding), target>. */
static double run(plain *p)
{
    const int64_t w = p->width, dim = p->m->config.embed_dim;
    char name[2][64];
    double *x = fc_alloc((size_t)(p->length * w), sizeof *x), norm2 = 0, y = 0;
    memcpy(x, p->tokens, (size_t)(p->length * w) * sizeof *x);
    for (int l = 0; l < p->layers; l++) {
        (p->eva ? block_eva : block_clip)(p, l, x);
    }
    snprintf(name[0], sizeof name[0], "%s.weight", p->norm);
    snprintf(name[1], sizeof name[1], "%s.bias", p->norm);
    double *h = norm(p, x, w, values_of(p, name[0]), values_of(p, name[1]));
    const double *project = values_of(p, p->project);
    const double *bias = p->eva ? values_of(p, "visual.head.bias") : NULL;
    for (int64_t o = 0; o < dim; o++) {
        double e = bias != NULL ? bias[o] : 0;
        for (int64_t j = 0; j < w; j++) {
            e += h[p->row * w + j] * (p->eva ? project[o * w + j] : project[j * dim + o]);
        }
        norm2 += e * e;
        y += e * p->target[o];
    }
    fc_free(&h);
    fc_free(&x);
    return exp(*(const double *)p->m->logit_scale->data) * y / sqrt(norm2);
}

/* Row p->row of R over the last `layers` blocks: R <- R + E R with whole matrices. */
static double *plain_row(plain *p, int layers)
{
    const int64_t n = p->length, area = n * n;
    const double step = 1e-4;
    double *r = fc_alloc((size_t)area, sizeof *r), *e = fc_alloc((size_t)area, sizeof *e);
    double *next = fc_alloc((size_t)area, sizeof *next);
    double *kept = fc_alloc((size_t)(p->layers * p->heads * area), sizeof *kept);
    p->moved = -1;
    (void)run(p);
    memcpy(kept, p->attention, (size_t)(p->layers * p->heads * area) * sizeof *kept);
    for (int64_t i = 0; i < n; i++) {
        r[i * n + i] = 1;
    }
    for (int l = p->layers - layers; l < p->layers; l++) {
        memset(e, 0, (size_t)area * sizeof *e);
        for (int64_t i = 0; i < p->heads * area; i++) {
            p->moved = l * p->heads * area + i;
            p->by = step;
            double slope = run(p);
            p->by = -step;
            slope = (slope - run(p)) / (2 * step);
            e[i % area] += fmax(0, slope * kept[p->moved]) / p->heads;
        }
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < n; j++) {
                next[i * n + j] = r[i * n + j];
                for (int64_t k = 0; k < n; k++) {
                    next[i * n + j] += e[i * n + k] * r[k * n + j];
                }
            }
        }
        memcpy(r, next, (size_t)area * sizeof *r);
    }
    memmove(r, r + p->row * n, (size_t)n * sizeof *r);
    fc_free(&e);
    fc_free(&next);
    fc_free(&kept);
    return r;
}

static void unit_target(const fc_clip *m, uint64_t which, double *target)
{
    double sum = 0;
    fc_rng rng = fc_rng_stream(11, FC_RNG_TEST, which, 0);
    for (int i = 0; i < m->config.embed_dim; i++) {
        target[i] = fc_rng_normal(&rng);
        sum += target[i] * target[i];
    }
    for (int i = 0; i < m->config.embed_dim; i++) {
        target[i] /= sqrt(sum);
    }
}

static void check_picture(fc_vision_kind kind, unsigned freeze)
{
    fc_clip *m = fx_tiny(kind, LAYERS, freeze);
    fc_tape *tape = fc_tape_create(FC_F64);
    const int64_t dim = m->config.embed_dim, patches = m->patches;
    const bool eva = kind == FC_VISION_EVA02;
    double *planes = fx_planes(m, PICTURES), *targets = fc_alloc((size_t)(PICTURES * dim), 8);
    double *maps = fc_alloc((size_t)(PICTURES * patches), sizeof *maps);
    fc_pixels pixels = {.size = m->image_size, .count = {PICTURES, 0}, .planes = planes};
    (void)fc_tape_record(tape, false);
    double *tokens = fx_values(fci_vision_kind(&m->config)->embed(m, tape, &pixels));
    plain p = {.m = m,
               .eva = eva,
               .layers = LAYERS,
               .heads = fci_vision_heads(&m->config),
               .blocks = eva ? "visual.blocks" : "visual.transformer.resblocks",
               .norm = eva ? "visual.norm" : "visual.ln_post",
               .project = eva ? "visual.head.weight" : "visual.proj",
               .length = 1 + patches,
               .width = m->config.vision.width,
               .eps = eva ? 1e-6 : 1e-5};
    p.attention = fc_alloc((size_t)(LAYERS * p.heads * p.length * p.length), sizeof(double));
    for (int i = 0; i < PICTURES; i++) {
        unit_target(m, (uint64_t)i, targets + i * dim);
    }
    for (int layers = 1; layers <= LAYERS; layers++) {
        FX_NEED(fc_clip_relevance_image(m, tape, &pixels, PICTURES, targets, layers, maps));
        for (int i = 0; i < PICTURES; i++) {
            p.tokens = tokens + i * p.length * p.width;
            p.target = targets + i * dim;
            double *want = plain_row(&p, layers);
            double error = fc_check_rel_l2(maps + i * patches, want + 1, patches);
            fc_check_true(error <= 1e-6, __FILE__, __LINE__, "%s, %d layers: off by %g",
                          eva ? "eva02" : "vit", layers, error);
            fc_free(&want);
        }
    }
    fc_free(&p.attention);
    fc_free(&tokens);
    fc_free(&planes);
    fc_free(&targets);
    fc_free(&maps);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

static void check_text(unsigned freeze)
{
    static const int32_t ids[] = {17, 4, 9, 4, 12, 19, 0, 0}; /* end: 19 */
    enum { COUNT = sizeof ids / sizeof ids[0], END = 5 };
    fc_clip *m = fx_tiny(FC_VISION_VIT, 2, freeze);
    fc_tape *tape = fc_tape_create(FC_F64);
    const int64_t w = m->config.text.width;
    double tokens[(END + 1) * 64], target[16], map[COUNT];
    plain p = {.m = m,
               .causal = true,
               .layers = m->config.text.layers,
               .heads = m->config.text.heads,
               .blocks = "transformer.resblocks",
               .norm = "ln_final",
               .project = "text_projection",
               .length = END + 1,
               .width = w,
               .row = END,
               .eps = 1e-5,
               .tokens = tokens,
               .target = target};
    p.attention = fc_alloc((size_t)(p.layers * p.heads * p.length * p.length), sizeof(double));
    FC_ASSERT(w <= 64 && m->config.embed_dim <= 16);
    for (int64_t i = 0; i < p.length * w; i++) {
        tokens[i] = values_of(&p, "token_embedding.weight")[ids[i / w] * w + i % w] +
                    values_of(&p, "positional_embedding")[i];
    }
    unit_target(m, 5, target);
    for (int layers = 1; layers <= p.layers; layers++) {
        FX_NEED(fc_clip_relevance_text(m, tape, ids, COUNT, target, layers, map));
        double *want = plain_row(&p, layers), sum = 0;
        for (int i = 1; i < END; i++) {
            sum += want[i];
        }
        for (int i = 0; i < COUNT; i++) {
            FC_CHECK_NEAR(map[i], i > 0 && i < END ? want[i] / sum : 0, 1e-7);
        }
        fc_free(&want);
    }
    /* Features of all tokens: the last is the row's own. */
    const int64_t offsets[2] = {0, COUNT};
    fc_tape_reset(tape);
    (void)fc_tape_record(tape, false);
    fc_tensor *row = fc_clip_text(m, tape, 1, ids, offsets, 0);
    fc_tensor *all = fc_clip_text_tokens(m, tape, ids, COUNT);
    FX_NEED(fc_tape_status(tape));
    FC_CHECK_INT(all->rows, END + 1);
    FC_CHECK_NEAR(fc_check_max_abs((double *)all->data + END * all->cols, row->data, all->cols), 0,
                  1e-13);
    fc_free(&p.attention);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

/* Where nothing of attention comes through, R is the identity and the map is 0. */
static void check_no_attention(fc_vision_kind kind)
{
    fc_clip *m = fx_tiny(kind, LAYERS, 0);
    fc_tape *tape = fc_tape_create(FC_F64);
    double *planes = fx_planes(m, 1), target[16], maps[64];
    fc_pixels pixels = {.size = m->image_size, .count = {1, 0}, .planes = planes};
    unit_target(m, 1, target);
    for (int i = 0; i < m->params->count; i++) {
        const char *name = m->params->items[i].name;
        if (name != NULL &&
            (strstr(name, "attn.out_proj.weight") || strstr(name, "attn.proj.weight"))) {
            memset(fc_param_data(m->params, i), 0, (size_t)m->params->items[i].count * 8);
        }
    }
    FX_NEED(fc_clip_relevance_image(m, tape, &pixels, 1, target, LAYERS, maps));
    for (int64_t i = 0; i < m->patches; i++) {
        FC_CHECK(maps[i] == 0);
    }
    fc_free(&planes);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

/* Float against double on a model with trained-like weights, and a training step between leaves no
 * trace. */
static void check_float(const char *folder)
{
    double *maps[2];
    int64_t patches = 0;
    for (int type = 0; type < 2; type++) {
        fc_dtype dtype = type == 0 ? FC_F32 : FC_F64;
        fc_clip *m = fx_golden(folder, 64, dtype);
        fc_tape *tape = fc_tape_create(dtype);
        patches = m->patches;
        uint8_t *rgb = fc_alloc(64 * 64, 3);
        double target[64];
        float target32[64];
        unit_target(m, 3, target);
        for (int i = 0; i < m->config.embed_dim; i++) {
            target32[i] = (float)target[i];
            target[i] = (double)target32[i];
        }
        for (int i = 0; i < 64 * 64 * 3; i++) {
            rgb[i] = (uint8_t)((i * 37 + i / 192 * 11) % 256);
        }
        maps[type] = fc_alloc((size_t)patches, sizeof(double));
        fc_pixels pixels = {.size = 64, .count = {1, 0}, .rgb = {rgb}};
        FX_NEED(fc_clip_relevance_image(m, tape, &pixels, 1,
                                        dtype == FC_F64 ? (void *)target : (void *)target32,
                                        m->config.vision.layers, maps[type]));
        FC_CHECK(fc_tape_relevance(tape) == NULL && fc_tape_recording(tape));
        fc_free(&rgb);
        fc_tape_destroy(&tape);
        fc_clip_destroy(&m);
    }
    FC_CHECK_NEAR(fc_check_rel_l2(maps[0], maps[1], patches), 0, 1e-4);
    fc_free(&maps[0]);
    fc_free(&maps[1]);
}

int main(void)
{
    const unsigned all = FC_FREEZE_IMAGE | FC_FREEZE_TEXT | FC_FREEZE_LOGIT_SCALE;
    check_picture(FC_VISION_VIT, all);
    check_picture(FC_VISION_EVA02, all);
    check_picture(FC_VISION_EVA02, 0);
    check_text(all);
    check_text(0);
    check_no_attention(FC_VISION_VIT);
    check_no_attention(FC_VISION_EVA02);
    check_float("eva_tiny");
    check_float("clip_tiny");
    return fc_check_end();
}
