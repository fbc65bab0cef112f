/* Which images a step trains on: depends on seed and epoch alone, not on ranks (FORMATS.md section
 * 2: samples, shuffle). */
#ifndef FC_DATA_SAMPLER_H
#define FC_DATA_SAMPLER_H

#include "core/status.h"

#include <stdint.h>

typedef struct fc_sampler fc_sampler;

/** images in the store; samples: the first that many of a fixed permutation that depends on
 * images alone (0: all; nested by construction); batch: global batch. With shuffle, an epoch is
 * floor(samples/batch) steps over a permutation of (seed, epoch), the incomplete last batch
 * dropped; without, step s takes images s*batch .. s*batch+batch-1 modulo the count. FC_USAGE:
 * samples > images, or shuffle with samples < batch. */
FC_NODISCARD fc_status fc_sampler_create(fc_sampler **out, uint64_t seed, int64_t images,
                                         int64_t samples, int64_t batch, bool shuffle);
void fc_sampler_destroy(fc_sampler **s);
int64_t fc_sampler_steps_per_epoch(const fc_sampler *s);
/** Images used in all (samples). */
int64_t fc_sampler_size(const fc_sampler *s);
/** Image indices (into the store) of positions [first, first+count) of global step `step`. Any
 * step, any order; cheap within an epoch (the permutation is kept). */
void fc_sampler_images(fc_sampler *s, int64_t step, int64_t first, int64_t count, int64_t *images);

#endif
