#include "core/kernel.h"
#include "core/memory.h"
#include "launch/eval/evaluate.h"
#include "launch/eval/ranking.h"

enum { BLOCK = 64 }; /* rows of scores at a time */

/* The owner of row i's partners: columns [first, end). */
typedef struct partners {
    const uint64_t *of;     /* (rows + 1), or NULL: */
    const int64_t *partner; /* (rows) the only one */
} partners;

/* Hits at 1, 5, 10 of this rank's blocks of rows of `a` against all rows of `b`. */
static void count_hits(const fc_embedder *e, const void *a, int64_t rows, const void *b,
                       int64_t cols, partners with, int64_t hits[3])
{
    fc_dtype dtype = e->model->params->dtype;
    int64_t width = e->model->config.embed_dim;
    size_t bytes = fc_dtype_bytes(dtype);
    fc_arena *scratch = fc_arena_create();
    char *scores = fc_alloc((size_t)(BLOCK * cols), bytes);
    int64_t found[3] = {0, 0, 0};
    for (int64_t at = 0; at < rows; at += BLOCK) {
        if ((at / BLOCK) % fc_comm_size(e->comm) != fc_comm_rank(e->comm)) {
            continue;
        }
        int64_t n = rows - at < BLOCK ? rows - at : BLOCK;
        fci_scores_args args = {.rows = n,
                                .cols = cols,
                                .width = width,
                                .a = (const char *)a + (size_t)(at * width) * bytes,
                                .b = b,
                                .y = scores};
        fci_kernels_cpu(dtype)->scores_fwd(&args, scratch);
        int64_t r1 = 0, r5 = 0, r10 = 0;
#pragma omp parallel for schedule(static) reduction(+ : r1, r5, r10)
        for (int64_t r = 0; r < n; r++) {
            int64_t first = with.of != NULL ? (int64_t)with.of[at + r] : with.partner[at + r];
            int64_t end = with.of != NULL ? (int64_t)with.of[at + r + 1] : first + 1;
            int64_t place = cols;
            for (int64_t own = first; own < end; own++) {
                int64_t p = fci_place_of(scores, dtype, r, cols, own);
                place = p < place ? p : place;
            }
            r1 += place < 1;
            r5 += place < 5 && place < cols;
            r10 += place < 10 && place < cols;
        }
        found[0] += r1;
        found[1] += r5;
        found[2] += r10;
    }
    for (int k = 0; k < 3; k++) {
        hits[k] = found[k];
    }
    fc_free(&scores);
    fc_arena_destroy(&scratch);
}

/* Rows of pictures without a caption have no place: they are not counted. */
static int64_t captioned_images(const fc_store *s)
{
    int64_t n = 0;
    for (int64_t i = 0; i < s->images; i++) {
        n += s->caption_of[i + 1] > s->caption_of[i];
    }
    return n;
}

fc_status fc_eval_retrieval_check(const fc_store *s)
{
    if (s->caption_of == NULL || s->captions == 0) {
        return FC_FAIL(FC_DATA,
                       "%s: retrieval needs captions; this store has none (make it with `captions` "
                       "in the recipe)",
                       s->path);
    }
    return FC_OK;
}

fc_status fc_eval_retrieval(const fc_embedder *e, fc_retrieval_result *out)
{
    const fc_store *s = e->store;
    FC_TRY(fc_eval_retrieval_check(s));
    void *pictures, *texts;
    FC_TRY(fc_embed_pictures(e, &pictures));
    fc_status status = fc_embed_texts(e, FC_CAPTION_TOKENS, s->captions, &texts);
    if (status != FC_OK) {
        fc_free(&pictures);
        return status;
    }
    int64_t *image_of = fc_alloc((size_t)s->captions, sizeof *image_of);
    for (int64_t i = 0; i < s->images; i++) {
        for (uint64_t c = s->caption_of[i]; c < s->caption_of[i + 1]; c++) {
            image_of[c] = i;
        }
    }
    int64_t hits[6];
    count_hits(e, pictures, s->images, texts, s->captions, (partners){.of = s->caption_of}, hits);
    count_hits(e, texts, s->captions, pictures, s->images, (partners){.partner = image_of},
               hits + 3);
    fc_free(&image_of);
    fc_free(&pictures);
    fc_free(&texts);
    FC_TRY(fc_comm_all_reduce(e->comm, hits, 6, FC_COMM_I64, FC_COMM_SUM));
    double images = (double)captioned_images(s), captions = (double)s->captions;
    *out = (fc_retrieval_result){.i2t_r1 = (double)hits[0] / images,
                                 .i2t_r5 = (double)hits[1] / images,
                                 .i2t_r10 = (double)hits[2] / images,
                                 .t2i_r1 = (double)hits[3] / captions,
                                 .t2i_r5 = (double)hits[4] / captions,
                                 .t2i_r10 = (double)hits[5] / captions,
                                 .images = (int64_t)images,
                                 .captions = s->captions};
    return FC_OK;
}
