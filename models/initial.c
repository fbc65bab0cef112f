/* The model as it was before training, kept beside the one that trains: CLIPSelf's teacher, and one
 * end of its weight ensembling. Source: Wu et al., ICLR 2024. */
#include "core/memory.h"
#include "models/clip_parts.h"

#include <string.h>

enum { TEACHER_CHUNK = 64 }; /* pictures at a time: bounds what the teacher takes on the way */

fc_status fc_clip_keep_initial(fc_clip *m)
{
    FC_ASSERT(m->initial == NULL);
    return fc_clip_resized(&m->initial, m, m->image_size);
}

/* ---- Teacher ---- */

typedef struct teach {
    const fc_clip *teacher;
    fc_pixels pixels;
} teach;

/* A segment's function; x carries nothing. */
static fc_tensor *embed(fc_tape *tape, void *ctx, fc_tensor *x)
{
    const teach *t = ctx;
    fc_tensor *cls, *dense;
    (void)x;
    if (fc_clip_vision(t->teacher, tape, &t->pixels, 0, 0, 0, &cls, &dense) != FC_OK) {
        return NULL;
    }
    return fc_l2norm(tape, cls);
}

fc_tensor *fc_clip_teacher(const fc_clip *m, fc_tape *tape, const uint8_t *rgb, int64_t n,
                           bool on_device)
{
    FC_ASSERT(m->initial != NULL);
    size_t picture = 3 * (size_t)m->image_size * (size_t)m->image_size;
    fc_tensor *nothing = fc_tape_matrix(tape, 0, m->config.embed_dim, false), *all = nothing;
    fc_tape_push(tape, "teacher");
    for (int64_t at = 0; at < n; at += TEACHER_CHUNK) {
        int64_t count = n - at < TEACHER_CHUNK ? n - at : TEACHER_CHUNK;
        teach t = {.teacher = m->initial,
                   .pixels = {.size = m->image_size,
                              .count = {count},
                              .rgb = {rgb + (size_t)at * picture},
                              .on_device = on_device}};
        fc_tensor *some = fc_segment(tape, embed, &t, nothing, false);
        all = at == 0 ? some : fc_concat_rows(tape, all, some);
    }
    fc_tape_pop(tape);
    return all;
}

/* ---- Ensembling ---- */

/* One parameter's values between the initial ones and its own. */
static void mix(const fc_clip *m, int i, const void *own, const void *initial, void *to)
{
    const fc_params *p = m->params, *q = m->initial->params;
    int k = fc_params_find(q, p->items[i].name);
    FC_ASSERT(k >= 0 && q->items[k].count == p->items[i].count);
    int64_t at = p->items[i].offset, from = q->items[k].offset;
    for (int64_t e = 0; e < p->items[i].count; e++) {
        /* In this form a value that did not move stays as it is. */
        if (p->dtype == FC_F64) {
            double base = ((const double *)initial)[from + e], x = ((const double *)own)[at + e];
            ((double *)to)[at + e] = base + m->ensemble_alpha * (x - base);
        } else {
            double base = (double)((const float *)initial)[from + e];
            double x = (double)((const float *)own)[at + e];
            ((float *)to)[at + e] = (float)(base + m->ensemble_alpha * (x - base));
        }
    }
}

void fc_clip_ensemble_begin(fc_clip *m, void **own)
{
    *own = NULL;
    if (!(m->ensemble_alpha < 1)) {
        return;
    }
    FC_ASSERT(m->initial != NULL);
    fc_params *p = m->params;
    size_t bytes = (size_t)p->total * fc_dtype_bytes(p->dtype);
    void *initial_owned, *mixed = fc_alloc(bytes, 1);
    const void *initial = fc_params_on_host(m->initial->params, &initial_owned);
    *own = fc_alloc(bytes, 1);
    p->backend->download(*own, p->data, bytes);
    memcpy(mixed, *own, bytes);
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < p->count; i++) {
        if (p->items[i].name != NULL) {
            mix(m, i, *own, initial, mixed);
        }
    }
    fc_params_write(p, mixed);
    fc_free(&mixed);
    fc_free(&initial_owned);
}

void fc_clip_ensemble_end(fc_clip *m, void **own)
{
    if (*own != NULL) {
        fc_params_write(m->params, *own);
        fc_free(own);
    }
}
