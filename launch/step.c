#include "launch/step.h"

#include "core/activity.h"
#include "core/clock.h"
#include "core/fault.h"
#include "core/memory.h"
#include "core/rehearsal.h"

#include <math.h>
#include <string.h>

/* The features terms read, in the order of FC_NEED_...'s bits. */
enum { IMAGE, TEXT, BOX, CROP, REGION_TEXT, TEACHER, KINDS };

typedef struct features {
    fc_tensor *of[KINDS];
    int64_t *captioned; /* regions with a caption, counted within the part */
    int64_t captioned_count;
    double teacher_flops;
} features;

struct fc_step {
    fc_clip *model;
    fc_comm *comm;
    fc_step_options options;
    unsigned needs;
    fc_tape *tape;
    fc_grad_reduce *reduce;
    fc_adamw *adamw;
    bool rehearsing, is_settled;
    fc_tape_memory settled; /* step memory that is taken at once */
    /* accumulate: features of the whole step and their gradients, in the process's memory and the
     * wide type */
    void *kept[KINDS], *kept_grad[KINDS];
    int64_t kept_rows[KINDS], kept_capacity[KINDS];
    bool has_grad[KINDS];
    int64_t *kept_captioned;
    int64_t captioned_count, captioned_capacity;
    /* of the whole batch */
    int32_t *concept; /* (R) */
    int64_t concept_capacity, batch_step;
    double begun;
};

static const size_t BUCKET_BYTES = (size_t)16 << 20;

fc_step *fc_step_create(fc_clip *model, fc_comm *comm, const fc_step_options *options)
{
    fc_step *s = fc_alloc(1, sizeof *s);
    *s = (fc_step){
        .model = model, .comm = comm, .options = *options, .needs = fc_step_needs(options)};
    s->tape = fc_clip_tape(model);
    s->reduce = fc_grad_reduce_create(model->params, comm, BUCKET_BYTES);
    s->adamw = fc_adamw_create(model->params, comm, &options->adamw);
    return s;
}

void fc_step_destroy(fc_step **sp)
{
    fc_step *s = *sp;
    if (s == NULL) {
        return;
    }
    for (int k = 0; k < KINDS; k++) {
        fc_free(&s->kept[k]);
        fc_free(&s->kept_grad[k]);
    }
    fc_free(&s->kept_captioned);
    fc_free(&s->concept);
    fc_tape_destroy(&s->tape);
    fc_grad_reduce_destroy(&s->reduce);
    fc_adamw_destroy(&s->adamw);
    fc_free(sp);
}

unsigned fc_step_needs(const fc_step_options *options)
{
    unsigned needs = 0;
    for (int i = 0; i < options->term_count; i++) {
        needs |= options->terms[i].def->needs;
    }
    return needs;
}

fc_adamw *fc_step_optimizer(fc_step *s)
{
    return s->adamw;
}

fc_grad_reduce *fc_step_grad_reduce(fc_step *s)
{
    return s->reduce;
}

void fc_step_profile(fc_step *s, fc_profile *profile)
{
    fc_tape_set_profile(s->tape, profile);
}

fc_tape_memory fc_step_memory(const fc_step *s)
{
    return fc_tape_peaks(s->tape);
}

void fc_step_settle(fc_step *s, fc_recompute recompute, const fc_tape_memory *memory)
{
    s->options.recompute = recompute;
    s->settled = *memory;
    s->is_settled = true;
    fc_tape_reset(s->tape);
    fc_tape_reserve(s->tape, memory);
}

void fc_step_rest(fc_step *s)
{
    fc_tape_reset(s->tape);
    fc_tape_release(s->tape);
}

/* ---- Features of a part of the batch ---- */

typedef struct part {
    const fc_batch *batch;
    int64_t image, images;   /* pictures [image, image + images) */
    int64_t region, regions; /* their regions */
} part;

static part part_of(const fc_batch *batch, int index, int parts)
{
    part p = {.batch = batch};
    p.image = batch->images * index / parts;
    p.images = batch->images * (index + 1) / parts - p.image;
    while (p.region < batch->regions && batch->region_image[p.region] < p.image) {
        p.region++;
    }
    while (p.region + p.regions < batch->regions &&
           batch->region_image[p.region + p.regions] < p.image + p.images) {
        p.regions++;
    }
    return p;
}

static fc_tensor *rows_of(fc_step *s, fc_tensor *x, int64_t first, int64_t count)
{
    if (x == NULL && count == 0) {
        return fc_tape_matrix(s->tape, 0, s->model->config.embed_dim, false);
    }
    if (x != NULL && first == 0 && count == x->rows) {
        return x;
    }
    int64_t *index = fc_tape_alloc(s->tape, (size_t)count * sizeof *index);
    for (int64_t i = 0; i < count; i++) {
        index[i] = first + i;
    }
    return fc_gather_rows(s->tape, x, index, count);
}

static fc_status vision_features(fc_step *s, const part *p, features *f)
{
    const fc_batch *b = p->batch;
    int64_t picture = 3 * (int64_t)s->model->image_size * s->model->image_size;
    bool image = (s->needs & FC_NEED_IMAGE) != 0, box = (s->needs & FC_NEED_BOX) != 0;
    bool crop = (s->needs & FC_NEED_CROP) != 0;
    int64_t crops = crop ? p->regions : 0;
    if (!image && !box && !crop) {
        return FC_OK;
    }
    const bool on_device = b->device_pictures != NULL;
    const uint8_t *first_picture = on_device ? b->device_pictures : b->pictures;
    const uint8_t *first_crop = on_device ? b->device_crops : b->crops;
    fc_pixels pixels = {
        .size = s->model->image_size,
        .count = {p->images, crops},
        .rgb = {first_picture + p->image * picture, crop ? first_crop + p->region * picture : NULL},
        .on_device = on_device};
    fc_tensor *cls = NULL, *dense = NULL;
    FC_TRY(fc_clip_vision(s->model, s->tape, &pixels, box ? p->images : 0, image ? 0 : p->images,
                          s->options.recompute.vision, &cls, &dense));
    cls = cls != NULL ? fc_l2norm(s->tape, cls) : NULL;
    int64_t pictures = image ? p->images : 0;
    if (image) {
        f->of[IMAGE] = rows_of(s, cls, 0, pictures);
    }
    if (crop) {
        f->of[CROP] = rows_of(s, cls, pictures, crops);
    }
    if (box) {
        int32_t *index = fc_tape_alloc(s->tape, (size_t)p->regions * sizeof *index);
        for (int64_t r = 0; r < p->regions; r++) {
            index[r] = b->region_image[p->region + r] - (int32_t)p->image;
        }
        f->of[BOX] = fc_clip_box_features(s->tape, dense, s->model->grid, b->boxes + 4 * p->region,
                                          index, p->regions);
    }
    return fc_tape_status(s->tape);
}

/* Captions and region captions in one pass through the tower. */
static fc_status text_features(fc_step *s, const part *p, features *f)
{
    const fc_batch *b = p->batch;
    bool text = (s->needs & FC_NEED_TEXT) != 0, region = (s->needs & FC_NEED_REGION_TEXT) != 0;
    if (!text && !region) {
        return FC_OK;
    }
    int64_t captions = text ? p->images : 0;
    f->captioned = fc_tape_alloc(s->tape, (size_t)p->regions * sizeof(int64_t));
    for (int64_t r = p->region; region && r < p->region + p->regions; r++) {
        if (b->region_offsets[r + 1] > b->region_offsets[r]) {
            f->captioned[f->captioned_count++] = r - p->region;
        }
    }
    int64_t rows = captions + f->captioned_count, tokens = 0;
    int64_t *offsets = fc_tape_alloc(s->tape, (size_t)(rows + 1) * sizeof *offsets);
    size_t all = (size_t)(text ? b->caption_offsets[b->images] : 0) +
                 (size_t)(region ? b->region_offsets[b->regions] : 0);
    int32_t *ids = fc_tape_alloc(s->tape, all * sizeof *ids);
    for (int64_t i = 0; i < rows; i++) {
        bool caption = i < captions;
        int64_t row = caption ? p->image + i : p->region + f->captioned[i - captions];
        const int64_t *from = caption ? b->caption_offsets : b->region_offsets;
        int64_t count = from[row + 1] - from[row];
        memcpy(ids + tokens, (caption ? b->caption_tokens : b->region_tokens) + from[row],
               (size_t)count * sizeof *ids);
        offsets[i] = tokens;
        tokens += count;
    }
    offsets[rows] = tokens;
    fc_tensor *out = NULL;
    if (rows > 0) {
        out = fc_l2norm(s->tape, fc_clip_text(s->model, s->tape, rows, ids, offsets,
                                              s->options.recompute.text));
    }
    if (text) {
        f->of[TEXT] = rows_of(s, out, 0, captions);
    }
    if (region) {
        f->of[REGION_TEXT] = rows_of(s, out, captions, f->captioned_count);
    }
    return fc_tape_status(s->tape);
}

/* Numbers that go wrong, in tests: one of this rank's features, or all of a kind far too large. */
static void spoil(fc_step *s, features *f)
{
    bool nan = fc_fault_due(FC_FAULT_nan, FC_AT_features);
    bool inf = fc_fault_due(FC_FAULT_inf, FC_AT_features);
    bool spike = fc_fault_due(FC_FAULT_spike, FC_AT_features);
    for (int k = 0; (nan || inf || spike) && k < KINDS; k++) {
        fc_tensor *t = f->of[k];
        if (t == NULL || t->rows == 0) {
            continue;
        }
        double *values = fc_tape_alloc(s->tape, (size_t)fc_tensor_count(t) * sizeof *values);
        fc_tape_read(s->tape, t, values);
        for (int64_t i = 0; i < (spike ? fc_tensor_count(t) : 1); i++) {
            double bad = nan ? NAN : INFINITY;
            if (t->dtype == FC_F64) {
                values[i] = spike ? 50 * values[i] : bad;
            } else {
                float *single = (float *)values + i;
                *single = (float)(spike ? 50 * (double)*single : bad);
            }
        }
        fc_tape_write(s->tape, t, values);
        return;
    }
}

/* What the initial model makes of the crops. */
static fc_status teacher_features(fc_step *s, const part *p, features *f)
{
    if ((s->needs & FC_NEED_TEACHER) == 0) {
        return FC_OK;
    }
    double before = fc_tape_flops(s->tape, false);
    int64_t picture = 3 * (int64_t)s->model->image_size * s->model->image_size;
    const bool on_device = p->batch->device_crops != NULL;
    const uint8_t *crops = on_device ? p->batch->device_crops : p->batch->crops;
    f->of[TEACHER] =
        fc_clip_teacher(s->model, s->tape, crops + p->region * picture, p->regions, on_device);
    f->teacher_flops = fc_tape_flops(s->tape, false) - before;
    return fc_tape_status(s->tape);
}

/* teach: the teacher's features as well; having no gradient, they are computed once a step. */
static fc_status part_features(fc_step *s, const fc_batch *batch, int index, bool teach,
                               features *f)
{
    part p = part_of(batch, index, s->options.accumulate);
    *f = (features){0};
    if (teach) {
        FC_TRY(teacher_features(s, &p, f));
    }
    FC_TRY(vision_features(s, &p, f));
    FC_TRY(text_features(s, &p, f));
    if (!s->rehearsing) {
        spoil(s, f);
    }
    return FC_OK;
}

/* ---- Losses ---- */

/* Runs every term; scalars and weights are what backward starts from. */
static fc_status run_terms(fc_step *s, const features *f, fc_step_result *result,
                           fc_tensor **scalars, double *weights)
{
    fc_loss_inputs in = {.comm = s->comm,
                         .local_loss = s->options.local_loss,
                         .gather_with_grad = s->options.gather_with_grad,
                         .logit_scale = s->model->logit_scale,
                         .image = f->of[IMAGE],
                         .text = f->of[TEXT],
                         .box = f->of[BOX],
                         .crop = f->of[CROP],
                         .region_text = f->of[REGION_TEXT],
                         .captioned = f->captioned,
                         .captioned_count = f->captioned_count,
                         .teacher = f->of[TEACHER],
                         .seed = s->options.seed,
                         .step = (uint64_t)s->batch_step,
                         .exchange = &result->exchange};
    if ((s->needs & FC_NEED_CONCEPT) != 0) {
        in.concept = s->concept;
        in.concept_embeddings = s->options.concepts->embeddings;
        in.concepts = s->options.concepts->count;
    }
    /* The first that has to be waited for: until here a device may be steps behind. */
    result->logit_scale = exp(fc_tape_value(s->tape, s->model->logit_scale));
    result->loss = 0;
    for (int i = 0; i < s->options.term_count; i++) {
        const fc_step_term *term = &s->options.terms[i];
        fc_tape_push(s->tape, "losses.%s", term->def->name);
        scalars[i] = term->def->forward(s->tape, &in, &term->options);
        fc_tape_pop(s->tape);
        FC_TRY(fc_tape_status(s->tape));
        weights[i] = term->weight;
        result->terms[i] = fc_tape_value(s->tape, scalars[i]);
        result->loss += term->weight * result->terms[i];
    }
    result->forward_seconds = fc_clock_seconds() - s->begun;
    return FC_OK;
}

/* Whether the sum over ranks starts with the backward that follows. */
static bool sums_gradients(const fc_step *s)
{
    return !s->options.unsynced_gradients && !s->rehearsing;
}

static fc_status whole_batch(fc_step *s, const fc_batch *batch, fc_step_result *result)
{
    features f;
    fc_tensor *scalars[FC_MAX_TERMS];
    double weights[FC_MAX_TERMS];
    FC_TRY_AS("forward", part_features(s, batch, 0, true, &f));
    FC_TRY_AS("losses", run_terms(s, &f, result, scalars, weights));
    if (sums_gradients(s)) {
        fc_grad_reduce_begin(s->reduce);
    }
    FC_TRY_AS("backward", fc_backward(s->tape, s->options.term_count, scalars, weights));
    return FC_OK;
}

/* ---- In micro-batches: features of all without a tape, the losses once, then each again with the
 * features' gradients ---- */

static size_t row_bytes(const fc_step *s)
{
    return (size_t)s->model->config.embed_dim * fc_dtype_bytes(s->model->params->dtype);
}

static void keep(fc_step *s, int kind, const fc_tensor *t)
{
    size_t row = row_bytes(s);
    int64_t need = s->kept_rows[kind] + t->rows;
    if (need > s->kept_capacity[kind]) {
        s->kept_capacity[kind] = 2 * need;
        s->kept[kind] = fc_realloc(s->kept[kind], (size_t)s->kept_capacity[kind], row);
        s->kept_grad[kind] = fc_realloc(s->kept_grad[kind], (size_t)s->kept_capacity[kind], row);
    }
    if (t->rows > 0) { /* a rank may have no regions at all, and then no memory for them */
        fc_tape_read(s->tape, t, (char *)s->kept[kind] + (size_t)s->kept_rows[kind] * row);
    }
    s->kept_rows[kind] = need;
}

static void keep_captioned(fc_step *s, const features *f, int64_t regions_before)
{
    int64_t need = s->captioned_count + f->captioned_count;
    if (need > s->captioned_capacity) {
        s->captioned_capacity = 2 * need;
        s->kept_captioned =
            fc_realloc(s->kept_captioned, (size_t)s->captioned_capacity, sizeof(int64_t));
    }
    for (int64_t i = 0; i < f->captioned_count; i++) {
        s->kept_captioned[s->captioned_count++] = regions_before + f->captioned[i];
    }
}

static fc_status features_of_all(fc_step *s, const fc_batch *batch, fc_step_result *result)
{
    memset(s->kept_rows, 0, sizeof s->kept_rows);
    s->captioned_count = 0;
    for (int m = 0; m < s->options.accumulate; m++) {
        features f;
        int64_t regions = s->kept_rows[BOX];
        (void)fc_tape_record(s->tape, false);
        fc_status status = part_features(s, batch, m, true, &f);
        (void)fc_tape_record(s->tape, true);
        FC_TRY(status);
        for (int k = 0; k < KINDS; k++) {
            if (f.of[k] != NULL) {
                keep(s, k, f.of[k]);
            }
        }
        keep_captioned(s, &f, regions);
        (void)fc_tape_flops(s->tape, true); /* what runs with a tape is counted there */
        result->flops += f.teacher_flops;
        fc_tape_reset(s->tape);
    }
    return FC_OK;
}

static fc_status feature_gradients(fc_step *s, fc_step_result *result)
{
    features f = {.captioned = s->kept_captioned, .captioned_count = s->captioned_count};
    static const unsigned need[KINDS] = {FC_NEED_IMAGE, FC_NEED_TEXT,        FC_NEED_BOX,
                                         FC_NEED_CROP,  FC_NEED_REGION_TEXT, FC_NEED_TEACHER};
    for (int k = 0; k < KINDS; k++) {
        if ((s->needs & need[k]) != 0) {
            f.of[k] =
                fc_tape_matrix(s->tape, s->kept_rows[k], s->model->config.embed_dim, k != TEACHER);
            if (s->kept_rows[k] > 0) {
                fc_tape_write(s->tape, f.of[k], s->kept[k]);
            }
        }
    }
    fc_tensor *scalars[FC_MAX_TERMS];
    double weights[FC_MAX_TERMS];
    FC_TRY_AS("losses", run_terms(s, &f, result, scalars, weights));
    FC_TRY_AS("backward", fc_backward(s->tape, s->options.term_count, scalars, weights));
    for (int k = 0; k < KINDS; k++) {
        s->has_grad[k] = f.of[k] != NULL && f.of[k]->grad != NULL;
        if (s->has_grad[k] && s->kept_rows[k] > 0) {
            fc_tensor grad = *f.of[k];
            grad.data = grad.grad;
            fc_tape_read(s->tape, &grad, s->kept_grad[k]);
        }
    }
    result->flops += fc_tape_flops(s->tape, true);
    fc_tape_reset(s->tape);
    return FC_OK;
}

static fc_status in_parts(fc_step *s, const fc_batch *batch, fc_step_result *result)
{
    FC_TRY_AS("forward", features_of_all(s, batch, result));
    FC_TRY(feature_gradients(s, result));
    size_t row = row_bytes(s);
    int64_t done[KINDS] = {0};
    for (int m = 0; m < s->options.accumulate; m++) {
        features f;
        FC_TRY_AS("forward", part_features(s, batch, m, false, &f));
        for (int k = 0; k < KINDS; k++) {
            if (f.of[k] != NULL && s->has_grad[k]) {
                fc_tape_seed(s->tape, f.of[k],
                             (const char *)s->kept_grad[k] + (size_t)done[k] * row);
                done[k] += f.of[k]->rows;
            }
        }
        if (m + 1 == s->options.accumulate && sums_gradients(s)) {
            fc_grad_reduce_begin(s->reduce);
        }
        FC_TRY_AS("backward", fc_backward(s->tape, 0, NULL, NULL));
        result->flops += fc_tape_flops(s->tape, true);
        fc_tape_reset(s->tape);
    }
    return FC_OK;
}

/* Each rank on its own gradient, as if nobody averaged: its part of the mean times the ranks, and
 * the whole gradient of the scale, since every rank evaluates the whole loss. */
static fc_status keep_own_gradients(fc_step *s)
{
    const fc_params *p = s->model->params;
    const size_t bytes = (size_t)p->grad_total * fc_dtype_bytes(p->dtype);
    int ranks = fc_comm_size(s->comm);
    const fc_param *scale = &p->items[s->model->logit_scale->param_first];
    void *grad = fc_alloc(bytes, 1);
    p->backend->download(grad, p->grad, bytes);
    for (int64_t i = 0; i < p->grad_total; i++) {
        if (i == scale->grad_offset) {
            continue;
        }
        if (p->dtype == FC_F64) {
            ((double *)grad)[i] *= ranks;
        } else {
            ((float *)grad)[i] *= (float)ranks;
        }
    }
    fc_status status = FC_OK;
    if (scale->trainable) {
        status = fc_comm_all_reduce(
            s->comm, (char *)grad + (size_t)scale->grad_offset * fc_dtype_bytes(p->dtype), 1,
            fc_comm_real(p->dtype), FC_COMM_SUM);
    }
    p->backend->upload(p->grad, grad, bytes);
    fc_free(&grad);
    return status;
}

static void find_concepts(fc_step *s, const fc_batch *batch)
{
    if (batch->regions > s->concept_capacity || s->concept == NULL) {
        s->concept_capacity = 2 * batch->regions + 1;
        s->concept = fc_realloc(s->concept, (size_t)s->concept_capacity, sizeof *s->concept);
    }
    for (int64_t r = 0; r < batch->regions; r++) {
        s->concept[r] = fc_concept_of(s->options.concepts, batch->region_index[r]);
    }
}

/* Forward, losses and backward. */
static fc_status run_batch(fc_step *s, const fc_batch *batch, fc_step_result *result)
{
    s->batch_step = batch->step;
    if ((s->needs & FC_NEED_CONCEPT) != 0) {
        find_concepts(s, batch);
    }
    if (s->options.accumulate > 1) {
        FC_TRY(in_parts(s, batch, result));
    } else {
        FC_TRY(whole_batch(s, batch, result));
        result->flops = fc_tape_flops(s->tape, true);
    }
    return FC_OK;
}

fc_status fc_step_rehearse(fc_step *s, const fc_batch *batch, fc_recompute recompute,
                           fc_tape_memory *out)
{
    const fc_recompute chosen = s->options.recompute;
    const fc_params *p = s->model->params;
    fc_tape *real = s->tape;
    fc_step_result result = {0};
    s->rehearsing = true;
    s->options.recompute = recompute;
    s->tape = fc_tape_create_on(fc_rehearsal(p->backend->on_host), p->compute);
    fc_status status = run_batch(s, batch, &result);
    *out = fc_tape_peaks(s->tape);
    fc_tape_destroy(&s->tape);
    s->tape = real;
    s->options.recompute = chosen;
    s->rehearsing = false;
    return status;
}

fc_status fc_step_gradients(fc_step *s, const fc_batch *batch, fc_step_result *result)
{
    if (!s->is_settled) { /* what the first batch needs in one piece, rather than in many */
        FC_TRY(fc_step_rehearse(s, batch, s->options.recompute, &s->settled));
        s->is_settled = true;
    }
    s->begun = fc_clock_seconds();
    *result = (fc_step_result){0};
    fc_tape_reset(s->tape);
    fc_tape_reserve(s->tape, &s->settled);
    (void)fc_tape_flops(s->tape, true);
    fc_params_zero_grad(s->model->params);
    if (batch->device_pictures != NULL) {
        s->model->params->backend->lanes->follow(batch->lane);
    }
    FC_TRY(run_batch(s, batch, result));
    if (s->options.unsynced_gradients) {
        FC_TRY(keep_own_gradients(s));
    } else {
        FC_TRY_AS("gradients", fc_grad_reduce_finish(s->reduce, &result->wait_seconds));
    }
    result->grad_norm = fc_adamw_grad_norm(s->adamw);
    return FC_OK;
}

fc_status fc_step_update(fc_step *s, double lr, const fc_step_result *result)
{
    return fc_adamw_step(s->adamw, lr, result->grad_norm);
}
