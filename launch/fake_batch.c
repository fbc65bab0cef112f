#include "launch/fake_batch.h"

#include "core/memory.h"
#include "core/rng.h"

static uint8_t *pixels(fc_rng *rng, int64_t count)
{
    uint8_t *p = fc_alloc((size_t)count, 1);
    for (int64_t i = 0; i < count; i++) {
        p[i] = (uint8_t)fc_rng_u32(rng);
    }
    return p;
}

/* Rows [start, ids ..., end]; the end id is the largest. */
static void sentences(fc_rng *rng, int64_t rows, int length, int vocab, int32_t **tokens,
                      int64_t **offsets)
{
    *tokens = fc_alloc((size_t)(rows * length), sizeof **tokens);
    *offsets = fc_alloc((size_t)rows + 1, sizeof **offsets);
    for (int64_t r = 0; r < rows; r++) {
        int32_t *row = *tokens + r * length;
        for (int i = 0; i < length; i++) {
            row[i] = i + 1 == length ? vocab - 1
                     : i == 0        ? vocab - 2
                                     : (int32_t)fc_rng_below(rng, (uint64_t)vocab - 2);
        }
        (*offsets)[r + 1] = (r + 1) * length;
    }
}

void fc_fake_batch(fc_batch *out, const fc_fake_sizes *sizes, uint64_t seed)
{
    fc_rng rng = fc_rng_stream(seed, FC_RNG_BENCH, 0, 0);
    int64_t picture = 3 * (int64_t)sizes->image_size * sizes->image_size;
    int64_t regions = sizes->images * sizes->boxes;
    *out = (fc_batch){.images = sizes->images, .regions = regions};
    out->pictures = pixels(&rng, sizes->images * picture);
    out->crops = sizes->crops ? pixels(&rng, regions * picture) : NULL;
    out->boxes = fc_alloc((size_t)regions * 4, sizeof(float));
    out->region_image = fc_alloc((size_t)regions, sizeof *out->region_image);
    out->region_index = fc_alloc((size_t)regions, sizeof *out->region_index);
    out->image_index = fc_alloc((size_t)sizes->images, sizeof *out->image_index);
    for (int64_t i = 0; i < sizes->images; i++) {
        out->image_index[i] = i;
    }
    for (int64_t r = 0; r < regions; r++) {
        out->region_index[r] = r;
        out->region_image[r] = (int32_t)(r / sizes->boxes);
        for (int axis = 0; axis < 2; axis++) {
            double size = 0.1 + 0.5 * fc_rng_uniform(&rng),
                   start = (1 - size) * fc_rng_uniform(&rng);
            out->boxes[4 * r + axis] = (float)start;
            out->boxes[4 * r + 2 + axis] = (float)(start + size);
        }
    }
    sentences(&rng, sizes->images, sizes->caption_tokens, sizes->vocab_size, &out->caption_tokens,
              &out->caption_offsets);
    sentences(&rng, regions, sizes->region_tokens, sizes->vocab_size, &out->region_tokens,
              &out->region_offsets);
}
