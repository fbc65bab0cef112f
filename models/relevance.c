#include "models/relevance.h"

#include <math.h>
#include <string.h>

/* s times the targets, as the gradient of y by the embeddings of unit length; step memory. */
static const void *seed_of(const fc_clip *m, fc_tape *tape, const void *targets, int64_t count)
{
    void *seed = fc_tape_alloc(tape, (size_t)count * fc_dtype_bytes(m->params->dtype));
    if (m->params->dtype == FC_F64) {
        const double scale = exp(*(const double *)m->logit_scale->data), *from = targets;
        for (int64_t i = 0; i < count; i++) {
            ((double *)seed)[i] = scale * from[i];
        }
    } else {
        const float scale = expf(*(const float *)m->logit_scale->data), *from = targets;
        for (int64_t i = 0; i < count; i++) {
            ((float *)seed)[i] = scale * from[i];
        }
    }
    return seed;
}

/* A row of the identity for each sequence of `each` tokens, one after another; step memory. */
static fc_relevance *unit_rows(fc_tape *tape, int64_t sequences, int64_t each, int64_t query,
                               int layers)
{
    fc_relevance *r = fc_tape_alloc(tape, sizeof *r);
    const size_t rows = (size_t)(sequences * each);
    double *values = memset(fc_tape_alloc(tape, rows * sizeof *values), 0, rows * sizeof *values);
    int64_t *offsets = fc_tape_alloc(tape, (size_t)(sequences + 1) * sizeof *offsets);
    int64_t *queries = fc_tape_alloc(tape, (size_t)sequences * sizeof *queries);
    offsets[0] = 0;
    for (int64_t s = 0; s < sequences; s++) {
        offsets[s + 1] = (s + 1) * each;
        queries[s] = query;
        values[s * each + query] = 1;
    }
    *r = (fc_relevance){sequences, offsets, queries, values, layers};
    return r;
}

static fc_status differentiate(const fc_clip *m, fc_tape *tape, fc_tensor *embedding,
                               const void *targets)
{
    fc_tensor *unit = fc_l2norm(tape, embedding);
    FC_TRY(fc_tape_status(tape));
    fc_tape_seed(tape, unit, seed_of(m, tape, targets, fc_tensor_count(unit)));
    return fc_backward(tape, 1, &unit, NULL);
}

static fc_status image_rows(const fc_clip *m, fc_tape *tape, const fc_pixels *pixels,
                            const void *targets)
{
    fc_tensor *cls, *dense;
    FC_TRY(fc_clip_vision(m, tape, pixels, 0, 0, 0, &cls, &dense));
    return differentiate(m, tape, cls, targets);
}

fc_status fc_clip_relevance_image(const fc_clip *m, fc_tape *tape, const fc_pixels *pixels,
                                  int64_t n, const void *targets, int layers, double *maps)
{
    const int64_t each = 1 + m->patches;
    fc_tape_reset(tape);
    fc_relevance *r = unit_rows(tape, n, each, 0, layers);
    const bool recording = fc_tape_record(tape, true);
    fc_tape_set_relevance(tape, r);
    fc_status status = image_rows(m, tape, pixels, targets);
    fc_tape_set_relevance(tape, NULL);
    (void)fc_tape_record(tape, recording);
    for (int64_t i = 0; status == FC_OK && i < n; i++) {
        memcpy(maps + i * m->patches, r->rows + i * each + 1, (size_t)m->patches * sizeof *maps);
    }
    return status;
}

static int64_t end_of(const int32_t *tokens, int64_t count)
{
    int64_t end = 0;
    for (int64_t i = 0; i < count; i++) {
        end = tokens[i] > tokens[end] ? i : end;
    }
    return end;
}

static fc_status text_row(const fc_clip *m, fc_tape *tape, const int32_t *tokens, int64_t count,
                          const void *target)
{
    const int64_t offsets[2] = {0, count};
    return differentiate(m, tape, fc_clip_text(m, tape, 1, tokens, offsets, 0), target);
}

fc_status fc_clip_relevance_text(const fc_clip *m, fc_tape *tape, const int32_t *tokens,
                                 int64_t count, const void *target, int layers, double *map)
{
    const int64_t end = end_of(tokens, count);
    fc_tape_reset(tape);
    fc_relevance *r = unit_rows(tape, 1, end + 1, end, layers);
    const bool recording = fc_tape_record(tape, true);
    fc_tape_set_relevance(tape, r);
    fc_status status = text_row(m, tape, tokens, count, target);
    fc_tape_set_relevance(tape, NULL);
    (void)fc_tape_record(tape, recording);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        map[i] = status == FC_OK && i > 0 && i < end ? r->rows[i] : 0;
        sum += map[i];
    }
    for (int64_t i = 0; sum > 0 && i < count; i++) {
        map[i] /= sum;
    }
    return status;
}
