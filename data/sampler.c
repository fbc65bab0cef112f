#include "data/sampler.h"

#include "core/memory.h"
#include "core/rng.h"

struct fc_sampler {
    uint64_t seed;
    int64_t images, samples, batch;
    bool shuffle;
    int64_t *subset; /* (samples) images in use, in the fixed permutation's order; NULL: all */
    int64_t *order;  /* (samples) permutation of `epoch` over positions of the subset */
    int64_t epoch;   /* -1: none yet */
};

fc_status fc_sampler_create(fc_sampler **out, uint64_t seed, int64_t images, int64_t samples,
                            int64_t batch, bool shuffle)
{
    *out = NULL;
    FC_ASSERT(images >= 0 && samples >= 0 && batch >= 1);
    if (images == 0) {
        return FC_FAIL(FC_USAGE, "the store has no images to train on");
    }
    if (samples > images) {
        return FC_FAIL(FC_USAGE, "data.samples is %lld, the store has %lld images only",
                       (long long)samples, (long long)images);
    }
    int64_t used = samples == 0 ? images : samples;
    if (shuffle && used < batch) {
        return FC_FAIL(FC_USAGE,
                       "%lld images do not fill one batch of %lld; use a smaller batch_size",
                       (long long)used, (long long)batch);
    }
    fc_sampler *s = fc_alloc(1, sizeof *s);
    *s = (fc_sampler){.seed = seed,
                      .images = images,
                      .samples = used,
                      .batch = batch,
                      .shuffle = shuffle,
                      .epoch = -1};
    if (used < images) {
        /* The head of one permutation of all images, whatever number and seed: subsets are nested,
         * and runs that differ in their seed train on the same pictures. */
        s->subset = fc_alloc((size_t)images, sizeof *s->subset);
        fc_rng rng = fc_rng_stream(0, FC_RNG_SUBSET, 0, 0);
        fc_rng_permutation(&rng, images, s->subset);
        s->subset = fc_realloc(s->subset, (size_t)used, sizeof *s->subset);
    }
    if (shuffle) {
        s->order = fc_alloc((size_t)used, sizeof *s->order);
    }
    *out = s;
    return FC_OK;
}

void fc_sampler_destroy(fc_sampler **sampler)
{
    if (*sampler != NULL) {
        fc_free(&(*sampler)->subset);
        fc_free(&(*sampler)->order);
    }
    fc_free(sampler);
}

int64_t fc_sampler_steps_per_epoch(const fc_sampler *s)
{
    int64_t whole = s->samples / s->batch;
    return whole > 0 ? whole : 1; /* without shuffle a batch may wrap around */
}

int64_t fc_sampler_size(const fc_sampler *s)
{
    return s->samples;
}

void fc_sampler_images(fc_sampler *s, int64_t step, int64_t first, int64_t count, int64_t *images)
{
    FC_ASSERT(step >= 0 && first >= 0 && count >= 0 && first + count <= s->batch);
    int64_t begin;
    if (s->shuffle) {
        int64_t steps = fc_sampler_steps_per_epoch(s), epoch = step / steps;
        if (epoch != s->epoch) {
            fc_rng rng = fc_rng_stream(s->seed, FC_RNG_SHUFFLE, (uint64_t)epoch, 0);
            fc_rng_permutation(&rng, s->samples, s->order);
            s->epoch = epoch;
        }
        begin = step % steps * s->batch + first;
    } else {
        begin = (step % s->samples * (s->batch % s->samples) + first) % s->samples;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t position = s->shuffle ? s->order[begin + i] : (begin + i) % s->samples;
        images[i] = s->subset == NULL ? position : s->subset[position];
    }
}
