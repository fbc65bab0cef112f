/* The loader: equal to fc_batch_build, whatever the number of workers; choices of captions and
 * regions; crops; bad pictures; errors; stopping in the middle.
 * fctest: timeout=120 */

#include "core/log.h"
#include "data/loader.h"
#include "tests/data/store_maker.h"

#include <math.h>
#include <unistd.h>

enum { IMAGES = 41, SIZE = 16, BATCH = 6, STEPS = 25 };

static char store_path[1024], no_crops_path[1024];

static fc_loader_options options(void)
{
    fc_loader_options o = maker_options(BATCH, SIZE);
    o.steps_end = STEPS;
    o.workers = 3;
    return o;
}

static fc_store *open_store(const char *path)
{
    fc_store *s = NULL;
    FC_CHECK_OK(fc_store_open(&s, path));
    return s;
}

/* Bits of everything in a batch. */
static uint64_t digest(const fc_batch *b)
{
    uint64_t hash = 0xCBF29CE484222325u;
#define ADD(pointer, count)                                                                        \
    for (size_t at = 0; at < (size_t)(count) * sizeof *(pointer); at++) {                          \
        hash = (hash ^ ((const uint8_t *)(pointer))[at]) * 0x100000001B3u;                         \
    }
    size_t square = 3 * SIZE * SIZE;
    ADD(&b->step, 1)
    ADD(&b->images, 1)
    ADD(&b->regions, 1)
    ADD(b->pictures, (size_t)b->images * square)
    if (b->crops != NULL) {
        ADD(b->crops, (size_t)b->regions * square)
    }
    ADD(b->boxes, 4 * b->regions)
    ADD(b->region_image, b->regions)
    ADD(b->image_index, b->images)
    ADD(b->region_index, b->regions)
    ADD(b->caption_offsets, b->images + 1)
    ADD(b->caption_tokens, b->caption_offsets[b->images])
    ADD(b->region_offsets, b->regions + 1)
    ADD(b->region_tokens, b->region_offsets[b->regions])
    ADD(&b->bad_pictures, 1)
#undef ADD
    return hash;
}

/* Digests of steps [begin, STEPS) from a loader; ends early after `stop` steps. */
static void load(const char *path, fc_loader_options o, int64_t begin, int64_t stop,
                 uint64_t *digests, int64_t *bad)
{
    fc_store *store = open_store(path);
    fc_sampler *sampler = NULL;
    fc_loader *loader = NULL;
    FC_CHECK_OK(fc_sampler_create(&sampler, o.seed, store->images, 0, BATCH, true));
    o.steps_begin = begin;
    FC_CHECK_OK(fc_loader_create(&loader, store, sampler, &o));
    *bad = 0;
    for (int64_t step = begin; step < stop && loader != NULL; step++) {
        const fc_batch *b;
        double waited = -1;
        if (!FC_CHECK_OK(fc_loader_next(loader, &b, &waited))) {
            break;
        }
        FC_CHECK_INT(b->step, step);
        FC_CHECK(waited >= 0 && waited < 60);
        digests[step] = digest(b);
        *bad += b->bad_pictures;
    }
    fc_loader_destroy(&loader);
    FC_CHECK(loader == NULL);
    fc_sampler_destroy(&sampler);
    fc_store_close(&store);
}

/* Any number of workers, any start, any depth gives what fc_batch_build gives. */
static void same_whatever_workers(const char *path, fc_loader_options o, int64_t least_bad)
{
    uint64_t want[STEPS], got[STEPS];
    fc_store *store = open_store(path);
    fc_sampler *sampler = NULL;
    FC_CHECK_OK(fc_sampler_create(&sampler, o.seed, store->images, 0, BATCH, true));
    int64_t bad = 0, expected_bad = 0;
    for (int64_t step = 0; step < STEPS; step++) {
        int64_t images[BATCH];
        fc_batch b;
        fc_sampler_images(sampler, step, o.first, o.count, images);
        if (FC_CHECK_OK(fc_batch_build(&b, store, &o, step,
                                       step / fc_sampler_steps_per_epoch(sampler), images,
                                       o.count))) {
            want[step] = digest(&b);
            expected_bad += b.bad_pictures;
            fc_batch_free(&b);
        }
    }
    FC_CHECK(expected_bad >= least_bad && (least_bad > 0 || expected_bad == 0));
    fc_sampler_destroy(&sampler);
    fc_store_close(&store);
    static const int workers[] = {1, 2, 4, 7};
    for (int k = 0; k < 4; k++) {
        o.workers = workers[k];
        o.depth = 2 + k;
        load(path, o, 0, STEPS, got, &bad);
        FC_CHECK(memcmp(got, want, sizeof want) == 0);
        FC_CHECK_INT(bad, expected_bad);
    }
    load(path, o, 11, STEPS, got, &bad); /* as after a resume */
    FC_CHECK(memcmp(got + 11, want + 11, (STEPS - 11) * sizeof *want) == 0);
    load(path, o, 0, 3, got, &bad); /* stopped in the middle */
    load(path, o, 0, 0, got, &bad); /* and at once */
}

static fc_batch build(fc_store *store, const fc_loader_options *o, int64_t epoch, int64_t first,
                      int64_t count)
{
    int64_t images[IMAGES];
    fc_batch b = {0};
    for (int64_t i = 0; i < count; i++) {
        images[i] = first + i;
    }
    FC_CHECK_OK(fc_batch_build(&b, store, o, 0, epoch, images, count));
    return b;
}

/* Captions, regions, tokens and boxes of a batch against the store. */
static void check_content(void)
{
    fc_store *s = open_store(store_path);
    fc_loader_options o = options();
    o.max_boxes = 100;
    fc_batch b = build(s, &o, 0, 0, IMAGES);
    FC_CHECK_INT(b.images, IMAGES);
    FC_CHECK_INT(b.regions, s->regions);
    for (int64_t r = 0; r < b.regions; r++) {
        int64_t i = b.region_image[r], region = b.region_index[r];
        FC_CHECK_INT(region, r);
        FC_CHECK(region >= (int64_t)s->region_of[i] && region < (int64_t)s->region_of[i + 1]);
        for (int k = 0; k < 4; k++) {
            int side = k % 2 == 0 ? maker_width(i) : maker_height(i);
            FC_CHECK_NEAR(b.boxes[4 * r + k], s->boxes[4 * r + k] / (float)side, 1e-6);
        }
        int32_t ids[MAKER_CONTEXT];
        int64_t at = b.region_offsets[r], count = b.region_offsets[r + 1] - at;
        if (region % 5 == 4) {
            FC_CHECK_INT(count, 0);
        } else if (FC_CHECK_INT(count, maker_ids(MAKER_VOCAB, 1000 + region, ids))) {
            FC_CHECK(memcmp(ids, b.region_tokens + at, (size_t)count * sizeof *ids) == 0);
        }
    }
    fc_picture picture;
    uint8_t want[3 * SIZE * SIZE];
    if (FC_CHECK_OK(fc_store_picture(s, 12, &picture))) {
        FC_CHECK_OK(fc_picture_fit(&picture, FC_FIT_SQUASH, SIZE, want, NULL, NULL));
        FC_CHECK(memcmp(want, b.pictures + 12 * sizeof want, sizeof want) == 0);
        fc_picture_free(&picture);
    }
    if (FC_CHECK_OK(fc_store_crop(s, 17, &picture))) { /* stored smaller: resized */
        FC_CHECK_OK(fc_picture_fit(&picture, FC_FIT_SQUASH, SIZE, want, NULL, NULL));
        FC_CHECK(memcmp(want, b.crops + 17 * sizeof want, sizeof want) == 0);
        fc_picture_free(&picture);
    }
    fc_batch_free(&b);
    fc_store_close(&s);
}

/* Random captions come from all of an image's, follow epoch and seed, and the first is the first.
 */
static void check_captions(void)
{
    fc_store *s = open_store(store_path);
    fc_loader_options o = options();
    bool seen[3] = {false, false, false};
    for (int64_t epoch = 0; epoch < 30; epoch++) {
        fc_batch b = build(s, &o, epoch, 2, 1), again = build(s, &o, epoch, 2, 1);
        FC_CHECK(digest(&b) == digest(&again));
        for (int k = 0; k < 3; k++) {
            int32_t ids[MAKER_CONTEXT];
            int64_t count = maker_ids(MAKER_VOCAB, (int64_t)s->caption_of[2] + k, ids);
            seen[k] = seen[k] || (count == b.caption_offsets[1] &&
                                  memcmp(ids, b.caption_tokens, (size_t)count * 4) == 0);
        }
        fc_batch_free(&b);
        fc_batch_free(&again);
    }
    FC_CHECK(seen[0] && seen[1] && seen[2]);
    o.caption_random = o.regions_random = false;
    fc_batch b = build(s, &o, 0, 0, IMAGES), other = build(s, &o, 1, 0, IMAGES);
    FC_CHECK(digest(&b) == digest(&other));
    for (int64_t i = 0; i < IMAGES; i++) {
        int32_t ids[MAKER_CONTEXT];
        int64_t at = b.caption_offsets[i];
        int count = maker_ids(MAKER_VOCAB, (int64_t)s->caption_of[i], ids);
        FC_CHECK_INT(b.caption_offsets[i + 1] - at, count);
        FC_CHECK(memcmp(ids, b.caption_tokens + at, (size_t)count * 4) == 0);
    }
    fc_batch_free(&b);
    fc_batch_free(&other);
    o.context_length = 5; /* cut, the end id kept */
    b = build(s, &o, 0, 0, IMAGES);
    for (int64_t i = 0; i < IMAGES; i++) {
        int64_t end = b.caption_offsets[i + 1], count = end - b.caption_offsets[i];
        FC_CHECK(count >= 2 && count <= 5);
        FC_CHECK_INT(b.caption_tokens[end - 1], MAKER_VOCAB - 1);
    }
    fc_batch_free(&b);
    fc_store_close(&s);
}

/* Size limits, max_boxes, stored order, every region in its turn. */
static void check_regions(void)
{
    fc_store *s = open_store(store_path);
    fc_loader_options o = options();
    int64_t first = (int64_t)s->region_of[3];
    int often[3] = {0, 0, 0};
    for (int64_t epoch = 0; epoch < 60; epoch++) {
        fc_batch b = build(s, &o, epoch, 3, 1); /* three regions, two are taken */
        FC_CHECK_INT(b.regions, 2);
        FC_CHECK(b.region_index[0] < b.region_index[1]);
        often[b.region_index[0] - first]++;
        often[b.region_index[1] - first]++;
        fc_batch_free(&b);
    }
    for (int k = 0; k < 3; k++) {
        FC_CHECK(often[k] > 20 && often[k] < 60);
    }
    o.regions_random = false;
    fc_batch b = build(s, &o, 0, 3, 1);
    FC_CHECK(b.regions == 2 && b.region_index[0] == first && b.region_index[1] == first + 1);
    fc_batch_free(&b);
    o.max_boxes = 10;
    for (int low = 0; low < 2; low++) { /* limits on w*h leave out the larger or the smaller ones */
        const float *box = &s->boxes[4 * (first + 1)];
        double side = sqrt((double)((box[2] - box[0]) * (box[3] - box[1])));
        o.min_box_size = low ? side * 0.999 : 0;
        o.max_box_size = low ? 1000 : side * 1.001;
        b = build(s, &o, 0, 3, 1);
        FC_CHECK_INT(b.regions, 2);
        FC_CHECK_INT(b.region_index[0], low ? first : first + 1);
        fc_batch_free(&b);
    }
    o.need_regions = o.need_crops = o.need_region_captions = false;
    b = build(s, &o, 0, 0, IMAGES);
    FC_CHECK(b.regions == 0 && b.crops == NULL);
    fc_batch_free(&b);
    fc_store_close(&s);
}

/* A store without crops: they are cut from the picture, grown by crop_scale. */
static void check_cut_crops(void)
{
    fc_store *s = open_store(no_crops_path);
    fc_loader_options o = options();
    fc_picture picture;
    uint8_t want[3 * SIZE * SIZE];
    fc_batch b = build(s, &o, 0, 1, 1);
    int64_t region = b.region_index[0];
    if (FC_CHECK_OK(fc_store_picture(s, 1, &picture))) {
        fc_rect from = fc_crop_rect(&s->boxes[4 * region], 1.5, picture.width, picture.height);
        FC_CHECK_OK(fc_resize(&picture, from, FC_BILINEAR, SIZE, SIZE, want));
        FC_CHECK(memcmp(want, b.crops, sizeof want) == 0);
        fc_picture_free(&picture);
    }
    fc_batch_free(&b);

    o.dummy_region = true;
    b = build(s, &o, 0, 0, 2); /* picture 0 has no region */
    FC_CHECK(b.regions == 2 && b.region_index[0] == -1 && b.region_index[1] == region);
    FC_CHECK(b.boxes[0] == 0 && b.boxes[1] == 0);
    FC_CHECK_NEAR(b.boxes[2], 0.25, 1e-6);
    FC_CHECK_NEAR(b.boxes[3], 0.25, 1e-6);
    FC_CHECK_INT(b.region_offsets[1], MAKER_CONTEXT);
    for (int k = 0; k < MAKER_CONTEXT; k++) {
        FC_CHECK_INT(b.region_tokens[k], 0);
    }
    if (FC_CHECK_OK(fc_store_picture(s, 0, &picture))) {
        FC_CHECK_OK(fc_resize(&picture, (fc_rect){0, 0, 5, 4}, FC_BILINEAR, SIZE, SIZE, want));
        FC_CHECK(memcmp(want, b.crops, sizeof want) == 0); /* 20 x 16 pixels: a quarter of each */
        fc_picture_free(&picture);
    }
    fc_batch_free(&b);

    o.dummy_region = false;
    o.fit = FC_FIT_LONGEST; /* boxes follow the picture into its part of the square */
    double scale_x, scale_y;
    b = build(s, &o, 0, 1, 1);
    if (FC_CHECK_OK(fc_store_picture(s, 1, &picture))) {
        FC_CHECK_OK(fc_picture_fit(&picture, FC_FIT_LONGEST, SIZE, want, &scale_x, &scale_y));
        FC_CHECK(memcmp(want, b.pictures, sizeof want) == 0);
        FC_CHECK_NEAR(b.boxes[2], (double)s->boxes[4 * region + 2] * scale_x, 1e-6);
        FC_CHECK_NEAR(b.boxes[3], (double)s->boxes[4 * region + 3] * scale_y, 1e-6);
        fc_picture_free(&picture);
    }
    fc_batch_free(&b);
    o.fit = FC_FIT_CENTER_CROP;
    FC_CHECK_FAILS(fc_batch_build(&b, s, &o, 0, 0, &(int64_t){0}, 1), FC_USAGE, "center_crop");
    fc_store_close(&s);
}

static void count_line(void *ctx)
{
    ++*(int *)ctx;
}

/* Each bad picture is named once, however often it comes. */
static void warned_once(const char *path)
{
    uint64_t digests[STEPS];
    int64_t bad;
    int lines = 0;
    fc_log_set_rank(0, 1);
    fc_log_set_status_line(count_line, NULL, &lines);
    load(path, options(), 0, STEPS, digests, &bad);
    fc_log_set_status_line(NULL, NULL, NULL);
    fc_log_set_rank(1, 2);
    FC_CHECK_INT(lines, 5);
    FC_CHECK(bad > 5);
}

/* Pictures that do not decode are replaced by the next that do, and counted. */
static void bad_pictures(void)
{
    static const int64_t bad[] = {5, 6, 20, IMAGES - 1};
    const char *path = fc_check_temp("bad.h5");
    copy_file(store_path, path);
    for (int k = 0; k < 4; k++) {
        poke(path, "/images/height", bad[k], 99);
    }
    poke(path, "/regions/crop_width", 1, 9); /* of picture 2 */
    same_whatever_workers(path, options(), 4);
    warned_once(path);
    fc_store *s = open_store(path);
    fc_loader_options o = options();
    fc_batch b = build(s, &o, 0, 4, 3), other = build(s, &o, 0, 7, 1);
    FC_CHECK(b.image_index[0] == 4 && b.image_index[1] == 7 && b.image_index[2] == 7);
    FC_CHECK_INT(b.bad_pictures, 2);
    size_t square = 3 * SIZE * SIZE;
    FC_CHECK(memcmp(b.pictures + square, other.pictures, square) == 0);
    FC_CHECK(memcmp(b.pictures + 2 * square, other.pictures, square) == 0);
    FC_CHECK(b.region_index[b.regions - 1] == other.region_index[other.regions - 1]);
    fc_batch_free(&b);
    fc_batch_free(&other);
    b = build(s, &o, 0, IMAGES - 1, 1); /* after the last comes the first */
    FC_CHECK_INT(b.image_index[0], 0);
    fc_batch_free(&b);
    b = build(s, &o, 0, 2, 1); /* a crop that does not decode */
    FC_CHECK_INT(b.image_index[0], 3);
    fc_batch_free(&b);
    fc_store_close(&s);

    for (int64_t i = 0; i < IMAGES; i++) {
        poke(path, "/images/height", i, 99);
    }
    s = open_store(path);
    FC_CHECK_FAILS(fc_batch_build(&b, s, &o, 0, 0, &(int64_t){3}, 1), FC_DATA, "41 pictures");
    fc_store_close(&s);

    copy_file(store_path, path); /* a size that no memory is large enough for */
    poke(path, "/images/height", 5, 2e9);
    poke(path, "/images/width", 5, 2e9);
    s = open_store(path);
    b = build(s, &o, 0, 5, 1);
    FC_CHECK_INT(b.image_index[0], 6);
    fc_batch_free(&b);
    fc_store_close(&s);
}

/* A worker's error comes out of fc_loader_next, again and again, and naming the culprit. */
static void errors_come_out(void)
{
    const char *path = fc_check_temp("wrong.h5");
    static const char *const part[] = {"box 30 outside image", "outside vocabulary (777 of 500)"};
    for (int k = 0; k < 2; k++) {
        copy_file(store_path, path);
        poke(path, k == 0 ? "/regions/boxes" : "/captions/tokens", k == 0 ? 4 * 30 + 2 : 200,
             k == 0 ? 641 : 777);
        fc_store *store = open_store(path);
        fc_loader_options o = options();
        o.need_regions = o.need_crops = o.need_region_captions = k == 0;
        fc_sampler *sampler;
        fc_loader *loader;
        FC_CHECK_OK(fc_sampler_create(&sampler, 1, store->images, 0, BATCH, false));
        FC_CHECK_OK(fc_loader_create(&loader, store, sampler, &o));
        fc_status status = FC_OK;
        const fc_batch *b;
        int steps = 0;
        while (status == FC_OK && steps < STEPS) {
            status = fc_loader_next(loader, &b, NULL);
            steps += status == FC_OK;
        }
        FC_CHECK(steps < STEPS && b == NULL);
        FC_CHECK_FAILS(status, FC_DATA, part[k]);
        FC_CHECK(strstr(fc_error_trace(), "fc_loader_next") != NULL);
        FC_CHECK_FAILS(fc_loader_next(loader, &b, NULL), FC_DATA, part[k]);
        fc_loader_destroy(&loader);
        fc_sampler_destroy(&sampler);
        fc_store_close(&store);
    }
}

static void lacks(const char *object, const char *part)
{
    const char *path = fc_check_temp("lacks.h5");
    copy_file(no_crops_path, path);
    cut(path, object);
    fc_store *store = open_store(path);
    fc_sampler *sampler;
    fc_loader *loader;
    fc_loader_options o = options();
    FC_CHECK_OK(fc_sampler_create(&sampler, 1, store->images, 0, BATCH, false));
    FC_CHECK_FAILS(fc_loader_create(&loader, store, sampler, &o), FC_USAGE, part);
    FC_CHECK(loader == NULL);
    fc_sampler_destroy(&sampler);
    fc_store_close(&store);
}

static void check_lacks(void)
{
    lacks("/captions", "no captions");
    lacks("/regions", "no regions");
    const char *path = fc_check_temp("lacks.h5");
    copy_file(no_crops_path, path);
    cut(path, "/regions/tokens");
    cut(path, "/regions/offsets");
    fc_store *store = open_store(path);
    fc_batch b;
    fc_loader_options o = options();
    FC_CHECK_FAILS(fc_batch_build(&b, store, &o, 0, 0, &(int64_t){0}, 1), FC_USAGE,
                   "no region captions");
    o.need_region_captions = false;
    b = build(store, &o, 0, 0, IMAGES);
    FC_CHECK(b.regions > 0 && b.region_offsets[b.regions] == 0);
    fc_batch_free(&b);
    fc_store_close(&store);
}

int main(void)
{
    fc_log_set_rank(1, 2); /* silent but for what is counted */
    snprintf(store_path, sizeof store_path, "%s", fc_check_temp("store.h5"));
    snprintf(no_crops_path, sizeof no_crops_path, "%s", fc_check_temp("no_crops.h5"));
    maker m = {.images = IMAGES, .crops = true, .region_captions = true, .categories = true};
    make_store(store_path, &m);
    m.crops = false;
    make_store(no_crops_path, &m);
    same_whatever_workers(store_path, options(), 0);
    fc_loader_options slice = options();
    slice.first = 2; /* the second of three ranks */
    slice.count = 2;
    same_whatever_workers(no_crops_path, slice, 0);
    slice.count = 0;
    same_whatever_workers(no_crops_path, slice, 0);
    check_content();
    check_captions();
    check_regions();
    check_cut_crops();
    bad_pictures();
    errors_come_out();
    check_lacks();
    return fc_check_end();
}
