#include "launch/eval/embed.h"

#include "core/activity.h"
#include "core/fault.h"
#include "core/memory.h"
#include "launch/guard/signals.h"

#include <string.h>

enum { TEXT_CHUNK = 128, PICTURE_CHUNK = 16 };

static bool is_mine(const fc_embedder *e, int64_t chunk)
{
    return chunk % fc_comm_size(e->comm) == fc_comm_rank(e->comm);
}

static size_t row_bytes(const fc_embedder *e)
{
    return (size_t)e->model->config.embed_dim * fc_dtype_bytes(e->model->params->dtype);
}

/* Rows of the wide type where the process can read them: the tensor's own where it can. */
static const void *host_rows(const fc_embedder *e, const fc_tensor *t)
{
    if (fc_tape_backend(e->tape)->on_host) {
        return t->data;
    }
    void *rows = fc_tape_alloc(e->tape, (size_t)t->rows * row_bytes(e));
    fc_tape_read(e->tape, t, rows);
    return rows;
}

static fc_status report(const fc_embedder *e, int64_t done, int64_t total)
{
    fc_activity_beat();
    FC_TRY(fc_fault_here(FC_AT_evaluation));
    if (e->progress != NULL) {
        e->progress(e->progress_ctx, done < total ? done : total, total);
    }
    return FC_OK;
}

/* A signal that asks to stop ends an evaluation: each rank leaves its chunks and comes here, where
 * all learn whether any of them did. */
static fc_status agree_to_go_on(const fc_embedder *e)
{
    int64_t number = fc_signals_pending();
    FC_TRY(fc_comm_all_reduce(e->comm, &number, 1, FC_COMM_I64, FC_COMM_MAX));
    if (number != 0) {
        fc_signals_ask((int)number);
        return FC_FAIL(FC_INTERRUPTED, "stopped while evaluating");
    }
    return FC_OK;
}

/* Every rank filled its own rows of zeros: the sum is everybody's. */
static fc_status share_rows(const fc_embedder *e, fc_status status, int64_t rows, void **out)
{
    if (status == FC_OK) {
        status = agree_to_go_on(e);
    }
    if (status == FC_OK) {
        status = fc_comm_all_reduce(e->comm, *out, rows * e->model->config.embed_dim,
                                    fc_comm_real(e->model->params->dtype), FC_COMM_SUM);
    }
    if (status != FC_OK) {
        fc_free(out);
    }
    return status;
}

fc_status fc_embed_text_rows(const fc_embedder *e, fc_token_set set, int64_t first, int64_t count,
                             bool unit, void *out)
{
    int context = e->model->config.text.context_length;
    int32_t *ids = fc_tape_alloc(e->tape, (size_t)(count * context) * sizeof *ids);
    int64_t *offsets = fc_tape_alloc(e->tape, (size_t)(count + 1) * sizeof *offsets);
    int64_t *item = fc_tape_alloc(e->tape, (size_t)count * sizeof *item);
    int64_t rows = 0, tokens = 0;
    for (int64_t i = 0; i < count; i++) {
        int n;
        FC_TRY(fc_store_tokens(e->store, set, first + i, e->model->config.text.vocab_size, context,
                               ids + tokens, &n));
        if (n > 0) {
            item[rows] = i;
            offsets[rows++] = tokens;
            tokens += n;
        }
    }
    offsets[rows] = tokens;
    if (rows == 0) {
        return FC_OK;
    }
    fc_tensor *y = fc_clip_text(e->model, e->tape, rows, ids, offsets, 0);
    y = unit ? fc_l2norm(e->tape, y) : y;
    FC_TRY(fc_tape_status(e->tape));
    const char *values = host_rows(e, y);
    for (int64_t r = 0; r < rows; r++) {
        memcpy((char *)out + (size_t)item[r] * row_bytes(e), values + (size_t)r * row_bytes(e),
               row_bytes(e));
    }
    return FC_OK;
}

fc_status fc_embed_texts(const fc_embedder *e, fc_token_set set, int64_t count, void **out)
{
    fc_status status = FC_OK;
    *out = fc_alloc((size_t)count, row_bytes(e));
    for (int64_t at = 0; status == FC_OK && at < count && fc_signals_pending() == 0;
         at += TEXT_CHUNK) {
        if (is_mine(e, at / TEXT_CHUNK)) {
            fc_activity_beat();
            fc_tape_reset(e->tape);
            int64_t n = count - at < TEXT_CHUNK ? count - at : TEXT_CHUNK;
            status =
                fc_embed_text_rows(e, set, at, n, true, (char *)*out + (size_t)at * row_bytes(e));
        }
    }
    return share_rows(e, status, count, out);
}

fc_status fc_embed_load(const fc_embedder *e, int64_t first, int64_t images, uint8_t **pixels,
                        double *scale)
{
    int size = e->model->image_size;
    size_t bytes = (size_t)size * (size_t)size * 3;
    uint8_t *all = fc_tape_alloc(e->tape, (size_t)images * bytes);
    fc_status failed = FC_OK;
    char message[1024] = "";
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < images; i++) {
        fc_picture picture = {0};
        fc_status status = fc_store_picture(e->store, first + i, &picture);
        if (status == FC_OK) {
            status = fc_picture_fit(&picture, e->fit, size, all + (size_t)i * bytes, &scale[2 * i],
                                    &scale[2 * i + 1]);
        }
        fc_picture_free(&picture);
        if (status != FC_OK) {
#pragma omp critical
            {
                failed = status;
                strncpy(message, fc_error_message(), sizeof message - 1);
            }
        }
    }
    if (failed != FC_OK) {
        fc_error_set(message, "");
    }
    *pixels = all;
    return failed;
}

static fc_status picture_chunk(const fc_embedder *e, int64_t first, int64_t images, char *out)
{
    uint8_t *rgb;
    double scale[2 * PICTURE_CHUNK];
    FC_TRY(fc_embed_load(e, first, images, &rgb, scale));
    fc_pixels pixels = {.size = e->model->image_size, .count = {images}, .rgb = {rgb}};
    fc_tensor *cls, *dense;
    FC_TRY(fc_clip_vision(e->model, e->tape, &pixels, 0, 0, 0, &cls, &dense));
    fc_tensor *y = fc_l2norm(e->tape, cls);
    FC_TRY(fc_tape_status(e->tape));
    fc_tape_read(e->tape, y, out);
    return FC_OK;
}

fc_status fc_embed_pictures(const fc_embedder *e, void **out)
{
    int64_t count = e->store->images;
    fc_status status = FC_OK;
    *out = fc_alloc((size_t)count, row_bytes(e));
    for (int64_t at = 0; status == FC_OK && at < count && fc_signals_pending() == 0;
         at += PICTURE_CHUNK) {
        if (is_mine(e, at / PICTURE_CHUNK)) {
            fc_tape_reset(e->tape);
            int64_t n = count - at < PICTURE_CHUNK ? count - at : PICTURE_CHUNK;
            status = picture_chunk(e, at, n, (char *)*out + (size_t)at * row_bytes(e));
        }
        if (status == FC_OK) {
            status = report(e, at + PICTURE_CHUNK, count);
        }
    }
    return share_rows(e, status, count, out);
}

static fc_status box_chunk(const fc_embedder *e, fc_box_chunk *chunk, int64_t *region,
                           int64_t count, const int32_t *image)
{
    uint8_t *rgb;
    double scale[2 * PICTURE_CHUNK];
    FC_TRY(fc_embed_load(e, chunk->first, chunk->images, &rgb, scale));
    float *boxes = fc_tape_alloc(e->tape, (size_t)count * 4 * sizeof *boxes);
    for (int64_t r = 0; r < count; r++) {
        for (int k = 0; k < 4; k++) {
            boxes[4 * r + k] =
                (float)((double)e->store->boxes[4 * region[r] + k] * scale[2 * image[r] + k % 2]);
        }
    }
    fc_pixels pixels = {.size = e->model->image_size, .count = {chunk->images}, .rgb = {rgb}};
    fc_tensor *cls, *dense;
    FC_TRY(
        fc_clip_vision(e->model, e->tape, &pixels, chunk->images, chunk->images, 0, &cls, &dense));
    chunk->features = fc_clip_box_features(e->tape, dense, e->model->grid, boxes, image, count);
    chunk->region = region;
    chunk->count = count;
    FC_TRY(fc_tape_status(e->tape));
    chunk->rows = host_rows(e, chunk->features);
    return FC_OK;
}

fc_status fc_embed_boxes(const fc_embedder *e, bool (*keep)(const fc_store *s, int64_t region),
                         fc_status (*visit)(void *ctx, const fc_box_chunk *chunk), void *ctx)
{
    const fc_store *s = e->store;
    for (int64_t at = 0; s->region_of != NULL && at < s->images && fc_signals_pending() == 0;
         at += PICTURE_CHUNK) {
        FC_TRY(report(e, at, s->images));
        if (!is_mine(e, at / PICTURE_CHUNK)) {
            continue;
        }
        fc_tape_reset(e->tape);
        fc_box_chunk chunk = {
            .first = at, .images = s->images - at < PICTURE_CHUNK ? s->images - at : PICTURE_CHUNK};
        int64_t first = (int64_t)s->region_of[at], end = (int64_t)s->region_of[at + chunk.images],
                count = 0;
        int64_t *region = fc_tape_alloc(e->tape, (size_t)(end - first) * sizeof *region);
        int32_t *image = fc_tape_alloc(e->tape, (size_t)(end - first) * sizeof *image);
        for (int64_t i = 0; i < chunk.images; i++) {
            for (int64_t r = (int64_t)s->region_of[at + i]; r < (int64_t)s->region_of[at + i + 1];
                 r++) {
                if (keep(s, r)) {
                    FC_TRY(fc_store_check_box(s, r, at + i));
                    region[count] = r;
                    image[count++] = (int32_t)i;
                }
            }
        }
        if (count > 0) {
            FC_TRY(box_chunk(e, &chunk, region, count, image));
            FC_TRY(visit(ctx, &chunk));
        }
    }
    FC_TRY(report(e, s->images, s->images));
    return agree_to_go_on(e);
}
