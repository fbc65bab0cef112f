/* The batch that stands for a store's largest: no batch built of any images has more regions or
 * longer texts, and one of the images with the most has as many.
 * fctest: timeout=60 */
#include "data/largest_batch.h"
#include "tests/data/store_maker.h"

enum { IMAGES = 19, BATCH = 5, SIZE = 8 };

static fc_loader_options options(void)
{
    fc_loader_options o = maker_options(BATCH, SIZE);
    o.max_boxes = 3;
    return o;
}

/* Length of the k-th longest row. */
static int64_t longest(const int64_t *offsets, int64_t rows, int64_t k)
{
    for (int64_t length = MAKER_CONTEXT; length > 0; length--) {
        int64_t as_long = 0;
        for (int64_t r = 0; r < rows; r++) {
            as_long += offsets[r + 1] - offsets[r] >= length;
        }
        if (as_long > k) {
            return length;
        }
    }
    return 0;
}

static void check_rows(const char *what, const int64_t *large, int64_t large_rows,
                       const int64_t *real, int64_t rows)
{
    for (int64_t k = 0; k < rows; k++) {
        const int64_t have = longest(large, large_rows, k), want = longest(real, rows, k);
        fc_check_true(have >= want, __FILE__, __LINE__, "%s %d: %d ids, a batch has %d", what,
                      (int)k, (int)have, (int)want);
    }
}

/* Regions of the images that have the most, each asked of the loader alone. */
static int64_t most_regions(fc_store *s, const fc_loader_options *o)
{
    int64_t count[IMAGES], sum = 0;
    for (int64_t i = 0; i < IMAGES; i++) {
        fc_batch one;
        count[i] = -1;
        if (FC_CHECK_OK(fc_batch_build(&one, s, o, 0, 0, &i, 1))) {
            count[i] = one.regions;
            fc_batch_free(&one);
        }
    }
    for (int taken = 0; taken < BATCH; taken++) {
        int best = 0;
        for (int i = 1; i < IMAGES; i++) {
            best = count[i] > count[best] ? i : best;
        }
        sum += count[best];
        count[best] = -1;
    }
    return sum;
}

/* Every window of images, in an order that mixes those with many and few regions. Returns the
 * regions. */
static int64_t check_all(fc_store *s, const fc_loader_options *o)
{
    fc_batch large, real;
    int64_t images[BATCH];
    fc_largest_batch(&large, s, o, -1);
    FC_CHECK_INT(large.images, BATCH);
    for (int64_t first = 0; first < IMAGES; first++) {
        for (int64_t stride = 1; stride <= 4; stride++) {
            for (int64_t i = 0; i < BATCH; i++) {
                images[i] = (first + i * stride) % IMAGES;
            }
            if (!FC_CHECK_OK(fc_batch_build(&real, s, o, first, stride, images, BATCH))) {
                continue;
            }
            check_rows("caption", large.caption_offsets, large.images, real.caption_offsets,
                       real.images);
            check_rows("region caption", large.region_offsets, large.regions, real.region_offsets,
                       real.regions);
            FC_CHECK((real.crops == NULL) == (large.crops == NULL));
            fc_batch_free(&real);
        }
    }
    const int64_t regions = large.regions;
    FC_CHECK_INT(regions, most_regions(s, o));
    for (int64_t r = 1; r < large.regions; r++) {
        FC_CHECK(large.region_image[r - 1] <= large.region_image[r]);
    }
    fc_batch_free(&large);
    return regions;
}

/* Made-up rows are whole and differ. */
static void test_rows(fc_store *s)
{
    fc_loader_options o = options();
    fc_batch b;
    fc_largest_batch(&b, s, &o, 7);
    int same = 0;
    for (int64_t i = 0; i < b.images; i++) {
        const int32_t *row = b.caption_tokens + b.caption_offsets[i];
        const int64_t count = b.caption_offsets[i + 1] - b.caption_offsets[i];
        FC_CHECK_INT(row[0], MAKER_VOCAB - 2);
        FC_CHECK_INT(row[count - 1], MAKER_VOCAB - 1);
        for (int64_t k = 0; k < i; k++) {
            const int32_t *other = b.caption_tokens + b.caption_offsets[k];
            same += b.caption_offsets[k + 1] - b.caption_offsets[k] == count &&
                    memcmp(row, other, (size_t)count * sizeof *row) == 0;
        }
    }
    FC_CHECK_INT(same, 0);
    FC_CHECK_INT(b.region_index[0], 7);
    fc_batch_free(&b);
}

/* A batch of more images than there are has the largest again and again. */
static void test_small_store(fc_store *s)
{
    fc_loader_options o = options();
    fc_batch b;
    o.count = 3 * IMAGES;
    fc_largest_batch(&b, s, &o, -1);
    int64_t regions = 0;
    for (int64_t i = 0; i < IMAGES; i++) {
        regions += i % 4;
    }
    FC_CHECK_INT(b.regions, regions + (int64_t)2 * IMAGES * 3);
    fc_batch_free(&b);
}

int main(void)
{
    const maker with_all = {.images = IMAGES, .crops = true, .region_captions = true};
    char *path = fc_strdup(fc_check_temp("largest.h5"));
    make_store(path, &with_all);
    fc_store *s = NULL;
    if (FC_CHECK_OK(fc_store_open(&s, path))) {
        fc_loader_options o = options();
        const int64_t all = check_all(s, &o);
        o.max_boxes = 2;
        FC_CHECK(check_all(s, &o) < all);
        o = options();
        o.min_box_size = 14;
        FC_CHECK(check_all(s, &o) < all);
        o = options();
        o.max_box_size = 14;
        FC_CHECK(check_all(s, &o) < all);
        o = options();
        o.need_region_captions = o.need_crops = false;
        FC_CHECK_INT(check_all(s, &o), all);
        o = options();
        o.need_regions = o.need_region_captions = o.need_crops = false;
        FC_CHECK_INT(check_all(s, &o), 0);
        o = options();
        o.dummy_region = true;
        o.need_region_captions = false; /* a dummy's row of zeros is one id to the text tower */
        FC_CHECK_INT(check_all(s, &o), all);
        test_rows(s);
        test_small_store(s);
        fc_store_close(&s);
    }
    fc_free(&path);
    return fc_check_end();
}
