/* Planning a batch: captions, regions and the place of everything in memory. */
#include "core/memory.h"
#include "core/rng.h"
#include "data/batch.h"
#include "data/grid.h"
#include "data/store/store_files.h"

#include <stdlib.h>
#include <string.h>

static void grow(void **memory, size_t *room, size_t count, size_t size)
{
    if (count > *room || *memory == NULL) {
        *room = count + count / 4; /* so that a few steps settle it */
        *memory = fc_realloc(*memory, *room, size);
    }
}
#define GROW(pointer, room, count)                                                                 \
    grow((void **)(void *)&(pointer), &(room), (size_t)(count), sizeof *(pointer))

fc_status fci_batch_check_options(const fc_store *store, const fc_loader_options *o)
{
    FC_ASSERT(o->image_size >= 1 && o->max_boxes >= 0);
    const char *lacks = NULL;
    if (o->need_captions && store->captions == 0) {
        lacks = "captions";
    } else if (o->need_regions && o->grid_split == 0 && store->regions == 0) {
        lacks = "regions";
    } else if (o->need_region_captions &&
               (store->regions == 0 ||
                store->region_offsets[store->regions] == store->region_offsets[0])) {
        lacks = "region captions";
    }
    if (lacks != NULL) {
        return FC_FAIL(FC_USAGE,
                       "%s has no %s, which a loss or evaluation of this experiment needs",
                       store->path, lacks);
    }
    if (o->need_regions && o->fit == FC_FIT_CENTER_CROP) {
        return FC_FAIL(FC_USAGE, "resize: center_crop cannot be used where boxes are needed");
    }
    return FC_OK;
}

static fc_status choose_caption(const fc_store *store, const fc_loader_options *o, int64_t epoch,
                                int64_t image, int64_t *caption)
{
    *caption = -1;
    if (!o->need_captions) {
        return FC_OK;
    }
    int64_t first = (int64_t)store->caption_of[image];
    int64_t count = (int64_t)store->caption_of[image + 1] - first;
    if (count == 0) {
        return FC_FAIL(FC_DATA, "image %lld has no caption in %s:/captions/image_offsets",
                       (long long)image, store->path);
    }
    *caption = first;
    if (o->caption_random) {
        fc_rng rng = fc_rng_stream(o->seed, FC_RNG_CAPTION, (uint64_t)epoch, (uint64_t)image);
        *caption += (int64_t)fc_rng_below(&rng, (uint64_t)count);
    }
    return FC_OK;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* At most `most` of n entries of slot->chosen: the head of a random order, back in the order they
 * had. */
static void draw_some(fci_batch_slot *slot, fc_rng *rng, int64_t n, int64_t most)
{
    for (int64_t i = 0; i < most; i++) {
        int64_t j = i + (int64_t)fc_rng_below(rng, (uint64_t)(n - i));
        int64_t t = slot->chosen[i];
        slot->chosen[i] = slot->chosen[j];
        slot->chosen[j] = t;
    }
    qsort(slot->chosen, (size_t)most, sizeof *slot->chosen, ascending);
}

/* Regions of an image within the size limits, at most max_boxes, in stored order, into
 * slot->chosen. */
static fc_status choose_regions(fci_batch_slot *slot, const fc_store *store,
                                const fc_loader_options *o, int64_t epoch, int64_t image,
                                int64_t *count)
{
    *count = 0;
    if (!o->need_regions) {
        return FC_OK;
    }
    int64_t first = (int64_t)store->region_of[image], end = (int64_t)store->region_of[image + 1];
    GROW(slot->chosen, slot->room_chosen, end - first + 1);
    double least = o->min_box_size * o->min_box_size, most = o->max_box_size * o->max_box_size;
    int64_t n = 0;
    for (int64_t r = first; r < end; r++) {
        FC_TRY(fc_store_check_box(store, r, image));
        const float *b = &store->boxes[4 * r];
        double area = ((double)b[2] - (double)b[0]) * ((double)b[3] - (double)b[1]);
        if (area >= least && area <= most) {
            slot->chosen[n++] = r;
        }
    }
    if (n > o->max_boxes && o->regions_random) {
        fc_rng rng = fc_rng_stream(o->seed, FC_RNG_REGIONS, (uint64_t)epoch, (uint64_t)image);
        draw_some(slot, &rng, n, o->max_boxes);
    }
    *count = n < o->max_boxes ? n : o->max_boxes;
    return FC_OK;
}

/* Ids that an item takes in a batch: rows longer than the context are cut. */
static fc_status row_length(const fc_store *store, const fc_loader_options *o, fc_token_set set,
                            int64_t item, int64_t *length)
{
    FC_TRY(fci_store_token_count(store, set, item, length));
    if (o->context_length > 0 && *length > o->context_length) {
        *length = o->context_length;
    }
    return FC_OK;
}

static void reserve_images(fci_batch_slot *slot, int64_t count, size_t picture_bytes)
{
    fc_batch *b = &slot->batch;
    if (slot->room_images >= (size_t)count && b->pictures != NULL) {
        return;
    }
    size_t n = (size_t)count;
    slot->room_images = n;
    b->pictures = fc_realloc(b->pictures, n, picture_bytes);
    b->image_index = fc_realloc(b->image_index, n, sizeof *b->image_index);
    b->caption_offsets = fc_realloc(b->caption_offsets, n + 1, sizeof *b->caption_offsets);
    slot->caption_index = fc_realloc(slot->caption_index, n, sizeof *slot->caption_index);
    slot->region_begin = fc_realloc(slot->region_begin, n + 1, sizeof *slot->region_begin);
}

static void reserve_regions(fci_batch_slot *slot, int64_t count)
{
    fc_batch *b = &slot->batch;
    if (slot->room_regions >= (size_t)count && b->boxes != NULL) {
        return;
    }
    size_t n = (size_t)count + (size_t)count / 4;
    slot->room_regions = n;
    b->boxes = fc_realloc(b->boxes, n, 4 * sizeof *b->boxes);
    b->region_image = fc_realloc(b->region_image, n, sizeof *b->region_image);
    b->region_index = fc_realloc(b->region_index, n, sizeof *b->region_index);
    b->region_offsets = fc_realloc(b->region_offsets, n + 1, sizeof *b->region_offsets);
    slot->made = fc_realloc(slot->made, n, 4 * sizeof *slot->made);
}

/* Append cells of a grid over picture i as its regions. */
static void plan_cells(fci_batch_slot *slot, const fc_loader_options *o, int64_t epoch, int64_t i)
{
    fc_batch *b = &slot->batch;
    fc_rng rng =
        fc_rng_stream(o->seed, FC_RNG_REGIONS, (uint64_t)epoch, (uint64_t)b->image_index[i]);
    fc_grid grid = fc_grid_draw(&rng, o->grid_split);
    int64_t n = (int64_t)grid.rows * grid.cols, count = n < o->max_boxes ? n : o->max_boxes;
    GROW(slot->chosen, slot->room_chosen, n);
    for (int64_t cell = 0; cell < n; cell++) {
        slot->chosen[cell] = cell;
    }
    if (count < n) {
        draw_some(slot, &rng, n, count);
    }
    reserve_regions(slot, b->regions + count);
    for (int64_t k = 0; k < count; k++) {
        int64_t r = b->regions + k;
        b->region_image[r] = (int32_t)i;
        b->region_index[r] = -1;
        b->region_offsets[r + 1] = b->region_offsets[r];
        fc_grid_cell(&grid, slot->chosen[k], &slot->made[4 * r]);
    }
    b->regions += count;
    slot->region_begin[i + 1] = b->regions;
}

/* Append the regions of picture i. */
static fc_status plan_regions(fci_batch_slot *slot, const fc_store *store,
                              const fc_loader_options *o, int64_t epoch, int64_t i)
{
    fc_batch *b = &slot->batch;
    int64_t image = b->image_index[i], count, begin = b->regions;
    if (o->need_regions && o->grid_split > 0) {
        plan_cells(slot, o, epoch, i);
        return FC_OK;
    }
    FC_TRY(choose_regions(slot, store, o, epoch, image, &count));
    bool dummy = o->need_regions && o->dummy_region && count == 0;
    int64_t end = begin + (dummy ? 1 : count);
    reserve_regions(slot, end);
    for (int64_t r = begin; r < end; r++) {
        int64_t region = dummy ? -1 : slot->chosen[r - begin];
        int64_t ids = 0;
        b->region_image[r] = (int32_t)i;
        b->region_index[r] = region;
        if (dummy) {
            memcpy(&slot->made[4 * r], (float[]){0, 0, FCI_DUMMY_SIDE, FCI_DUMMY_SIDE},
                   4 * sizeof *slot->made);
        }
        if (dummy && o->need_region_captions) {
            ids = o->context_length;
        } else if (o->need_region_captions) {
            FC_TRY(row_length(store, o, FC_REGION_TOKENS, region, &ids));
        }
        b->region_offsets[r + 1] = b->region_offsets[r] + ids;
    }
    b->regions = end;
    slot->region_begin[i + 1] = end;
    return FC_OK;
}

fc_status fci_batch_plan(fci_batch_slot *slot, const fc_store *store, const fc_loader_options *o,
                         int64_t step, int64_t epoch, const int64_t *images, int64_t count)
{
    fc_batch *b = &slot->batch;
    size_t picture = 3 * (size_t)o->image_size * (size_t)o->image_size;
    reserve_images(slot, count, picture);
    reserve_regions(slot, 0);
    b->step = step;
    b->images = count;
    b->regions = 0;
    b->caption_offsets[0] = 0;
    b->region_offsets[0] = 0;
    slot->region_begin[0] = 0;
    for (int64_t i = 0; i < count; i++) {
        FC_ASSERT(images[i] >= 0 && images[i] < store->images);
        b->image_index[i] = images[i];
        int64_t ids = 0;
        FC_TRY(choose_caption(store, o, epoch, images[i], &slot->caption_index[i]));
        if (slot->caption_index[i] >= 0) {
            FC_TRY(row_length(store, o, FC_CAPTION_TOKENS, slot->caption_index[i], &ids));
        }
        b->caption_offsets[i + 1] = b->caption_offsets[i] + ids;
        FC_TRY(plan_regions(slot, store, o, epoch, i));
    }
    GROW(b->caption_tokens, slot->room_caption_tokens, b->caption_offsets[count]);
    GROW(b->region_tokens, slot->room_region_tokens, b->region_offsets[b->regions]);
    if (o->need_crops && ((size_t)b->regions > slot->room_crops || b->crops == NULL)) {
        slot->room_crops = (size_t)b->regions + (size_t)b->regions / 4;
        b->crops = fc_realloc(b->crops, slot->room_crops, picture);
    }
    return FC_OK;
}
