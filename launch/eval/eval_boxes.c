#include "core/kernel.h"
#include "core/memory.h"
#include "launch/eval/evaluate.h"
#include "launch/eval/ranking.h"

#include <math.h>

static const double MIN_SIDE = 8, MAX_SIDE = 1024;

typedef struct tally {
    const fc_store *store;
    const void *classes; /* (K,D) */
    int64_t *counts;     /* (3,K): boxes, top-1 hits, top-5 hits */
    fc_dtype dtype;      /* of classes and scores */
    void *scores;
    int64_t capacity;
    fc_arena *scratch;
} tally;

static bool is_tested(const fc_store *s, int64_t region)
{
    const float *box = s->boxes + 4 * region;
    double area = ((double)box[2] - (double)box[0]) * ((double)box[3] - (double)box[1]);
    return s->category[region] >= 0 && area >= MIN_SIDE * MIN_SIDE && area <= MAX_SIDE * MAX_SIDE;
}

static fc_status count_hits(void *ctx, const fc_box_chunk *chunk)
{
    tally *t = ctx;
    int64_t classes = t->store->categories;
    fc_dtype dtype = t->dtype;
    if (chunk->count > t->capacity) {
        t->capacity = 2 * chunk->count;
        t->scores = fc_realloc(t->scores, (size_t)(t->capacity * classes), fc_dtype_bytes(dtype));
    }
    fci_scores_args args = {.rows = chunk->count,
                            .cols = classes,
                            .width = chunk->features->cols,
                            .a = chunk->rows,
                            .b = t->classes,
                            .y = t->scores};
    fci_kernels_cpu(dtype)->scores_fwd(&args, t->scratch);
    for (int64_t i = 0; i < chunk->count; i++) {
        int64_t label = t->store->category[chunk->region[i]];
        int64_t place = fci_place_of(t->scores, dtype, i, classes, label);
        t->counts[label]++;
        t->counts[classes + label] += place < 1;
        t->counts[2 * classes + label] += place < 5;
    }
    return FC_OK;
}

static void summarise(const int64_t *counts, int64_t classes, fc_box_result *out)
{
    int64_t occurring = 0, hits1 = 0, hits5 = 0;
    *out = (fc_box_result){.categories = classes};
    out->per_category_top1 = fc_alloc((size_t)classes, sizeof(double));
    out->per_category_regions = fc_alloc((size_t)classes, sizeof(int64_t));
    for (int64_t k = 0; k < classes; k++) {
        int64_t n = counts[k];
        out->per_category_regions[k] = n;
        out->per_category_top1[k] = NAN;
        if (n > 0) {
            out->per_category_top1[k] = (double)counts[classes + k] / (double)n;
            out->top1 += out->per_category_top1[k];
            out->top5 += (double)counts[2 * classes + k] / (double)n;
            occurring++;
            out->regions += n;
            hits1 += counts[classes + k];
            hits5 += counts[2 * classes + k];
        }
    }
    out->top1 = occurring > 0 ? out->top1 / (double)occurring : NAN;
    out->top5 = occurring > 0 ? out->top5 / (double)occurring : NAN;
    out->micro_top1 = out->regions > 0 ? (double)hits1 / (double)out->regions : NAN;
    out->micro_top5 = out->regions > 0 ? (double)hits5 / (double)out->regions : NAN;
}

fc_status fc_eval_boxes_check(const fc_store *s)
{
    if (s->region_of == NULL || s->category == NULL || s->categories == 0 || s->prompts == 0) {
        return FC_FAIL(
            FC_DATA,
            "%s: box classification needs regions with categories and the categories' prompts; "
            "this store lacks them (make it with `instances` and `prompts` in the recipe)",
            s->path);
    }
    return FC_OK;
}

fc_status fc_eval_boxes(const fc_embedder *e, fc_box_result *out)
{
    const fc_store *s = e->store;
    FC_TRY(fc_eval_boxes_check(s));
    tally t = {.store = s, .dtype = e->model->params->dtype, .scratch = fc_arena_create()};
    void *classes = NULL;
    t.counts = fc_alloc((size_t)(3 * s->categories), sizeof *t.counts);
    fc_status status = fc_embed_classes(e, &classes);
    t.classes = classes;
    if (status == FC_OK) {
        status = fc_embed_boxes(e, is_tested, count_hits, &t);
    }
    if (status == FC_OK) {
        status = fc_comm_all_reduce(e->comm, t.counts, 3 * s->categories, FC_COMM_I64, FC_COMM_SUM);
    }
    if (status == FC_OK) {
        summarise(t.counts, s->categories, out);
    }
    fc_free(&classes);
    fc_free(&t.counts);
    fc_free(&t.scores);
    fc_arena_destroy(&t.scratch);
    return status;
}

void fc_box_result_free(fc_box_result *r)
{
    fc_free(&r->per_category_top1);
    fc_free(&r->per_category_regions);
}
