#include "data/batch.h"

#include "core/fault.h"
#include "core/log.h"
#include "core/memory.h"
#include "data/store/store_files.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST_ROW = 1 << 16, MOST_BAD_IN_A_ROW = 1000 };

/* Copy the ids of an item, cut to `length` with the end id kept last. */
static fc_status fill_row(fci_batch_scratch *scratch, fc_store *store, const fc_loader_options *o,
                          fc_token_set set, int64_t item, int64_t length, int32_t *out)
{
    int vocab = o->vocab_size > 0       ? o->vocab_size
                : store->vocab_size > 0 ? store->vocab_size
                                        : INT32_MAX;
    int64_t stored;
    FC_TRY(fci_store_token_count(store, set, item, &stored));
    if ((size_t)stored > scratch->room && stored <= LONGEST_ROW) {
        scratch->room = (size_t)stored * 2;
        scratch->ids = fc_realloc(scratch->ids, scratch->room, sizeof *scratch->ids);
    }
    int count;
    FC_TRY(fc_store_tokens(store, set, item, vocab, (int)scratch->room, scratch->ids, &count));
    FC_ASSERT(length <= count);
    if (length > 0) {
        memcpy(out, scratch->ids, (size_t)length * sizeof *out);
        out[length - 1] = scratch->ids[count - 1];
    }
    return FC_OK;
}

static fc_status fill_tokens(fci_batch_slot *slot, fci_batch_scratch *scratch, fc_store *store,
                             const fc_loader_options *o, int64_t index)
{
    const fc_batch *b = &slot->batch;
    if (slot->caption_index[index] >= 0) {
        int64_t at = b->caption_offsets[index];
        FC_TRY(fill_row(scratch, store, o, FC_CAPTION_TOKENS, slot->caption_index[index],
                        b->caption_offsets[index + 1] - at, b->caption_tokens + at));
    }
    for (int64_t r = slot->region_begin[index]; r < slot->region_begin[index + 1]; r++) {
        int64_t at = b->region_offsets[r], length = b->region_offsets[r + 1] - at;
        if (b->region_index[r] < 0) { /* dummy region: a row of zeros */
            memset(b->region_tokens + at, 0, (size_t)length * sizeof *b->region_tokens);
        } else if (o->need_region_captions) {
            FC_TRY(fill_row(scratch, store, o, FC_REGION_TOKENS, b->region_index[r], length,
                            b->region_tokens + at));
        }
    }
    return FC_OK;
}

/* Box of region r of the batch in pixels of its picture. */
static void region_box(const fci_batch_slot *slot, const fc_store *store, int64_t image, int64_t r,
                       float box[4])
{
    const fc_batch *b = &slot->batch;
    if (b->region_index[r] >= 0) {
        memcpy(box, &store->boxes[4 * b->region_index[r]], 4 * sizeof *box);
        return;
    }
    for (int k = 0; k < 4; k++) {
        int side = k % 2 == 0 ? store->width[image] : store->height[image];
        box[k] = (float)side * slot->made[4 * r + k];
    }
}

/* The crop of region r of the batch; one that is not in the store is cut from its picture as it is.
 */
static fc_status fill_crop(const fci_batch_slot *slot, fci_batch_scratch *scratch, fc_store *store,
                           int64_t image, const fc_picture *picture, int64_t r, int size,
                           uint8_t *out, bool *bad)
{
    if (slot->batch.region_index[r] >= 0) {
        fc_status status = fc_store_fit_crop(store, slot->batch.region_index[r], image, picture,
                                             size, &scratch->crop, out);
        *bad = status == FC_DATA;
        return status;
    }
    float box[4];
    region_box(slot, store, image, r, box);
    fc_rect from = fc_crop_rect(box, 1.0, picture->width, picture->height);
    return fc_resize(picture, from, FC_BILINEAR, size, size, out);
}

/* Boxes of a picture's regions; scale_x, scale_y: pixels to fractions of the batch's square. */
static void fill_boxes(fci_batch_slot *slot, const fc_store *store, int64_t index, double scale_x,
                       double scale_y)
{
    fc_batch *b = &slot->batch;
    int64_t image = b->image_index[index];
    for (int64_t r = slot->region_begin[index]; r < slot->region_begin[index + 1]; r++) {
        float pixels[4];
        region_box(slot, store, image, r, pixels);
        for (int k = 0; k < 4; k++) {
            b->boxes[4 * r + k] = (float)((double)pixels[k] * (k % 2 == 0 ? scale_x : scale_y));
        }
    }
}

/* Whether crops are cut from the pixels of picture `index`. */
static bool cuts_crops(const fci_batch_slot *slot, const fc_store *store,
                       const fc_loader_options *o, int64_t index)
{
    bool cuts = false;
    for (int64_t r = slot->region_begin[index]; r < slot->region_begin[index + 1]; r++) {
        cuts = cuts || !store->has_crops || slot->batch.region_index[r] < 0;
    }
    return o->need_crops && cuts;
}

/* Picture `index` of the batch, and its boxes. One of the batch's size is decoded right into it;
 * else, and where crops are cut from it, its pixels stay in *picture. */
static fc_status fill_picture(fci_batch_slot *slot, fci_batch_scratch *scratch, fc_store *store,
                              const fc_loader_options *o, int64_t index, fc_picture *picture,
                              bool *bad)
{
    int64_t image = slot->batch.image_index[index];
    int size = o->image_size, width = store->width[image], height = store->height[image];
    uint8_t *out = slot->batch.pictures + (size_t)index * 3 * (size_t)size * (size_t)size;
    bool fits = width == size && height == size && !cuts_crops(slot, store, o, index);
    fc_status status = fits ? fc_store_picture_into(store, image, &scratch->picture, out)
                            : fc_store_picture_borrow(store, image, &scratch->picture, picture);
    if (status == FC_OK && fc_fault_bad_picture(image, index == 0)) {
        status = FC_FAIL(FC_DATA, "picture %lld of %s does not decode, on purpose",
                         (long long)image, store->path);
    }
    *bad = status == FC_DATA;
    FC_TRY(status);
    double scale_x = 1.0 / width, scale_y = 1.0 / height;
    if (!fits) {
        FC_TRY(fc_picture_fit(picture, o->fit, size, out, &scale_x, &scale_y));
    }
    fill_boxes(slot, store, index, scale_x, scale_y);
    return FC_OK;
}

fc_status fci_batch_piece(fci_batch_slot *slot, fci_batch_scratch *scratch, fc_store *store,
                          const fc_loader_options *o, int64_t index, bool *bad)
{
    const fc_batch *b = &slot->batch;
    size_t bytes = 3 * (size_t)o->image_size * (size_t)o->image_size;
    fc_picture picture = {0}; /* within the scratch memory */
    *bad = false;
    FC_TRY(fill_tokens(slot, scratch, store, o, index));
    FC_TRY(fill_picture(slot, scratch, store, o, index, &picture, bad));
    for (int64_t r = slot->region_begin[index]; o->need_crops && r < slot->region_begin[index + 1];
         r++) {
        FC_TRY(fill_crop(slot, scratch, store, b->image_index[index], &picture, r, o->image_size,
                         b->crops + (size_t)r * bytes, bad));
    }
    return FC_OK;
}

void fci_batch_forget_bad(fci_batch_slot *slot)
{
    for (int64_t i = 0; i < slot->bad_count; i++) {
        fc_free(&slot->bad[i].message);
    }
    slot->bad_count = 0;
    slot->batch.bad_pictures = 0;
}

static void note_bad(fci_batch_slot *slot, int64_t image)
{
    if ((size_t)slot->bad_count == slot->room_bad) {
        slot->room_bad = 2 * slot->room_bad + 4;
        slot->bad = fc_realloc(slot->bad, slot->room_bad, sizeof *slot->bad);
    }
    slot->bad[slot->bad_count++] =
        (fci_bad_picture){.image = image, .message = fc_strdup(fc_error_message())};
    fc_error_clear();
}

fc_status fci_batch_fill(fci_batch_slot *slot, fci_batch_scratch *scratch, fc_store *store,
                         const fc_loader_options *o, int64_t epoch)
{
    int64_t count = slot->batch.images, tries = 0;
    int64_t *images = fc_alloc((size_t)count, sizeof *images);
    memcpy(images, slot->batch.image_index, (size_t)count * sizeof *images);
    fc_status status = FC_OK;
    fci_batch_forget_bad(slot);
    for (int64_t i = 0; i < count && status == FC_OK;) {
        bool bad;
        status = fci_batch_piece(slot, scratch, store, o, i, &bad);
        if (!bad) {
            slot->batch.bad_pictures += tries > 0;
            tries = 0;
            i++;
            continue;
        }
        tries++;
        note_bad(slot, images[i]);
        if (tries == store->images || tries == MOST_BAD_IN_A_ROW) {
            status =
                FC_FAIL(FC_DATA, "%lld pictures in a row do not decode in %s; the first: %s",
                        (long long)tries, store->path, slot->bad[slot->bad_count - tries].message);
            break;
        }
        images[i] = (images[i] + 1) % store->images;
        /* Earlier pictures keep their place: only what follows moves. */
        status = fci_batch_plan(slot, store, o, slot->batch.step, epoch, images, count);
    }
    fc_free(&images);
    return status;
}

void fci_batch_slot_fini(fci_batch_slot *slot)
{
    fci_batch_forget_bad(slot);
    fc_free(&slot->bad);
    fc_free(&slot->caption_index);
    fc_free(&slot->region_begin);
    fc_free(&slot->made);
    fc_free(&slot->chosen);
    fc_batch_free(&slot->batch);
}

void fci_batch_scratch_fini(fci_batch_scratch *scratch)
{
    fc_free(&scratch->ids);
    fc_store_scratch_fini(&scratch->picture);
    fc_store_scratch_fini(&scratch->crop);
}

void fc_batch_free(fc_batch *b)
{
    fc_free(&b->pictures);
    fc_free(&b->crops);
    fc_free(&b->boxes);
    fc_free(&b->region_image);
    fc_free(&b->image_index);
    fc_free(&b->region_index);
    fc_free(&b->caption_tokens);
    fc_free(&b->caption_offsets);
    fc_free(&b->region_tokens);
    fc_free(&b->region_offsets);
    *b = (fc_batch){0};
}

fc_status fc_batch_build(fc_batch *out, fc_store *store, const fc_loader_options *options,
                         int64_t step, int64_t epoch, const int64_t *images, int64_t count)
{
    *out = (fc_batch){0};
    fci_batch_slot slot = {0};
    fci_batch_scratch scratch = {0};
    fc_status status = fci_batch_check_options(store, options);
    if (status == FC_OK) {
        status = fci_batch_plan(&slot, store, options, step, epoch, images, count);
    }
    if (status == FC_OK) {
        status = fci_batch_fill(&slot, &scratch, store, options, epoch);
    }
    if (status == FC_OK) {
        for (int64_t i = 0; i < slot.bad_count; i++) {
            fc_log_warn("a bad picture is left out: %s", slot.bad[i].message);
        }
        *out = slot.batch;
        slot.batch = (fc_batch){0}; /* the caller's now */
    }
    fci_batch_slot_fini(&slot);
    fci_batch_scratch_fini(&scratch);
    return status;
}
