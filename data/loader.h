/* Batches: a few worker threads keep decoded, resized batches ready while the step computes. */
#ifndef FC_DATA_LOADER_H
#define FC_DATA_LOADER_H

#include "data/sampler.h"
#include "data/store/store.h"

/* One rank's share of one step. Shapes: B images, R regions, S input side. Text rows are packed
 * without padding: row i is tokens[text_offsets[i] .. text_offsets[i+1]). All memory belongs to the
 * loader. */
typedef struct fc_batch {
    int64_t step;
    int64_t images, regions;
    uint8_t *pictures;        /* (B,S,S,3) */
    uint8_t *crops;           /* (R,S,S,3); NULL unless asked for */
    float *boxes;             /* (R,4) x0 y0 x1 y1 as fractions of picture width and height */
    int32_t *region_image;    /* (R) index of the picture within the batch, ascending */
    int64_t *image_index;     /* (B) index in the store */
    int64_t *region_index;    /* (R) index in the store; -1: made up (dummy, cell) */
    int32_t *caption_tokens;  /* packed; B rows */
    int64_t *caption_offsets; /* (B+1) */
    int32_t *region_tokens;   /* packed; R rows, empty where the region has no caption */
    int64_t *region_offsets;  /* (R+1) */
    int64_t bad_pictures;     /* replaced in this batch because they did not decode */
    int lane;                 /* set by fc_loader_options.ready, below */
    const uint8_t *device_pictures, *device_crops; /* likewise; NULL: nowhere but here */
} fc_batch;

typedef struct fc_loader_options {
    uint64_t seed;
    int64_t steps_begin, steps_end; /* global steps to produce, in order */
    int64_t first, count;           /* this rank's positions within the global batch */
    int image_size;
    fc_fit fit; /* how pictures become S x S; boxes follow. Crops are always squashed */
    int max_boxes;
    double min_box_size, max_box_size;   /* pixels; a box with w*h < min^2 or > max^2 is left out */
    bool caption_random, regions_random; /* else the first */
    bool need_captions, need_regions, need_crops, need_region_captions;
    bool dummy_region; /* compat: METHOD.md section 2 */
    int grid_split; /* above 0: regions are cells of a random grid (data/grid.h), not the store's */
    int context_length,
        vocab_size; /* rows longer than context_length are cut, last id set to the end id */
    int workers;    /* threads, >= 1 */
    int depth;      /* batches kept ready, >= 2 */
    /* Called by a worker once a batch is whole, before it is delivered, with the number of the slot
     * it lies in, [0, depth]; a slot is used again once the batch in it has been given back. NULL:
     * nobody waits. */
    void (*ready)(void *ctx, int slot, fc_batch *batch);
    void *ready_ctx;
} fc_loader_options;

typedef struct fc_loader fc_loader;

/** Start the workers. The store must stay open, and the sampler alive and unused by others, until
 * destroy. FC_USAGE: the store lacks what the options need. */
FC_NODISCARD fc_status fc_loader_create(fc_loader **out, fc_store *store, fc_sampler *sampler,
                                        const fc_loader_options *options);
/** Next batch in step order; valid until the next call. *waited (may be NULL): seconds this call
 * waited. A worker's error comes back here. A picture that does not decode is replaced
 * deterministically by the next image of the store that does, counted, and named once in a warning.
 */
FC_NODISCARD fc_status fc_loader_next(fc_loader *l, const fc_batch **batch, double *waited);
void fc_loader_destroy(fc_loader **l);

/** Build one batch from given images in the calling thread (evaluation, tests, bench); freed by
 * fc_batch_free. */
FC_NODISCARD fc_status fc_batch_build(fc_batch *out, fc_store *store,
                                      const fc_loader_options *options, int64_t step, int64_t epoch,
                                      const int64_t *images, int64_t count);
void fc_batch_free(fc_batch *batch);

#endif
