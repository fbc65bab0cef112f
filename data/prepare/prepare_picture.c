/* The work on one picture: from its file to what the store keeps of it. */
#include "core/memory.h"
#include "data/file.h"
#include "data/picture/exif.h"
#include "data/prepare/prepare_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void fci_segment_boxes(const fc_picture *mask, int count, const int64_t *segment, double (*box)[4])
{
    for (int i = 0; i < count; i++) {
        memcpy(box[i], (double[4]){INFINITY, INFINITY, -1, -1},
               sizeof box[i]); /* first x, y, last x, y */
    }
    const uint8_t *p = mask->rgb;
    int64_t last_id = -1;
    int last = -1;
    for (int y = 0; y < mask->height; y++) {
        for (int x = 0; x < mask->width; x++, p += 3) {
            int64_t id = p[0] + 256 * (int64_t)p[1] + 65536 * (int64_t)p[2];
            if (id != last_id) { /* segments come in runs */
                last_id = id;
                last = count - 1;
                while (last >= 0 && segment[last] != id) {
                    last--;
                }
            }
            if (last >= 0) {
                box[last][0] = fmin(box[last][0], x);
                box[last][1] = fmin(box[last][1], y);
                box[last][2] = fmax(box[last][2], x);
                box[last][3] = fmax(box[last][3], y);
            }
        }
    }
    for (int i = 0; i < count; i++) {
        bool seen = box[i][2] >= 0;
        box[i][0] = seen ? box[i][0] : 0;
        box[i][1] = seen ? box[i][1] : 0;
        box[i][2] = seen ? box[i][2] - box[i][0] : -1;
        box[i][3] = seen ? box[i][3] - box[i][1] : -1;
    }
}

void fci_job_drop(fci_picture_job *job, fci_count_name why)
{
    job->dropped = true;
    job->counts = (fci_counts){0};
    job->counts.of[why] = 1;
    job->counts.of[FCI_COUNT_captions_with_picture] = job->plan->captions;
    job->counts.of[FCI_COUNT_regions_with_picture] = job->plan->regions;
}

/* The failure that was met becomes the job's: a file that is missing or damaged drops the picture,
 * anything else ends the run. */
static void give_up(fci_picture_job *job, fci_count_name why, fc_status status, const char *path)
{
    const char *reason = fc_error_message();
    bool named = strncmp(reason, path, strlen(path)) == 0;
    snprintf(job->message, sizeof job->message, "%s%s%s", named ? "" : path, named ? "" : ": ",
             reason);
    if (status == FC_NOINPUT || status == FC_DATA) {
        fci_job_drop(job, why);
    } else {
        job->status = status;
    }
}

static bool right_size(fci_picture_job *job, const fci_recipe *recipe)
{
    const fci_plan_image *plan = job->plan;
    const fc_picture *p = &job->picture;
    if (plan->width > 0 && plan->height > 0 &&
        (p->width != plan->width || p->height != plan->height)) {
        snprintf(job->message, sizeof job->message,
                 "%s: %d x %d pixels, the annotations are for %d x %d", plan->name, p->width,
                 p->height, plan->width, plan->height);
        fci_job_drop(job, FCI_COUNT_pictures_other_size);
        return false;
    }
    int fault = fci_size_fault(&recipe->filter, p->width, p->height);
    if (fault >= 0) {
        fci_job_drop(job, (fci_count_name)fault);
    }
    return fault < 0;
}

/* The boxes of stuff come from the mask. */
static void take_segments(const fci_plan_image *plan, const fc_picture *mask, double (*boxes)[4])
{
    int n = plan->regions;
    int64_t *segment = fc_alloc((size_t)n, sizeof *segment);
    double(*found)[4] = fc_alloc((size_t)n, sizeof *found);
    for (int i = 0; i < n; i++) {
        segment[i] = plan->region[i].segment;
    }
    fci_segment_boxes(mask, n, segment, found);
    for (int i = 0; i < n; i++) {
        if (segment[i] >= 0) {
            memcpy(boxes[i], found[i], sizeof boxes[i]);
        }
    }
    fc_free(&segment);
    fc_free(&found);
}

static bool find_boxes(fci_picture_job *job, const fci_recipe *recipe, double (*boxes)[4])
{
    const fci_plan_image *plan = job->plan;
    int stuff = 0;
    for (int i = 0; i < plan->regions; i++) {
        memcpy(boxes[i], plan->region[i].box, sizeof boxes[i]);
        stuff += plan->region[i].segment >= 0;
    }
    if (stuff == 0 || plan->mask == NULL) {
        return true;
    }
    char *path = fc_format("%s/%s", recipe->masks, plan->mask);
    fc_picture mask = {0};
    fc_status status = fc_picture_load(&mask, path);
    if (status != FC_OK) {
        give_up(job, status == FC_NOINPUT ? FCI_COUNT_pictures_missing : FCI_COUNT_pictures_damaged,
                status, path);
    } else if (mask.width != job->picture.width || mask.height != job->picture.height) {
        snprintf(job->message, sizeof job->message,
                 "%s: a mask of %d x %d for a picture of %d x %d", path, mask.width, mask.height,
                 job->picture.width, job->picture.height);
        fci_job_drop(job, FCI_COUNT_pictures_other_size);
    } else {
        take_segments(plan, &mask, boxes);
    }
    fc_picture_free(&mask);
    fc_free(&path);
    return job->status == FC_OK && !job->dropped;
}

/* The picture's file; of a shard its part, which must be all there. */
static fc_status read_source(const fci_plan_image *plan, uint8_t **bytes, size_t *count)
{
    FC_TRY(fci_file_read_part(plan->file, plan->offset, plan->bytes, bytes, count));
    if (plan->bytes >= 0 && (int64_t)*count < plan->bytes) {
        return FC_FAIL(FC_DATA, "%s ends in the middle of %s", plan->file, plan->name);
    }
    return FC_OK;
}

bool fci_job_load(fci_picture_job *job, const fci_recipe *recipe, double (*boxes)[4],
                  uint8_t **source, size_t *count, fc_codec *codec)
{
    const char *path = job->plan->bytes < 0 ? job->plan->file : job->plan->name;
    *source = NULL;
    fc_status status = read_source(job->plan, source, count);
    if (status != FC_OK) {
        give_up(job, status == FC_NOINPUT ? FCI_COUNT_pictures_missing : FCI_COUNT_pictures_damaged,
                status, path);
        return false;
    }
    fc_content_hash(*source, *count, job->hash);
    status = fc_codec_sniff(*source, *count, codec);
    if (status == FC_OK) {
        status = fc_picture_decode(&job->picture, *codec, *source, *count);
    }
    if (status != FC_OK) {
        give_up(job, FCI_COUNT_pictures_damaged, status, path);
        return false;
    }
    bool turned = *codec == FC_CODEC_JPEG && fci_exif_orientation(*source, *count) != 1;
    job->counts.of[FCI_COUNT_pictures_rotated] = turned;
    return right_size(job, recipe) && find_boxes(job, recipe, boxes);
}

bool fci_job_place_box(fci_picture_job *job, const double box[4], float out[4])
{
    int width = job->picture.width, height = job->picture.height;
    double x0 = box[0], y0 = box[1], x1 = box[0] + box[2], y1 = box[1] + box[3];
    if (!isfinite(x0) || !isfinite(y0) || !isfinite(x1) || !isfinite(y1)) {
        job->counts.of[FCI_COUNT_regions_not_finite]++;
        return false;
    }
    if (!(x1 > x0 && y1 > y0)) {
        job->counts.of[FCI_COUNT_regions_empty]++;
        return false;
    }
    double spill = fmax(fmax(-x0, -y0), fmax(x1 - width, y1 - height));
    out[0] = (float)fmin(fmax(x0, 0), width);
    out[1] = (float)fmin(fmax(y0, 0), height);
    out[2] = (float)fmin(fmax(x1, 0), width);
    out[3] = (float)fmin(fmax(y1, 0), height);
    if (!(out[2] > out[0] && out[3] > out[1])) {
        job->counts.of[FCI_COUNT_regions_outside]++;
        return false;
    }
    job->counts.of[FCI_COUNT_regions_cut] += spill > 0.5; /* less is rounding in the annotations */
    return true;
}

static fc_status encode_crop(const fci_recipe *recipe, const fc_picture *p, const float box[4],
                             fc_picture *scratch, fc_store_region *out)
{
    uint8_t *bytes;
    fc_rect rect = fc_crop_rect(box, recipe->crop_scale, p->width, p->height);
    FC_TRY(fc_resize(p, rect, FC_BILINEAR, recipe->crop_size, recipe->crop_size, scratch->rgb));
    FC_TRY(fc_picture_encode(scratch, recipe->crop_codec, recipe->crop_quality, &bytes,
                             &out->crop_bytes));
    out->crop = bytes;
    return FC_OK;
}

static void tokenize(fci_picture_job *job, const fci_recipe *recipe, const fc_tokenizer *t,
                     const char *text, fc_store_caption *out, int32_t **next)
{
    bool cut;
    out->tokens = *next;
    out->count = fc_tokenize(t, text, recipe->context_length, *next, &cut);
    out->text = recipe->text ? text : NULL;
    *next += out->count;
    job->counts.of[FCI_COUNT_texts_cut] += cut;
}

static fc_status add_regions(fci_picture_job *job, const fci_recipe *recipe, const fc_tokenizer *t,
                             const double (*boxes)[4], int32_t **next)
{
    const fci_plan_image *plan = job->plan;
    const fc_picture *p = &job->picture;
    fc_picture scratch = {.width = recipe->crop_size, .height = recipe->crop_size};
    fc_status status = FC_OK;
    job->region = fc_alloc((size_t)plan->regions, sizeof *job->region);
    if (recipe->crops) {
        size_t pixels = (size_t)recipe->crop_size * (size_t)recipe->crop_size;
        FC_TRY_GOTO(status, fc_try_room((void **)&scratch.rgb, pixels, 3, "crop"), done);
    }
    for (int i = 0; i < plan->regions; i++) {
        const fci_plan_region *r = &plan->region[i];
        fc_store_region out = {.category = (int32_t)r->category, .score = (float)r->score};
        if (!fci_job_place_box(job, boxes[i], out.box)) {
            continue;
        }
        if (recipe->crops) {
            FC_TRY_GOTO(status, encode_crop(recipe, p, out.box, &scratch, &out), done);
        }
        if (r->caption != NULL) {
            tokenize(job, recipe, t, r->caption, &out.caption, next);
        } else if (recipe->text) {
            out.caption.text = "";
        }
        for (int k = 0; k < 4; k++) { /* from here on in pixels of the stored picture */
            bool across = k % 2 == 0;
            int from = across ? p->width : p->height, to = across ? job->width : job->height;
            out.box[k] = from == to ? out.box[k] : (float)fmin((double)out.box[k] * to / from, to);
        }
        job->region[job->regions++] = out;
    }
done:
    fc_free(&scratch.rgb);
    return status;
}

/* Sets what the store keeps; `bytes` is the source file and is kept or freed here. */
static fc_status store_picture(fci_picture_job *job, const fci_recipe *recipe, fc_codec codec,
                               uint8_t **bytes, size_t count)
{
    const fc_picture *p = &job->picture;
    job->width = p->width;
    job->height = p->height;
    if (recipe->size == FCI_SIZE_ORIGINAL) {
        if (recipe->codec == FC_CODEC_JPEG && codec == FC_CODEC_JPEG) {
            job->bytes = *bytes;
            job->count = count;
            *bytes = NULL;
            return FC_OK;
        }
        FC_TRY(fc_picture_encode(p, recipe->codec, recipe->quality, &job->bytes, &job->count));
        return FC_OK;
    }
    if (recipe->size == FCI_SIZE_SQUASH) {
        job->width = job->height = recipe->pixels;
    } else {
        fc_picture_longest(p->width, p->height, recipe->pixels, &job->width, &job->height);
    }
    fc_picture small = {.width = job->width, .height = job->height};
    FC_TRY(
        fc_try_room((void **)&small.rgb, (size_t)job->width * (size_t)job->height, 3, "picture"));
    fc_status status = fc_resize(p, (fc_rect){0, 0, p->width, p->height}, FC_BILINEAR, job->width,
                                 job->height, small.rgb);
    if (status == FC_OK) {
        status =
            fc_picture_encode(&small, recipe->codec, recipe->quality, &job->bytes, &job->count);
    }
    fc_picture_free(&small);
    FC_TRY(status);
    return FC_OK;
}

static fc_status fill(fci_picture_job *job, const fci_recipe *recipe, const fc_tokenizer *t,
                      const double (*boxes)[4])
{
    const fci_plan_image *plan = job->plan;
    size_t texts = (size_t)plan->captions + (size_t)plan->regions;
    job->tokens = fc_alloc(texts * (size_t)recipe->context_length, sizeof *job->tokens);
    job->caption = fc_alloc((size_t)plan->captions, sizeof *job->caption);
    int32_t *next = job->tokens;
    for (int i = 0; i < plan->captions; i++) {
        tokenize(job, recipe, t, plan->caption[i], &job->caption[i], &next);
    }
    job->captions = plan->captions;
    FC_TRY(add_regions(job, recipe, t, boxes, &next));
    return FC_OK;
}

void fci_picture_job_run(fci_picture_job *job, const fci_recipe *recipe, const fc_tokenizer *t)
{
    double(*boxes)[4] = fc_alloc((size_t)job->plan->regions, sizeof *boxes);
    uint8_t *source = NULL;
    size_t count = 0;
    fc_codec codec = FC_CODEC_RAW;
    if (job->plan->captions < recipe->min_captions) {
        fci_job_drop(job, FCI_COUNT_pictures_few_captions);
    } else if (fci_job_load(job, recipe, boxes, &source, &count, &codec)) {
        fc_status status = store_picture(job, recipe, codec, &source, count);
        if (status == FC_OK) {
            status = fill(job, recipe, t, (const double(*)[4])boxes);
        }
        if (status != FC_OK) {
            job->status = status;
            snprintf(job->message, sizeof job->message, "%s: %s", job->plan->name,
                     fc_error_message());
        } else if (job->regions < recipe->min_regions) {
            fci_job_drop(job, FCI_COUNT_pictures_few_regions);
        }
    }
    fc_picture_free(&job->picture);
    fc_free(&source);
    fc_free(&boxes);
}

void fci_picture_job_free(fci_picture_job *job)
{
    for (int i = 0; i < job->regions; i++) {
        fc_free(&job->region[i].crop);
    }
    fc_free(&job->region);
    fc_free(&job->caption);
    fc_free(&job->tokens);
    fc_free(&job->bytes);
    fc_free(&job->shard.data);
}
