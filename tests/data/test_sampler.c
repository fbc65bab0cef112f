/* The sampler: subsets are nested, an epoch is a permutation, ranks share one order, no shuffle
 * wraps around. fctest: timeout=30 */
#include "core/memory.h"
#include "data/sampler.h"
#include "tests/check.h"

#include <string.h>

enum { IMAGES = 103, BATCH = 8 };

static fc_sampler *create(uint64_t seed, int64_t samples, int64_t batch, bool shuffle)
{
    fc_sampler *s = NULL;
    FC_CHECK_OK(fc_sampler_create(&s, seed, IMAGES, samples, batch, shuffle));
    return s;
}

/* How often each image comes in steps [begin, end); returns the number of different ones. */
static int count_images(fc_sampler *s, int64_t begin, int64_t end, int64_t batch, int *often)
{
    int different = 0;
    memset(often, 0, IMAGES * sizeof *often);
    for (int64_t step = begin; step < end; step++) {
        int64_t images[IMAGES];
        fc_sampler_images(s, step, 0, batch, images);
        for (int64_t i = 0; i < batch; i++) {
            if (FC_CHECK(images[i] >= 0 && images[i] < IMAGES)) {
                different += often[images[i]]++ == 0;
            }
        }
    }
    return different;
}

static void epochs_are_permutations(void)
{
    fc_sampler *s = create(5, 0, BATCH, true);
    int64_t steps = fc_sampler_steps_per_epoch(s), first[BATCH], again[BATCH];
    int often[IMAGES];
    FC_CHECK_INT(fc_sampler_size(s), IMAGES);
    FC_CHECK_INT(steps, IMAGES / BATCH);
    for (int epoch = 0; epoch < 4; epoch++) {
        FC_CHECK_INT(count_images(s, epoch * steps, (epoch + 1) * steps, BATCH, often),
                     steps * BATCH);
    }
    fc_sampler_images(s, 0, 0, BATCH, first);
    fc_sampler_images(s, steps, 0, BATCH, again);
    FC_CHECK(memcmp(first, again, sizeof first) != 0); /* another order each epoch */
    fc_sampler_images(s, 0, 0, BATCH, again);          /* back again: any step in any order */
    FC_CHECK(memcmp(first, again, sizeof first) == 0);
    fc_sampler_destroy(&s);
    FC_CHECK(s == NULL);
    s = create(6, 0, BATCH, true);
    fc_sampler_images(s, 0, 0, BATCH, again);
    FC_CHECK(memcmp(first, again, sizeof first) != 0); /* another order each seed */
    fc_sampler_destroy(&s);
    s = create(5, IMAGES, IMAGES, true); /* one step an epoch takes everything */
    FC_CHECK_INT(fc_sampler_steps_per_epoch(s), 1);
    FC_CHECK_INT(count_images(s, 7, 8, IMAGES, often), IMAGES);
    fc_sampler_destroy(&s);
}

/* The slices of any number of ranks, put together, are the global batch. */
static void ranks_agree(bool shuffle)
{
    fc_sampler *s = create(9, 50, BATCH, shuffle);
    for (int64_t step = 0; step < 20; step++) {
        int64_t whole[BATCH], slices[BATCH];
        fc_sampler_images(s, step, 0, BATCH, whole);
        for (int64_t ranks = 1; ranks <= BATCH; ranks *= 2) {
            fc_sampler *other = create(9, 50, BATCH, shuffle);
            for (int64_t r = 0; r < ranks; r++) {
                fc_sampler_images(other, step, r * BATCH / ranks, BATCH / ranks,
                                  slices + r * BATCH / ranks);
            }
            FC_CHECK(memcmp(whole, slices, sizeof whole) == 0);
            fc_sampler_destroy(&other);
        }
    }
    fc_sampler_destroy(&s);
}

static void subsets_are_nested(void)
{
    int small[IMAGES], large[IMAGES], other[IMAGES];
    fc_sampler *s = create(1, 20, 1, true);
    FC_CHECK_INT(count_images(s, 0, 20, 1, small), 20);
    fc_sampler_destroy(&s);
    s = create(1, 70, 1, true);
    FC_CHECK_INT(count_images(s, 0, 70, 1, large), 70);
    fc_sampler_destroy(&s);
    s = create(2, 20, 1, true); /* the subset does not depend on the seed */
    FC_CHECK_INT(count_images(s, 20, 40, 1, other), 20);
    fc_sampler_destroy(&s);
    int head = 0;
    for (int i = 0; i < IMAGES; i++) {
        FC_CHECK(small[i] <= large[i]);
        FC_CHECK(small[i] == other[i]);
        head += i < 20 && small[i] > 0;
    }
    FC_CHECK(head < 20); /* a random subset, not the first pictures */
}

static void no_shuffle_wraps(void)
{
    fc_sampler *s = create(3, 0, BATCH, false);
    for (int64_t step = 0; step < 60; step++) {
        int64_t images[BATCH];
        fc_sampler_images(s, step, 0, BATCH, images);
        for (int64_t i = 0; i < BATCH; i++) {
            FC_CHECK_INT(images[i], (step * BATCH + i) % IMAGES);
        }
    }
    fc_sampler_destroy(&s);
    int64_t images[200];
    FC_CHECK_OK(fc_sampler_create(&s, 0, 3, 0, 200, false)); /* a batch of more than there is */
    fc_sampler_images(s, 1000000000000, 0, 200, images);
    FC_CHECK_INT(images[0], 2); /* 2e14 mod 3 */
    FC_CHECK_INT(images[199], (2 + 199) % 3);
    FC_CHECK_INT(fc_sampler_steps_per_epoch(s), 1);
    fc_sampler_destroy(&s);
}

int main(void)
{
    fc_sampler *s;
    epochs_are_permutations();
    ranks_agree(true);
    ranks_agree(false);
    subsets_are_nested();
    no_shuffle_wraps();
    FC_CHECK_FAILS(fc_sampler_create(&s, 0, 10, 11, 1, true), FC_USAGE, "data.samples is 11");
    FC_CHECK_FAILS(fc_sampler_create(&s, 0, 10, 5, 6, true), FC_USAGE, "batch of 6");
    FC_CHECK_FAILS(fc_sampler_create(&s, 0, 0, 0, 1, false), FC_USAGE, "no images");
    return fc_check_end();
}
