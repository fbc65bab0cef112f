/* A made-up batch of given sizes, for timing and for predicting memory: random pixels, boxes and
 * token ids. */
#ifndef FC_LAUNCH_FAKE_BATCH_H
#define FC_LAUNCH_FAKE_BATCH_H

#include "data/loader.h"

typedef struct fc_fake_sizes {
    int64_t images, boxes; /* boxes a picture */
    bool crops;            /* of the boxes, too */
    int image_size;
    int caption_tokens; /* ids a row, start and end included */
    int region_tokens;
    int vocab_size;
} fc_fake_sizes;

/** Freed by fc_batch_free. Depends on the sizes and the seed alone. */
void fc_fake_batch(fc_batch *out, const fc_fake_sizes *sizes, uint64_t seed);

#endif
