/* The maps of one picture: embeddings of its texts, then relevance of patches and tokens, and
 * similarity of dense features. T texts, P patches, D embed_dim. */
#include "core/memory.h"
#include "core/op/shared.h"
#include "launch/eval/ranking.h"
#include "launch/explain/explain_parts.h"
#include "models/relevance.h"

#include <math.h>
#include <string.h>

/* Bytes of activations that one explained pass may take, about. */
static const double PASS_BYTES = 2e9;

typedef struct work {
    const fc_clip *m;
    const fc_explain_picture *picture;
    fc_tape *tape; /* records while something is explained */
    uint8_t *rgb;  /* (S,S,3) */
    void *image;   /* (D) unit embedding of the picture */
    void *target;  /* (T,D) of each text */
    fc_dtype dtype;
    size_t row; /* bytes of D values */
} work;

static void keep(void *to, const fc_tensor *from, size_t bytes)
{
    memcpy(to, from->data, bytes);
}

/* The unit mean of the features of a phrase's tokens within its sentence. */
static fc_status embed_tokens(work *w, const fc_explain_text *x, void *out)
{
    const fc_explain_text *sentence = &w->picture->text[x->sentence];
    fc_tape_reset(w->tape);
    fc_tensor *all = fc_clip_text_tokens(w->m, w->tape, sentence->ids, sentence->count);
    FC_TRY(fc_tape_status(w->tape));
    const int64_t dim = w->m->config.embed_dim;
    double norm = 0;
    double *mean = fc_tape_alloc(w->tape, (size_t)dim * sizeof *mean);
    for (int64_t d = 0; d < dim; d++) {
        mean[d] = 0;
        for (int i = x->first; i < x->first + x->length; i++) {
            mean[d] += fci_value_at(all->data, w->dtype, i * dim + d) / x->length;
        }
        norm += mean[d] * mean[d];
    }
    for (int64_t d = 0; d < dim; d++) {
        const double value = mean[d] / fmax(sqrt(norm), 1e-12);
        if (w->dtype == FC_F64) {
            ((double *)out)[d] = value;
        } else {
            ((float *)out)[d] = (float)value;
        }
    }
    return FC_OK;
}

static fc_status embed_texts(work *w)
{
    for (int i = 0; i < w->picture->texts; i++) {
        const fc_explain_text *x = &w->picture->text[i];
        void *out = (char *)w->target + (size_t)i * w->row;
        if (x->length > 0) {
            FC_TRY(embed_tokens(w, x, out));
            continue;
        }
        const int64_t offsets[2] = {0, x->count};
        fc_tape_reset(w->tape);
        fc_tensor *y = fc_l2norm(w->tape, fc_clip_text(w->m, w->tape, 1, x->ids, offsets, 0));
        FC_TRY(fc_tape_status(w->tape));
        keep(out, y, w->row);
    }
    return FC_OK;
}

/* The picture's embedding, and cosines: of it and of each patch with each text. */
static fc_status compare(work *w, fc_explained *out)
{
    const int texts = w->picture->texts;
    const int64_t patches = w->m->patches;
    fc_pixels pixels = {.size = w->m->image_size, .count = {1}, .rgb = {w->rgb}};
    fc_tensor *cls, *dense;
    fc_tape_reset(w->tape);
    FC_TRY(fc_clip_vision(w->m, w->tape, &pixels, 1, 0, 0, &cls, &dense));
    fc_tensor *unit = fc_l2norm(w->tape, cls);
    FC_TRY(fc_tape_status(w->tape));
    keep(w->image, unit, w->row);
    void *scores =
        fc_tape_alloc(w->tape, (size_t)(texts * (patches + 1)) * fc_dtype_bytes(w->dtype));
    fci_scores_args args = {.rows = texts,
                            .cols = patches,
                            .width = w->m->config.embed_dim,
                            .a = w->target,
                            .b = dense->data,
                            .y = scores};
    FCI_RUN(w->tape, scores_fwd, &args);
    for (int64_t i = 0; i < texts * patches; i++) {
        out->dense[i] = fci_value_at(scores, w->dtype, i);
    }
    args.b = unit->data;
    args.cols = 1;
    FCI_RUN(w->tape, scores_fwd, &args);
    for (int i = 0; i < texts; i++) {
        out->similarity[i] = fci_value_at(scores, w->dtype, i);
    }
    return FC_OK;
}

static fc_status image_maps(work *w, int layers, double *maps)
{
    const fc_model_config *c = &w->m->config;
    const double kept = 20; /* values of a block that wait for the way back, in widths */
    const double each = (double)(1 + w->m->patches) * c->vision.width * c->vision.layers * kept *
                        (double)fc_dtype_bytes(w->dtype);
    const int at_once = (int)fmin(fmax(1, PASS_BYTES / each), 64), texts = w->picture->texts;
    const size_t bytes = 3 * (size_t)w->m->image_size * (size_t)w->m->image_size;
    uint8_t *rgb = fc_alloc((size_t)at_once, bytes);
    for (int i = 0; i < at_once; i++) {
        memcpy(rgb + (size_t)i * bytes, w->rgb, bytes);
    }
    fc_status status = FC_OK;
    for (int at = 0; status == FC_OK && at < texts; at += at_once) {
        const int n = texts - at < at_once ? texts - at : at_once;
        fc_pixels pixels = {.size = w->m->image_size, .count = {n}, .rgb = {rgb}};
        status = fc_clip_relevance_image(w->m, w->tape, &pixels, n,
                                         (char *)w->target + (size_t)at * w->row, layers,
                                         maps + at * w->m->patches);
    }
    fc_free(&rgb);
    return status;
}

static fc_status text_maps(work *w, int layers, double **tokens)
{
    for (int i = 0; i < w->picture->texts; i++) {
        const fc_explain_text *x = &w->picture->text[i];
        if (x->length == 0) {
            tokens[i] = fc_alloc((size_t)x->count, sizeof *tokens[i]);
            FC_TRY(fc_clip_relevance_text(w->m, w->tape, x->ids, x->count, w->image, layers,
                                          tokens[i]));
        }
    }
    return FC_OK;
}

fc_status fc_explain(fc_explained *out, const fc_trained *t, const fc_explain_picture *picture,
                     bool all_layers)
{
    const fc_clip *m = t->model;
    const size_t texts = (size_t)picture->texts, maps = texts * (size_t)m->patches;
    work w = {.m = m, .picture = picture, .dtype = m->params->dtype};
    w.row = (size_t)m->config.embed_dim * fc_dtype_bytes(w.dtype);
    w.tape = fc_tape_create(w.dtype);
    (void)fc_tape_record(w.tape, false);
    w.rgb = fc_alloc((size_t)m->image_size * (size_t)m->image_size, 3);
    w.image = fc_alloc(1, w.row);
    w.target = fc_alloc(texts, w.row);
    *out = (fc_explained){.similarity = fc_alloc(texts, sizeof(double)),
                          .relevance = fc_alloc(maps, sizeof(double)),
                          .dense = fc_alloc(maps, sizeof(double)),
                          .tokens = fc_alloc(texts, sizeof(double *))};
    fc_status status;
    FC_TRY_GOTO(status,
                fc_picture_fit(&picture->picture, FC_FIT_SQUASH, m->image_size, w.rgb, NULL, NULL),
                done);
    FC_TRY_GOTO(status, embed_texts(&w), done);
    FC_TRY_GOTO(status, compare(&w, out), done);
    FC_TRY_GOTO(status, image_maps(&w, all_layers ? m->config.vision.layers : 1, out->relevance),
                done);
    FC_TRY_GOTO(status, text_maps(&w, all_layers ? m->config.text.layers : 1, out->tokens), done);
done:
    fc_tape_destroy(&w.tape);
    fc_free(&w.rgb);
    fc_free(&w.image);
    fc_free(&w.target);
    return status;
}

void fc_explained_free(fc_explained *e, int texts)
{
    for (int i = 0; e->tokens != NULL && i < texts; i++) {
        fc_free(&e->tokens[i]);
    }
    fc_free(&e->tokens);
    fc_free(&e->similarity);
    fc_free(&e->relevance);
    fc_free(&e->dense);
}
