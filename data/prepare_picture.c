/* The work on one picture: from its file to what the store keeps of it. */
#include "core/memory.h"
#include "data/file.h"
#include "data/prepare_parts.h"

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

/* FC_FAIL's message becomes the job's; the caller returns. */
static void drop(fci_picture_job *job, fci_picture_fate fate, fc_status status, const char *path)
{
    const char *why = fc_error_message();
    bool named = strncmp(why, path, strlen(path)) == 0;
    snprintf(job->message, sizeof job->message, "%s%s%s", named ? "" : path, named ? "" : ": ",
             why);
    if (status == FC_NOINPUT || status == FC_DATA) {
        job->fate = fate;
    } else {
        job->status = status;
    }
}

static bool right_size(fci_picture_job *job, const fci_coco_image *image, const fc_picture *p,
                       const char *path)
{
    if (image->width == 0 || image->height == 0 ||
        (p->width == image->width && p->height == image->height)) {
        return true;
    }
    job->fate = FCI_PICTURE_OTHER_SIZE;
    snprintf(job->message, sizeof job->message,
             "%s: %d x %d pixels, the annotations are for %d x %d", path, p->width, p->height,
             image->width, image->height);
    return false;
}

/* The boxes of stuff come from the mask. Regions' boxes are copied to boxes (regions, 4) either
 * way. */
static bool find_boxes(fci_picture_job *job, const fci_recipe *recipe, const fci_coco *c,
                       const fc_picture *picture, double (*boxes)[4])
{
    const fci_coco_image *image = &c->image[job->image];
    const fci_coco_region *region = c->region + c->region_of[job->image];
    int64_t n = c->region_of[job->image + 1] - c->region_of[job->image];
    int stuff = 0;
    for (int64_t i = 0; i < n; i++) {
        memcpy(boxes[i], region[i].box, sizeof boxes[i]);
        stuff += region[i].segment >= 0;
    }
    if (stuff == 0 || image->mask == FCI_COCO_NO_TEXT) {
        return true;
    }
    char *path = fc_format("%s/%s", recipe->masks, c->text + image->mask);
    fc_picture mask = {0};
    fc_status status = fc_picture_load(&mask, path);
    if (status != FC_OK) {
        drop(job, status == FC_NOINPUT ? FCI_PICTURE_MISSING : FCI_PICTURE_DAMAGED, status, path);
    } else if (mask.width != picture->width || mask.height != picture->height) {
        job->fate = FCI_PICTURE_OTHER_SIZE;
        snprintf(job->message, sizeof job->message,
                 "%s: a mask of %d x %d for a picture of %d x %d", path, mask.width, mask.height,
                 picture->width, picture->height);
    } else {
        int64_t *segment = fc_alloc((size_t)n, sizeof *segment);
        double(*found)[4] = fc_alloc((size_t)n, sizeof *found);
        for (int64_t i = 0; i < n; i++) {
            segment[i] = region[i].segment;
        }
        fci_segment_boxes(&mask, (int)n, segment, found);
        for (int64_t i = 0; i < n; i++) {
            if (segment[i] >= 0) {
                memcpy(boxes[i], found[i], sizeof boxes[i]);
            }
        }
        fc_free(&segment);
        fc_free(&found);
    }
    fc_picture_free(&mask);
    fc_free(&path);
    return job->status == FC_OK && job->fate == FCI_PICTURE_FINE;
}

/* x y width height -> x0 y0 x1 y1 inside the picture; false (and counted) where nothing is left. */
static bool place_box(fci_picture_job *job, const double box[4], int width, int height,
                      float out[4])
{
    double x0 = box[0], y0 = box[1], x1 = box[0] + box[2], y1 = box[1] + box[3];
    if (!(x1 > x0 && y1 > y0) || !isfinite(x1 - x0) || !isfinite(y1 - y0)) {
        job->empty_boxes++;
        return false;
    }
    double spill = fmax(fmax(-x0, -y0), fmax(x1 - width, y1 - height));
    out[0] = (float)fmin(fmax(x0, 0), width);
    out[1] = (float)fmin(fmax(y0, 0), height);
    out[2] = (float)fmin(fmax(x1, 0), width);
    out[3] = (float)fmin(fmax(y1, 0), height);
    if (!(out[2] > out[0] && out[3] > out[1])) {
        job->boxes_outside++;
        return false;
    }
    job->boxes_cut += spill > 0.5; /* less is rounding in the annotations */
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
    job->captions_cut += cut;
}

static fc_status add_regions(fci_picture_job *job, const fci_recipe *recipe, const fci_coco *c,
                             const fc_tokenizer *t, const fc_picture *p, const double (*boxes)[4],
                             int32_t **next)
{
    const fci_coco_region *region = c->region + c->region_of[job->image];
    int64_t n = c->region_of[job->image + 1] - c->region_of[job->image];
    fc_picture scratch = {.width = recipe->crop_size, .height = recipe->crop_size};
    fc_status status = FC_OK;
    job->region = fc_alloc((size_t)n, sizeof *job->region);
    if (recipe->crops) {
        scratch.rgb = fc_alloc((size_t)recipe->crop_size * (size_t)recipe->crop_size, 3);
    }
    for (int64_t i = 0; i < n; i++) {
        fc_store_region out = {.category = (int32_t)region[i].category, .score = region[i].score};
        if (!place_box(job, boxes[i], p->width, p->height, out.box)) {
            continue;
        }
        if (recipe->crops) {
            FC_TRY_GOTO(status, encode_crop(recipe, p, out.box, &scratch, &out), done);
        }
        if (region[i].text != FCI_COCO_NO_TEXT) {
            tokenize(job, recipe, t, c->text + region[i].text, &out.caption, next);
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
static fc_status store_picture(fci_picture_job *job, const fci_recipe *recipe, const fc_picture *p,
                               fc_codec codec, uint8_t **bytes, size_t count)
{
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
        fc_try_alloc((void **)&small.rgb, (size_t)job->width * (size_t)job->height, 3, "picture"));
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

static fc_status fill(fci_picture_job *job, const fci_recipe *recipe, const fci_coco *c,
                      const fc_tokenizer *t, const fc_picture *p, const double (*boxes)[4])
{
    int64_t captions = c->caption_of[job->image + 1] - c->caption_of[job->image];
    int64_t regions = c->region_of[job->image + 1] - c->region_of[job->image];
    job->tokens = fc_alloc((size_t)(captions + regions) * (size_t)recipe->context_length,
                           sizeof *job->tokens);
    job->caption = fc_alloc((size_t)captions, sizeof *job->caption);
    int32_t *next = job->tokens;
    for (int64_t i = 0; i < captions; i++) {
        tokenize(job, recipe, t, c->text + c->caption[c->caption_of[job->image] + i].text,
                 &job->caption[i], &next);
    }
    job->captions = (int)captions;
    FC_TRY(add_regions(job, recipe, c, t, p, boxes, &next));
    return FC_OK;
}

void fci_picture_job_run(fci_picture_job *job, const fci_recipe *recipe, const fci_coco *c,
                         const fc_tokenizer *t)
{
    const fci_coco_image *image = &c->image[job->image];
    int64_t regions = c->region_of[job->image + 1] - c->region_of[job->image];
    char *path = fc_format("%s/%s", recipe->images, c->text + image->name);
    double(*boxes)[4] = fc_alloc((size_t)regions, sizeof *boxes);
    uint8_t *bytes = NULL;
    size_t count = 0;
    fc_codec codec = FC_CODEC_RAW;
    fc_picture p = {0};
    fc_status status = fci_file_read(path, &bytes, &count);
    if (status != FC_OK) {
        drop(job, FCI_PICTURE_MISSING, status, path);
        goto done;
    }
    fc_content_hash(bytes, count, job->hash);
    status = fc_codec_sniff(bytes, count, &codec);
    if (status == FC_OK) {
        status = fc_picture_decode(&p, codec, bytes, count);
    }
    if (status != FC_OK) {
        drop(job, FCI_PICTURE_DAMAGED, status, path);
        goto done;
    }
    if (!right_size(job, image, &p, path) || !find_boxes(job, recipe, c, &p, boxes)) {
        goto done;
    }
    status = store_picture(job, recipe, &p, codec, &bytes, count);
    if (status == FC_OK) {
        status = fill(job, recipe, c, t, &p, (const double(*)[4])boxes);
    }
    if (status != FC_OK) {
        job->status = status;
        snprintf(job->message, sizeof job->message, "%s: %s", path, fc_error_message());
    }
done:
    fc_picture_free(&p);
    fc_free(&bytes);
    fc_free(&boxes);
    fc_free(&path);
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
}
