#include "models/clip.h"

#include "core/memory.h"
#include "core/rng.h"
#include "models/clip_parts.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Adding parameters ---- */

static int add_named(fc_clip *m, fci_init_rule rule, int ndim, const int64_t *shape,
                     const char *fmt, va_list ap)
{
    char name[256];
    vsnprintf(name, sizeof name, fmt, ap);
    int at = fc_params_add(m->params, name, ndim, shape);
    m->rules = fc_realloc(m->rules, (size_t)m->params->count, sizeof *m->rules);
    m->rules[at] = rule; /* a filler's is never read */
    return at;
}

int fci_add(fc_clip *m, fci_init_rule rule, int ndim, const int64_t *shape, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int at = add_named(m, rule, ndim, shape, fmt, ap);
    va_end(ap);
    return at;
}

fc_tensor *fci_add_matrix(fc_clip *m, fci_init_rule rule, int64_t rows, int64_t cols,
                          const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int at = add_named(m, rule, 2, (int64_t[]){rows, cols}, fmt, ap);
    va_end(ap);
    return fc_params_view(m->params, at, 1, rows, cols);
}

fc_tensor *fci_add_vector(fc_clip *m, fci_init_rule rule, int64_t count, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int at = add_named(m, rule, 1, &count, fmt, ap);
    va_end(ap);
    return fc_params_view(m->params, at, 1, 0, count);
}

void fci_add_norm(fc_clip *m, fc_tensor *norm[2], int64_t width, const char *fmt, ...)
{
    char prefix[192];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    norm[0] = fci_add_vector(m, FCI_ONES, width, "%s.weight", prefix);
    norm[1] = fci_add_vector(m, FCI_ZEROS, width, "%s.bias", prefix);
    fc_params_keep_wide(m->params, norm[0]->param_first);
    fc_params_keep_wide(m->params, norm[1]->param_first);
}

void fci_align(fc_clip *m)
{
    enum { ELEMENTS = 16 };
    int64_t over = m->params->total % ELEMENTS;
    if (over != 0) {
        fc_params_add_filler(m->params, ELEMENTS - over);
    }
}

/* ---- Building ---- */

static fc_status check_sizes(const fc_model_config *c, int image_size)
{
    if (image_size < 1 || image_size % c->vision.patch_size != 0) {
        return FC_FAIL(FC_USAGE, "model.image_size: %d is not a multiple of the patch size %d",
                       image_size, c->vision.patch_size);
    }
    if (c->vision.width % c->vision.head_width != 0) {
        return FC_FAIL(FC_USAGE, "vision_cfg: width %d is not a multiple of head_width %d",
                       c->vision.width, c->vision.head_width);
    }
    if (c->vision.kind == FC_VISION_EVA02 && c->vision.head_width % 4 != 0) {
        return FC_FAIL(FC_USAGE,
                       "vision_cfg: head_width %d is not a multiple of 4, which rotary positions "
                       "need",
                       c->vision.head_width);
    }
    if (c->text.width % c->text.heads != 0) {
        return FC_FAIL(FC_USAGE, "text_cfg: width %d is not a multiple of heads %d", c->text.width,
                       c->text.heads);
    }
    return FC_OK;
}

/* Freeze all of the picture tower but its last blocks. Fillers go with what stands before them:
 * inside a view all is trained or nothing. */
static void lock_tower(fc_clip *m, int blocks)
{
    const char *prefix = fci_vision_kind(&m->config)->blocks;
    size_t length = strlen(prefix);
    bool trained = false;
    for (int i = m->vision_first; i < m->vision_first + m->vision_count; i++) {
        const char *name = m->params->items[i].name;
        if (name != NULL) {
            trained = strncmp(name, prefix, length) == 0 &&
                      atoi(name + length) >= m->config.vision.layers - blocks;
        }
        if (!trained) {
            fc_params_freeze(m->params, i, 1);
        }
    }
}

/* Rotary tables of the grid, in the masters' type. */
static void build_rope(fc_clip *m)
{
    const fc_params *p = m->params;
    int64_t n = m->patches * (m->config.vision.head_width / 2);
    size_t bytes = (size_t)n * fc_dtype_bytes(p->dtype);
    void **tables[2] = {&m->rope_cos, &m->rope_sin};
    double *values = fc_alloc((size_t)n * 2, sizeof *values);
    float *singles = fc_alloc((size_t)n, sizeof *singles);
    fci_rope_tables(m->grid, m->config.vision.head_width, m->config.vision.pt_hw_seq_len, values,
                    values + n);
    for (int t = 0; t < 2; t++) {
        const double *from = values + t * n;
        for (int64_t i = 0; i < n; i++) {
            singles[i] = (float)from[i];
        }
        *tables[t] = p->backend->alloc(bytes);
        p->backend->upload(*tables[t], p->dtype == FC_F64 ? (const void *)from : singles, bytes);
    }
    fc_free(&singles);
    fc_free(&values);
}

fc_status fc_clip_create(fc_clip **out, const fc_model_config *config, int image_size,
                         fc_dtype dtype, unsigned freeze)
{
    return fc_clip_create_on(out, fc_backend_cpu(), config, image_size, dtype, freeze);
}

fc_tape *fc_clip_tape(const fc_clip *m)
{
    return fc_tape_create_on(m->params->backend, m->params->compute);
}

fc_status fc_clip_create_on(fc_clip **out, const fc_backend *backend, const fc_model_config *config,
                            int image_size, fc_dtype compute, unsigned freeze)
{
    int blocks = fci_train_last_blocks(freeze);
    FC_TRY(check_sizes(config, image_size));
    if (blocks > config->vision.layers) {
        return FC_FAIL(FC_USAGE, "model.unlocked_blocks: %d, the picture tower has %d blocks",
                       blocks, config->vision.layers);
    }
    fc_clip *m = fc_alloc(1, sizeof *m);
    fc_params *p = m->params = fc_params_create_on(backend, compute);
    m->config = *config;
    m->image_size = image_size;
    m->grid = image_size / config->vision.patch_size;
    m->patches = (int64_t)m->grid * m->grid;
    m->freeze = freeze;
    m->ensemble_alpha = 1;

    int scale =
        fci_add(m, (fci_init_rule){FCI_INIT_CONSTANT, log(1.0 / 0.07)}, 0, NULL, "logit_scale");
    m->logit_scale = fc_params_view(p, scale, 1, 0, 1);
    fc_params_bound(p, scale, 0, log(100.0)); /* METHOD.md section 5 */
    fc_params_keep_wide(p, scale);
    fci_align(m);
    m->vision_first = p->count;
    fci_vision_kind(config)->build(m);
    fci_align(m);
    m->vision_count = p->count - m->vision_first;
    m->text_first = p->count;
    fci_text_build(m);
    m->text_count = p->count - m->text_first;

    if (freeze & FC_FREEZE_IMAGE) {
        fc_params_freeze(p, m->vision_first, m->vision_count);
    }
    if (blocks > 0) {
        lock_tower(m, blocks);
    }
    if (freeze & FC_FREEZE_TEXT) {
        fc_params_freeze(p, m->text_first, m->text_count);
    }
    if (freeze & FC_FREEZE_LOGIT_SCALE) {
        fc_params_freeze(p, scale, m->vision_first);
    }
    fc_params_commit(p);
    if (config->vision.kind == FC_VISION_EVA02) {
        build_rope(m);
    }
    *out = m;
    return FC_OK;
}

void fc_clip_destroy(fc_clip **mp)
{
    fc_clip *m = *mp;
    if (m == NULL) {
        return;
    }
    fc_clip_destroy(&m->initial);
    fci_vision_kind(&m->config)->destroy(m);
    fci_text_destroy(m);
    fc_backend_free(m->params->backend, &m->rope_cos);
    fc_backend_free(m->params->backend, &m->rope_sin);
    fc_params_destroy(&m->params);
    fc_free(&m->rules);
    fc_free(mp);
}

/* ---- Values ---- */

static double draw(fc_rng *rng, fci_init_rule rule)
{
    const double deviation = 0.02, bound = 2.0;
    double x = rule.scale;
    switch (rule.kind) {
    case FCI_INIT_CONSTANT:
        break;
    case FCI_INIT_NORMAL:
        x = rule.scale * fc_rng_normal(rng);
        break;
    case FCI_INIT_TRUNCATED:
        do {
            x = deviation * fc_rng_normal(rng);
        } while (fabs(x) > bound);
        x *= rule.scale;
        break;
    case FCI_INIT_UNIFORM:
        x = rule.scale * (2.0 * fc_rng_uniform(rng) - 1.0);
        break;
    }
    return x;
}

void fc_clip_init(fc_clip *m, uint64_t seed)
{
    fc_params *p = m->params;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < p->count; i++) {
        const fc_param *item = &p->items[i];
        if (item->name == NULL) {
            continue;
        }
        fc_rng rng = fc_rng_stream(seed, FC_RNG_INIT, fc_rng_hash(item->name), 0);
        double *values = fc_alloc((size_t)item->count, sizeof *values);
        for (int64_t k = 0; k < item->count; k++) {
            values[k] = draw(&rng, m->rules[i]);
        }
#pragma omp critical(fc_clip_init) /* a backend takes one call at a time */
        fc_param_set_f64(p, i, values);
        fc_free(&values);
    }
}

static void copy_positions(fc_clip *to, int to_index, const fc_clip *from, int from_index)
{
    const fc_param *a = &from->params->items[from_index], *b = &to->params->items[to_index];
    int64_t width = from->config.vision.width;
    double *in = fc_alloc((size_t)a->count, sizeof *in);
    double *out = fc_alloc((size_t)b->count, sizeof *out);
    void *values = fc_alloc((size_t)a->count, sizeof(double));
    fc_param_read(from->params, from_index, values);
    for (int64_t k = 0; k < a->count; k++) {
        in[k] = from->params->dtype == FC_F64 ? ((const double *)values)[k]
                                              : (double)((const float *)values)[k];
    }
    fc_free(&values);
    fci_positions_resize(in, from->grid, out, to->grid, width);
    fc_param_set_f64(to->params, to_index, out);
    fc_free(&in);
    fc_free(&out);
}

static void copy_values(fc_params *to, int to_index, const fc_params *from, int from_index)
{
    size_t bytes = fc_dtype_bytes(from->dtype);
    void *values = fc_alloc((size_t)from->items[from_index].count, bytes);
    fc_param_read(from, from_index, values);
    fc_param_write(to, to_index, values);
    fc_free(&values);
}

fc_status fc_clip_resized(fc_clip **out, const fc_clip *m, int image_size)
{
    fc_clip *copy;
    unsigned all = FC_FREEZE_IMAGE | FC_FREEZE_TEXT | FC_FREEZE_LOGIT_SCALE;
    FC_TRY(fc_clip_create_on(&copy, m->params->backend, &m->config, image_size, m->params->compute,
                             all));
    int positions = fc_params_find(m->params, fci_vision_positions(&m->config));
    /* Walk both by name: fillers for alignment need not be the same. */
    for (int i = 0, k = 0; i < copy->params->count; i++) {
        if (copy->params->items[i].name == NULL) {
            continue;
        }
        while (m->params->items[k].name == NULL) {
            k++;
        }
        FC_ASSERT(strcmp(copy->params->items[i].name, m->params->items[k].name) == 0);
        if (k == positions && image_size != m->image_size) {
            copy_positions(copy, i, m, k);
        } else {
            copy_values(copy->params, i, m->params, k);
        }
        k++;
    }
    *out = copy;
    return FC_OK;
}

fc_tensor *fc_clip_box_features(fc_tape *tape, fc_tensor *dense, int grid, const float *boxes,
                                const int32_t *image, int64_t n)
{
    return fc_l2norm(tape, fc_roi_align(tape, dense, grid, boxes, image, n));
}
