#include "launch/explain/explain_regions.h"

#include "core/memory.h"
#include "core/op/shared.h"
#include "launch/dist.h"
#include "launch/eval/embed.h"
#include "launch/eval/ranking.h"
#include "launch/explain/heatmap.h"
#include "launch/explain/localization.h"
#include "launch/progress.h"
#include "launch/table.h"
#include "models/relevance.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 4 }; /* pictures at a time; each stands there once a region */

/* In the order of fci_localization's columns. */
const char *const fci_phrase_name[FCI_PHRASES] = {"region caption", "category"};
const char *const fci_map_name[FCI_MAPS] = {
    "relevance, last block", "relevance, all blocks", "relevance, all, above its mean",
    "dense similarity, above 0", "dense similarity, above its mean"};

typedef struct work {
    fc_trained *t;
    fc_store *store;
    fc_embedder embedder;
    fc_tape *tape;             /* records */
    void *phrase[FCI_PHRASES]; /* unit embeddings: of regions (R,D), of categories (K,D); or NULL */
    fci_localization *found;
} work;

static size_t row_bytes(const work *w)
{
    return (size_t)w->t->model->config.embed_dim * fc_dtype_bytes(w->t->model->params->dtype);
}

/* Row of the embeddings that names the region, or -1. */
static int64_t phrase_row(const work *w, int phrase, int64_t region)
{
    const fc_store *s = w->store;
    if (w->phrase[phrase] == NULL) {
        return -1;
    }
    if (phrase == FCI_CAPTION) {
        return s->region_offsets[region + 1] > s->region_offsets[region] ? region : -1;
    }
    return s->category[region];
}

static void note(work *w, int64_t region, int phrase, int map, const double *values,
                 const double box[4])
{
    const int64_t at = fci_localization_at(w->found, region, phrase, map);
    w->found->lift[at] = fc_heatmap_lift(values, w->t->model->grid, box);
    w->found->peak[at] = fc_heatmap_peak_inside(values, w->t->model->grid, box) ? 1 : 0;
}

/* values above `floor`, less it. */
static void above(const double *values, int64_t n, double floor, double *out)
{
    for (int64_t i = 0; i < n; i++) {
        out[i] = fmax(0, values[i] - floor);
    }
}

static double mean_of(const double *values, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += values[i];
    }
    return sum / (double)n;
}

/* What a chunk asks for: its pictures, and a row for every region and phrase. */
typedef struct ask {
    int64_t images, count;
    uint8_t *rgb;          /* (images,S,S,3) */
    const double *scale;   /* (images,2) */
    int64_t *region, *row; /* (count); row of the phrase's embeddings */
    int32_t *image;        /* (count) within the chunk */
} ask;

static void box_of(const work *w, const ask *a, int64_t i, double box[4])
{
    for (int k = 0; k < 4; k++) {
        box[k] = (double)w->store->boxes[4 * a->region[i] + k] * a->scale[2 * a->image[i] + k % 2];
    }
}

/* Cosines of all patches with each phrase: (count, P). */
static fc_status similarity(work *w, const ask *a, const void *targets, double *maps)
{
    const fc_clip *m = w->t->model;
    const fc_dtype dtype = m->params->dtype;
    fc_pixels pixels = {.size = m->image_size, .count = {a->images}, .rgb = {a->rgb}};
    fc_tensor *cls, *dense;
    FC_TRY(fc_clip_vision(m, w->embedder.tape, &pixels, a->images, a->images, 0, &cls, &dense));
    void *scores = fc_tape_alloc(w->embedder.tape, (size_t)m->patches * fc_dtype_bytes(dtype));
    for (int64_t i = 0; i < a->count; i++) {
        fci_scores_args args = {.rows = m->patches,
                                .cols = 1,
                                .width = m->config.embed_dim,
                                .a = (const char *)dense->data +
                                     (size_t)(a->image[i] * m->patches) * row_bytes(w),
                                .b = (const char *)targets + (size_t)i * row_bytes(w),
                                .y = scores};
        FCI_RUN(w->embedder.tape, scores_fwd, &args);
        for (int64_t p = 0; p < m->patches; p++) {
            maps[i * m->patches + p] = fci_value_at(scores, dtype, p);
        }
    }
    return FC_OK;
}

/* One picture a row, for the explained pass; targets (count, D) in step memory of the embedder. */
static void gather(work *w, const ask *a, int phrase, uint8_t **rgb, void **targets)
{
    const size_t bytes = 3 * (size_t)w->t->model->image_size * (size_t)w->t->model->image_size;
    *rgb = fc_tape_alloc(w->embedder.tape, (size_t)a->count * bytes);
    *targets = fc_tape_alloc(w->embedder.tape, (size_t)a->count * row_bytes(w));
    for (int64_t i = 0; i < a->count; i++) {
        memcpy(*rgb + (size_t)i * bytes, a->rgb + (size_t)a->image[i] * bytes, bytes);
        memcpy((char *)*targets + (size_t)i * row_bytes(w),
               (const char *)w->phrase[phrase] + (size_t)a->row[i] * row_bytes(w), row_bytes(w));
    }
}

static fc_status map_chunk(work *w, const ask *a, int phrase)
{
    const fc_clip *m = w->t->model;
    const int64_t n = m->patches;
    uint8_t *rgb;
    void *targets;
    if (a->count == 0) {
        return FC_OK;
    }
    gather(w, a, phrase, &rgb, &targets);
    fc_pixels pixels = {.size = m->image_size, .count = {a->count}, .rgb = {rgb}};
    double *maps[3], *risen = fc_tape_alloc(w->embedder.tape, (size_t)n * sizeof *risen);
    for (int k = 0; k < 3; k++) {
        maps[k] = fc_tape_alloc(w->embedder.tape, (size_t)(a->count * n) * sizeof(double));
    }
    FC_TRY(fc_clip_relevance_image(m, w->tape, &pixels, a->count, targets, 1, maps[0]));
    FC_TRY(fc_clip_relevance_image(m, w->tape, &pixels, a->count, targets, m->config.vision.layers,
                                   maps[1]));
    FC_TRY(similarity(w, a, targets, maps[2]));
    for (int64_t i = 0; i < a->count; i++) {
        double box[4];
        box_of(w, a, i, box);
        const double *all = maps[1] + i * n, *dense = maps[2] + i * n;
        note(w, a->region[i], phrase, FCI_MAP_LAST, maps[0] + i * n, box);
        note(w, a->region[i], phrase, FCI_MAP_ALL, all, box);
        above(all, n, mean_of(all, n), risen);
        note(w, a->region[i], phrase, FCI_MAP_ALL_ABOVE, risen, box);
        above(dense, n, 0, risen);
        note(w, a->region[i], phrase, FCI_MAP_DENSE, risen, box);
        above(dense, n, mean_of(dense, n), risen);
        note(w, a->region[i], phrase, FCI_MAP_DENSE_ABOVE, risen, box);
    }
    return FC_OK;
}

static fc_status one_chunk(work *w, int64_t first, int64_t images)
{
    const fc_store *s = w->store;
    double scale[2 * CHUNK];
    const int64_t begin = (int64_t)s->region_of[first], end = (int64_t)s->region_of[first + images];
    fc_tape_reset(w->embedder.tape);
    ask a = {.images = images, .scale = scale};
    a.region = fc_tape_alloc(w->embedder.tape, (size_t)(end - begin) * sizeof *a.region);
    a.row = fc_tape_alloc(w->embedder.tape, (size_t)(end - begin) * sizeof *a.row);
    a.image = fc_tape_alloc(w->embedder.tape, (size_t)(end - begin) * sizeof *a.image);
    FC_TRY(fc_embed_load(&w->embedder, first, images, &a.rgb, scale));
    for (int phrase = 0; phrase < FCI_PHRASES; phrase++) {
        a.count = 0;
        for (int64_t i = 0; i < images; i++) {
            for (int64_t r = (int64_t)s->region_of[first + i];
                 r < (int64_t)s->region_of[first + i + 1]; r++) {
                const int64_t row = phrase_row(w, phrase, r);
                if (row >= 0) {
                    FC_TRY(fc_store_check_box(s, r, first + i));
                    a.region[a.count] = r;
                    a.row[a.count] = row;
                    a.image[a.count++] = (int32_t)i;
                }
            }
        }
        FC_TRY(map_chunk(w, &a, phrase));
    }
    return FC_OK;
}

static fc_status all_chunks(work *w)
{
    fc_progress progress;
    fc_status status = FC_OK;
    fc_progress_begin(&progress, "maps of regions", 0, w->store->images, 0);
    for (int64_t at = 0; status == FC_OK && at < w->store->images; at += CHUNK) {
        const int64_t left = w->store->images - at, images = left < CHUNK ? left : CHUNK;
        if (at / CHUNK % fc_comm_size(w->t->comm) == fc_comm_rank(w->t->comm)) {
            status = one_chunk(w, at, images);
        }
        fc_progress_step(&progress, at + images, NULL);
    }
    fc_progress_end(&progress);
    return fc_dist_agree(status);
}

static fc_status embed_phrases(work *w)
{
    const fc_store *s = w->store;
    if (s->region_of == NULL || s->regions == 0) {
        return FC_FAIL(FC_DATA, "%s has no regions to look for", s->path);
    }
    if (s->region_offsets[s->regions] > 0) {
        FC_TRY(fc_embed_texts(&w->embedder, FC_REGION_TOKENS, s->regions, &w->phrase[FCI_CAPTION]));
    }
    if (s->category != NULL && s->prompts > 0) {
        FC_TRY(fc_embed_classes(&w->embedder, &w->phrase[FCI_CATEGORY]));
    }
    if (w->phrase[FCI_CAPTION] == NULL && w->phrase[FCI_CATEGORY] == NULL) {
        return FC_FAIL(FC_DATA,
                       "%s: regions have neither captions nor categories with prompts: there is "
                       "nothing to look for",
                       s->path);
    }
    return FC_OK;
}

/* Rows every rank left at zero are another's: the sum is everybody's. */
static fc_status share(work *w)
{
    const int64_t n = w->found->regions * FCI_PHRASES * FCI_MAPS;
    FC_TRY(fc_comm_all_reduce(w->t->comm, w->found->lift, n, FC_COMM_F64, FC_COMM_SUM));
    FC_TRY(fc_comm_all_reduce(w->t->comm, w->found->peak, n, FC_COMM_F64, FC_COMM_SUM));
    for (int64_t r = 0; r < w->found->regions; r++) {
        for (int p = 0; p < FCI_PHRASES; p++) {
            for (int map = 0; map < FCI_MAPS && phrase_row(w, p, r) < 0; map++) {
                const int64_t at = fci_localization_at(w->found, r, p, map);
                w->found->lift[at] = w->found->peak[at] = NAN;
            }
        }
    }
    return FC_OK;
}

static void print_table(const fci_localization *found)
{
    static const char *const headings[] = {"phrase", "map", "regions", "mass / area",
                                           "peak inside"};
    fc_table *table = fc_table_create(5, headings);
    for (int p = 0; p < FCI_PHRASES; p++) {
        for (int map = 0; map < FCI_MAPS; map++) {
            const fci_localization_mean mean = fci_localization_average(found, p, map);
            if (mean.count > 0) {
                fc_table_cell(table, "%s", fci_phrase_name[p]);
                fc_table_cell(table, "%s", fci_map_name[map]);
                fc_table_cell(table, "%lld", (long long)mean.count);
                fc_table_cell(table, "%.2f", mean.lift);
                fc_table_percent(table, mean.peak);
            }
        }
    }
    fc_table_print(table, stdout);
    fc_table_destroy(&table);
}

fc_status fc_explain_regions(fc_trained *t, fc_store *store, const char *file)
{
    fci_localization found = {.regions = store->regions};
    work w = {.t = t, .store = store, .found = &found};
    const int64_t n = store->regions * FCI_PHRASES * FCI_MAPS;
    w.embedder = (fc_embedder){.model = t->model, .comm = t->comm, .store = store};
    w.embedder.tape = fc_tape_create(t->model->params->dtype);
    (void)fc_tape_record(w.embedder.tape, false);
    w.tape = fc_tape_create(t->model->params->dtype);
    found.lift = fc_alloc((size_t)n, sizeof *found.lift);
    found.peak = fc_alloc((size_t)n, sizeof *found.peak);
    fc_status status;
    FC_TRY_GOTO(status, embed_phrases(&w), done);
    FC_TRY_GOTO(status, all_chunks(&w), done);
    FC_TRY_GOTO(status, share(&w), done);
    if (fc_comm_rank(t->comm) == 0) {
        print_table(&found);
        status = fci_localization_write(&found, t, store, file);
    }
    status = fc_dist_agree(status);
done:
    fc_tape_destroy(&w.embedder.tape);
    fc_tape_destroy(&w.tape);
    fc_free(&w.phrase[FCI_CAPTION]);
    fc_free(&w.phrase[FCI_CATEGORY]);
    fc_free(&found.lift);
    fc_free(&found.peak);
    return status;
}
