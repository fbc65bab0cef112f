/* Weights files: safetensors in, safetensors out. Source: FORMATS.md section 3. */
#include "core/log.h"
#include "core/memory.h"
#include "core/safetensors.h"
#include "models/clip_parts.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LISTED = 20, NAME_BYTES = 256 };

/* ---- Reading ---- */

enum { MISSING, UNKNOWN, MISSHAPEN, KINDS };

/* Everything that is wrong with a file. The message has the first few names, sized to fit in one
 * with the path; where that is not all, the log has all. */
typedef struct problems {
    char text[1600];
    size_t used;
    int count, listed, of_kind[KINDS];
    char *all; /* heap */
    size_t all_bytes;
} problems;

static void note(problems *p, int kind, const char *fmt, ...) FC_PRINTF(3, 4);
static void note(problems *p, int kind, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    size_t bytes = strlen(line);
    p->count++;
    p->of_kind[kind]++;
    p->all = fc_realloc(p->all, p->all_bytes + bytes + 1, 1);
    memcpy(p->all + p->all_bytes, line, bytes + 1);
    p->all_bytes += bytes;
    if (p->listed < MAX_LISTED && p->used + bytes < sizeof p->text) {
        memcpy(p->text + p->used, line, bytes + 1);
        p->used += bytes;
        p->listed++;
    }
}

static void shape_text(char *out, size_t bytes, int ndim, const int64_t *shape)
{
    size_t used = (size_t)snprintf(out, bytes, "[");
    for (int i = 0; i < ndim && used < bytes; i++) {
        used += (size_t)snprintf(out + used, bytes - used, "%s%lld", i > 0 ? "," : "",
                                 (long long)shape[i]);
    }
    if (used < bytes) {
        snprintf(out + used, bytes - used, "]");
    }
}

static bool is_timm(const fc_safetensors *st)
{
    for (int i = 0; i < st->count; i++) {
        if (strncmp(st->tensors[i].name, "visual.trunk.", 13) == 0) {
            return true;
        }
    }
    return false;
}

/* Side of the grid of a position table (1+g^2,W) or (1,1+g^2,W); 0 where it is none of that width.
 */
static int table_grid(const fc_st_tensor *t, const fc_param *item)
{
    int64_t rows = t->ndim >= 2 ? t->shape[t->ndim - 2] : 0;
    if (t->ndim != item->ndim || t->shape[t->ndim - 1] != item->shape[item->ndim - 1] ||
        (t->ndim == 3 && t->shape[0] != 1) || rows < 2) {
        return 0;
    }
    int64_t side = llround(sqrt((double)(rows - 1)));
    return side * side == rows - 1 ? (int)side : 0;
}

static bool same_shape(const fc_st_tensor *t, const fc_param *item)
{
    bool same = t->ndim == item->ndim;
    for (int i = 0; same && i < t->ndim; i++) {
        same = t->shape[i] == item->shape[i];
    }
    return same;
}

static bool is_real(const fc_st_tensor *t)
{
    return t->dtype == FC_ST_F64 || t->dtype == FC_ST_F32 || t->dtype == FC_ST_F16 ||
           t->dtype == FC_ST_BF16;
}

/* What of the file goes where: source[i] is parameter i's tensor, NULL for fillers. */
static void match(const fc_clip *m, const fc_safetensors *st, const fc_st_tensor **source,
                  problems *found)
{
    const fc_params *p = m->params;
    bool timm = m->config.vision.kind == FC_VISION_EVA02 && is_timm(st);
    bool resize = m->image_size != m->config.vision.image_size;
    int positions = fc_params_find(p, fci_vision_positions(&m->config));
    bool *used = fc_alloc((size_t)st->count + 1, sizeof *used);
    for (int i = 0; i < p->count; i++) {
        const fc_param *item = &p->items[i];
        char name[NAME_BYTES], have[96], want[96];
        if (item->name == NULL) {
            continue;
        }
        snprintf(name, sizeof name, "%s", item->name);
        if (timm) {
            fci_name_timm(item->name, name, sizeof name);
        }
        const fc_st_tensor *t = fc_safetensors_find(st, name);
        if (t == NULL) {
            note(found, MISSING, "\n    missing %s", name);
            continue;
        }
        used[t - st->tensors] = true;
        source[i] = t;
        if (!is_real(t)) {
            note(found, MISSHAPEN, "\n    %s is of type %s", name, fc_st_dtype_name(t->dtype));
        } else if (!same_shape(t, item) && !(i == positions && resize && table_grid(t, item) > 0)) {
            shape_text(have, sizeof have, t->ndim, t->shape);
            shape_text(want, sizeof want, item->ndim, item->shape);
            note(found, MISSHAPEN, "\n    %s is %s, the model has %s", name, have, want);
        }
    }
    for (int i = 0; i < st->count; i++) {
        if (!used[i] && !fci_name_harmless(st->tensors[i].name)) {
            note(found, UNKNOWN, "\n    unknown %s", st->tensors[i].name);
        }
    }
    fc_free(&used);
}

static fc_status read_parameter(fc_clip *m, int i, const fc_st_tensor *t)
{
    fc_params *p = m->params;
    const fc_param *item = &p->items[i];
    if (same_shape(t, item) && p->dtype == FC_F32) {
        float *singles = fc_alloc((size_t)t->count, sizeof *singles);
        fc_status read = fc_safetensors_read_f32(t, singles);
        if (read == FC_OK) {
            fc_param_write(p, i, singles);
        }
        fc_free(&singles);
        FC_TRY(read);
        return FC_OK;
    }
    double *values = fc_alloc((size_t)t->count, sizeof *values);
    fc_status status = fc_safetensors_read_f64(t, values);
    if (status == FC_OK && same_shape(t, item)) {
        fc_param_set_f64(p, i, values);
    } else if (status == FC_OK) {
        double *resized = fc_alloc((size_t)item->count, sizeof *resized);
        fci_positions_resize(values, table_grid(t, item), resized, m->grid, m->config.vision.width);
        fc_param_set_f64(p, i, resized);
        fc_free(&resized);
    }
    fc_free(&values);
    return status;
}

/* One log line a name where the message cannot hold them all; frees the list. */
static fc_status refuse(const fc_safetensors *st, problems *found)
{
    char more[64] = "";
    if (found->count > found->listed) {
        snprintf(more, sizeof more, "\n    and %d more, all of them listed above",
                 found->count - found->listed);
        char *rest = found->all + 1; /* each begins with a line break */
        for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
            fc_log_info("%s", line);
        }
    }
    fc_free(&found->all);
    return FC_FAIL(FC_DATA,
                   "%s: %d tensors do not fit the model (%d missing, %d unknown, %d of another "
                   "shape or type); is model.config that of these weights?%s%s",
                   st->path, found->count, found->of_kind[MISSING], found->of_kind[UNKNOWN],
                   found->of_kind[MISSHAPEN], found->text, more);
}

static fc_status load_open(fc_clip *m, const fc_safetensors *st, const fc_st_tensor **source)
{
    problems found = {.count = 0};
    match(m, st, source, &found);
    if (found.count > 0) {
        return refuse(st, &found);
    }
    for (int i = 0; i < m->params->count; i++) {
        if (source[i] != NULL) {
            FC_TRY(read_parameter(m, i, source[i]));
        }
    }
    return FC_OK;
}

fc_status fc_clip_load(fc_clip *m, const char *path)
{
    fc_safetensors *st;
    FC_TRY(fc_safetensors_open(&st, path));
    const fc_st_tensor **source = fc_alloc((size_t)m->params->count, sizeof *source);
    fc_status status = fc_safetensors_verify(st);
    if (status == FC_OK) {
        status = load_open(m, st, source);
    }
    fc_free(&source);
    fc_safetensors_close(&st);
    FC_TRY(status);
    return FC_OK;
}

/* ---- Writing ---- */

/* Rotary tables as EVA-CLIP stores them: (P, head width), every value twice. out[0] cosines, out[1]
 * sines; heap. */
static void rope_buffers(const fc_clip *m, float *out[2])
{
    int64_t n = m->patches * m->config.vision.head_width;
    double *values = fc_alloc((size_t)n, sizeof *values); /* half as many of each */
    fci_rope_tables(m->grid, m->config.vision.head_width, m->config.vision.pt_hw_seq_len, values,
                    values + n / 2);
    for (int k = 0; k < 2; k++) {
        out[k] = fc_alloc((size_t)n, sizeof *out[k]);
        for (int64_t i = 0; i < n; i++) {
            out[k][i] = (float)values[k * (n / 2) + i / 2];
        }
    }
    fc_free(&values);
}

/* Tensors of a file being put together; owned are names and converted values. */
typedef struct listing {
    fc_st_tensor *tensors;
    int count;
    void **owned;
    int owned_count;
} listing;

static void list_parameters(const fc_clip *m, listing *l)
{
    const fc_params *p = m->params;
    void *owned;
    const char *all = fc_params_on_host(p, &owned);
    if (owned != NULL) {
        l->owned[l->owned_count++] = owned;
    }
    for (int i = 0; i < p->count; i++) {
        const fc_param *item = &p->items[i];
        if (item->name == NULL) {
            continue;
        }
        fc_st_tensor *t = &l->tensors[l->count++];
        *t = (fc_st_tensor){.name = item->name,
                            .dtype = FC_ST_F32,
                            .ndim = item->ndim,
                            .count = item->count,
                            .data = all + (size_t)item->offset * fc_dtype_bytes(p->dtype)};
        memcpy(t->shape, item->shape, sizeof item->shape);
        if (p->dtype == FC_F64) {
            float *values = fc_alloc((size_t)item->count, sizeof *values);
            fc_param_get_f32(p, i, values);
            t->data = l->owned[l->owned_count++] = values;
        }
    }
}

static void list_rope(const fc_clip *m, listing *l)
{
    float *tables[2];
    rope_buffers(m, tables);
    static const char *const letters[2] = {"cos", "sin"};
    for (int k = 0; k < 2; k++) {
        float *values = tables[k];
        l->owned[l->owned_count++] = values;
        for (int block = -1; block < m->config.vision.layers; block++) {
            char *name = block < 0
                             ? fc_format("visual.rope.freqs_%s", letters[k])
                             : fc_format("visual.blocks.%d.attn.rope.freqs_%s", block, letters[k]);
            l->owned[l->owned_count++] = name;
            l->tensors[l->count++] =
                (fc_st_tensor){.name = name,
                               .dtype = FC_ST_F32,
                               .ndim = 2,
                               .shape = {m->patches, m->config.vision.head_width},
                               .count = m->patches * m->config.vision.head_width,
                               .data = values};
        }
    }
}

fc_status fc_clip_save(const fc_clip *m, const char *path, const char *const *metadata)
{
    size_t most = (size_t)m->params->count + 1 + 2 * ((size_t)m->config.vision.layers + 2);
    listing l = {.tensors = fc_alloc(most, sizeof *l.tensors),
                 .owned = fc_alloc(most, sizeof *l.owned)};
    list_parameters(m, &l);
    if (m->rope_cos != NULL) {
        list_rope(m, &l);
    }
    fc_status status = fc_safetensors_write(path, l.count, l.tensors, metadata);
    for (int i = 0; i < l.owned_count; i++) {
        fc_free(&l.owned[i]);
    }
    fc_free(&l.owned);
    fc_free(&l.tensors);
    FC_TRY(status);
    return FC_OK;
}
