#include "data/largest_batch.h"

#include "core/memory.h"

/* How many items of each size there are; sizes above `most` count as that. */
typedef struct tally {
    int64_t *count; /* (most + 1) */
    int64_t most;
} tally;

static tally tally_create(int64_t most)
{
    return (tally){.count = fc_alloc((size_t)most + 1, sizeof(int64_t)), .most = most};
}

static void tally_add(tally *t, int64_t size)
{
    t->count[size < t->most ? size : t->most]++;
}

/* The `wanted` largest sizes, the largest last; where there are fewer, the largest once more in
 * place of those that lack. */
static int64_t *tally_largest(tally *t, int64_t wanted)
{
    int64_t *sizes = fc_alloc((size_t)wanted + 1, sizeof *sizes), largest = t->most;
    while (largest > 0 && t->count[largest] == 0) {
        largest--;
    }
    int64_t size = largest, taken = 0;
    for (int64_t i = wanted; i-- > 0;) {
        while (size > 0 && taken == t->count[size]) {
            size--;
            taken = 0;
        }
        const bool lacks = taken == t->count[size];
        sizes[i] = lacks ? largest : size;
        taken += lacks ? 0 : 1;
    }
    fc_free(&t->count);
    return sizes;
}

static bool is_wanted(const fc_store *s, const fc_loader_options *o, int64_t region)
{
    const float *b = &s->boxes[4 * region];
    const double area = ((double)b[2] - (double)b[0]) * ((double)b[3] - (double)b[1]);
    return area >= o->min_box_size * o->min_box_size && area <= o->max_box_size * o->max_box_size;
}

/* (B) regions of each image. */
static int64_t *regions_of_images(const fc_store *s, const fc_loader_options *o)
{
    tally t = tally_create(o->max_boxes);
    if (o->need_regions && o->grid_split > 0) {
        tally_add(&t, (int64_t)o->grid_split * o->grid_split);
        return tally_largest(&t, o->count);
    }
    const bool any = o->need_regions && s->regions > 0;
    for (int64_t i = 0; i < s->images; i++) {
        int64_t count = 0;
        for (uint64_t r = any ? s->region_of[i] : 0; any && r < s->region_of[i + 1]; r++) {
            count += is_wanted(s, o, (int64_t)r) ? 1 : 0;
        }
        tally_add(&t, o->need_regions && o->dummy_region && count == 0 ? 1 : count);
    }
    return tally_largest(&t, o->count);
}

/* Rows [largest id but one, ..., largest id] of the `rows` longest texts. */
static void longest_texts(const uint64_t *text_offsets, int64_t texts, int64_t rows,
                          const fc_loader_options *o, int32_t **tokens, int64_t **offsets)
{
    tally t = tally_create(o->context_length);
    for (int64_t i = 0; i < texts; i++) {
        tally_add(&t, (int64_t)(text_offsets[i + 1] - text_offsets[i]));
    }
    int64_t *lengths = tally_largest(&t, rows);
    *offsets = fc_alloc((size_t)rows + 1, sizeof **offsets);
    for (int64_t i = 0; i < rows; i++) {
        (*offsets)[i + 1] = (*offsets)[i] + lengths[i];
    }
    *tokens = fc_alloc((size_t)(*offsets)[rows] + 1, sizeof **tokens);
    const int64_t others = o->vocab_size > 3 ? o->vocab_size - 2 : 1;
    for (int64_t i = 0; i < rows; i++) {
        int32_t *row = *tokens + (*offsets)[i];
        int64_t number = i; /* of the row, written in its ids */
        for (int64_t k = 0; k < lengths[i]; k++) {
            row[k] = (int32_t)(k == lengths[i] - 1 ? o->vocab_size - 1
                               : k == 0            ? o->vocab_size - 2
                                                   : number % others);
            number /= k > 0 ? others : 1;
        }
    }
    fc_free(&lengths);
}

void fc_largest_batch(fc_batch *out, const fc_store *store, const fc_loader_options *o,
                      int64_t shown)
{
    const size_t picture = 3 * (size_t)o->image_size * (size_t)o->image_size;
    int64_t *of_image = regions_of_images(store, o);
    *out = (fc_batch){.images = o->count};
    for (int64_t i = 0; i < out->images; i++) {
        out->regions += of_image[i];
    }
    out->pictures = fc_alloc((size_t)out->images, picture);
    out->crops = o->need_crops ? fc_alloc((size_t)out->regions, picture) : NULL;
    out->image_index = fc_alloc((size_t)out->images, sizeof *out->image_index);
    out->boxes = fc_alloc((size_t)out->regions * 4, sizeof *out->boxes);
    out->region_image = fc_alloc((size_t)out->regions, sizeof *out->region_image);
    out->region_index = fc_alloc((size_t)out->regions, sizeof *out->region_index);
    for (int64_t i = 0, r = 0; i < out->images; i++) {
        out->image_index[i] = i % store->images;
        for (int64_t k = 0; k < of_image[i]; k++, r++) {
            out->region_image[r] = (int32_t)i;
            out->region_index[r] = shown;
            out->boxes[4 * r + 2] = out->boxes[4 * r + 3] = 1;
        }
    }
    longest_texts(store->caption_offsets, o->need_captions ? store->captions : 0, out->images, o,
                  &out->caption_tokens, &out->caption_offsets);
    longest_texts(store->region_offsets, o->need_region_captions ? store->regions : 0, out->regions,
                  o, &out->region_tokens, &out->region_offsets);
    fc_free(&of_image);
}
