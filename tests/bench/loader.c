/* What the loader costs beside JPEG decoding: all batches of a store are built in this thread, and
 * libjpeg decodes the same bytes bare, batch by batch in turn, so that a processor whose speed
 * changes is as fast for both; CPU seconds of the thread, medians of the rounds.
 * Then real loaders with 1, 2, ... threads, by the clock. Usage and figures: tests/bench/loader.md
 */
#include "core/clock.h"
#include "core/memory.h"
#include "data/batch.h"
#include "data/store/store_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jpeglib.h>

enum { BATCH = 32, MOST_ROUNDS = 99, MOST_BYTES = 1 << 26 };

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(fc_status status)
{
    if (status != FC_OK) {
        fprintf(stderr, "%s\n", fc_error_message());
        exit(1);
    }
}

/* Every JPEG of a dataset, in memory. */
typedef struct encoded {
    uint8_t *bytes;
    const uint64_t *offsets;
    int64_t count;
} encoded;

static encoded read_all(const fci_h5_dataset *d, const uint64_t *offsets, int64_t count)
{
    encoded e = {.offsets = offsets, .count = count};
    void *p = NULL;
    check(fc_try_alloc(&p, (size_t)offsets[count], 1, "pictures"));
    e.bytes = p;
    fci_h5_lock();
    check(fci_h5_read(d, 0, (int64_t)offsets[count], e.bytes));
    fci_h5_unlock();
    return e;
}

/* The least that decoding can be: one decompressor, the caller's memory, libjpeg's defaults. */
static double bare(const encoded *e, int64_t first, int64_t end, uint8_t *out)
{
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&jpeg);
    double begin = thread_seconds();
    for (int64_t i = first; i < end; i++) {
        jpeg_mem_src(&jpeg, e->bytes + e->offsets[i], e->offsets[i + 1] - e->offsets[i]);
        jpeg_read_header(&jpeg, TRUE);
        jpeg.out_color_space = JCS_RGB;
        jpeg_start_decompress(&jpeg);
        while (jpeg.output_scanline < jpeg.output_height) {
            JSAMPROW row = out + (size_t)jpeg.output_scanline * jpeg.output_width * 3;
            jpeg_read_scanlines(&jpeg, &row, 1);
        }
        jpeg_finish_decompress(&jpeg);
    }
    double seconds = thread_seconds() - begin;
    jpeg_destroy_decompress(&jpeg);
    return seconds;
}

static fc_loader_options options_of(const fc_store *s, int side)
{
    return (fc_loader_options){.count = BATCH,
                               .image_size = side,
                               .max_boxes = 100000,
                               .max_box_size = 1e6,
                               .caption_random = true,
                               .need_captions = s->captions > 0,
                               .need_regions = s->regions > 0,
                               .need_crops = s->regions > 0,
                               .need_region_captions =
                                   s->region_offsets != NULL && s->region_offsets[s->regions] > 0,
                               .context_length = 77,
                               .workers = 1,
                               .depth = 3};
}

/* One batch in this thread, memory used again as the loader does. */
static double build(fc_store *s, const fc_loader_options *o, fci_batch_slot *slot, int64_t first,
                    int64_t end)
{
    static fci_batch_scratch scratch;
    int64_t images[BATCH];
    for (int64_t i = first; i < end; i++) {
        images[i - first] = i;
    }
    double begin = thread_seconds();
    check(fci_batch_plan(slot, s, o, 0, 0, images, end - first));
    check(fci_batch_fill(slot, &scratch, s, o, 0));
    return thread_seconds() - begin;
}

enum { BARE_PICTURES, PICTURES, BARE_CROPS, BOTH, TIMES };

/* All images once, batch after batch. */
static void time_round(double t[TIMES], fc_store *s, const encoded *pictures, const encoded *crops,
                       const fc_loader_options *alone, const fc_loader_options *all, uint8_t *out)
{
    static fci_batch_slot slot[2];
    memset(t, 0, TIMES * sizeof *t);
    for (int64_t first = 0; first < s->images; first += BATCH) {
        int64_t end = first + BATCH < s->images ? first + BATCH : s->images;
        t[BARE_PICTURES] += bare(pictures, first, end, out);
        t[PICTURES] += build(s, alone, &slot[0], first, end);
        if (crops->count > 0) {
            t[BARE_CROPS] +=
                bare(crops, (int64_t)s->region_of[first], (int64_t)s->region_of[end], out);
        }
        t[BOTH] += build(s, all, &slot[1], first, end);
    }
}

/* Pictures and crops a second that come out of a loader with so many threads. */
static double loaded(fc_store *s, fc_loader_options o, int workers, double seconds)
{
    fc_sampler *sampler;
    fc_loader *loader;
    o.workers = workers;
    o.count = s->images < BATCH ? s->images : BATCH;
    o.steps_end = INT32_MAX;
    check(fc_sampler_create(&sampler, 0, s->images, 0, o.count, true));
    check(fc_loader_create(&loader, s, sampler, &o));
    int64_t made = 0;
    double begin = 0, end = 0;
    for (int step = 0; step < 3 || end - begin < seconds; step++) {
        const fc_batch *b;
        check(fc_loader_next(loader, &b, NULL));
        end = fc_clock_seconds();
        if (step == 2) {
            begin = end; /* the first batches were ready made */
            made = 0;
        }
        made += step > 2 ? b->images + b->regions : 0;
    }
    fc_loader_destroy(&loader);
    fc_sampler_destroy(&sampler);
    return (double)made / (end - begin);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

/* ours, theirs: seconds of each round for so many items. */
static void print(const char *what, int64_t items, int rounds, double *ours, double *theirs)
{
    double beside[MOST_ROUNDS];
    for (int r = 0; r < rounds; r++) {
        beside[r] = 100 * (ours[r] - theirs[r]) / ours[r];
    }
    printf("%-22s %8.0f a second and core; libjpeg alone %8.0f; beside decoding %5.1f %% of the "
           "cost\n",
           what, (double)items / median(ours, rounds), (double)items / median(theirs, rounds),
           median(beside, rounds));
}

static void print_all(int64_t pictures, int64_t crops, int rounds, double t[][TIMES])
{
    enum { OF_PICTURES, OF_CROPS, OF_BOTH };
    double ours[3][MOST_ROUNDS], theirs[3][MOST_ROUNDS];
    for (int r = 0; r < rounds; r++) {
        ours[OF_PICTURES][r] = t[r][PICTURES];
        ours[OF_CROPS][r] = t[r][BOTH] - t[r][PICTURES];
        ours[OF_BOTH][r] = t[r][BOTH];
        theirs[OF_PICTURES][r] = t[r][BARE_PICTURES];
        theirs[OF_CROPS][r] = t[r][BARE_CROPS];
        theirs[OF_BOTH][r] = t[r][BARE_PICTURES] + t[r][BARE_CROPS];
    }
    print("pictures", pictures, rounds, ours[OF_PICTURES], theirs[OF_PICTURES]);
    if (crops > 0) {
        print("crops", crops, rounds, ours[OF_CROPS], theirs[OF_CROPS]);
    }
    print("both", pictures + crops, rounds, ours[OF_BOTH], theirs[OF_BOTH]);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_loader STORE [SIDE=224] [ROUNDS=9] [SECONDS=2]\n");
        return 64;
    }
    int side = argc > 2 ? atoi(argv[2]) : 224, rounds = argc > 3 ? atoi(argv[3]) : 9;
    double seconds = argc > 4 ? atof(argv[4]) : 2;
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    fc_store *s;
    check(fc_store_open(&s, argv[1]));
    if (s->codec != FC_CODEC_JPEG || (s->has_crops && s->crop_codec != FC_CODEC_JPEG)) {
        fprintf(stderr, "%s does not hold JPEG pictures and crops\n", argv[1]);
        return 65;
    }
    encoded pictures = read_all(&s->files->bytes, s->image_offsets, s->images), crops = {0};
    if (s->has_crops) {
        crops = read_all(&s->files->crop_bytes, s->crop_offsets, s->regions);
    }
    uint8_t *out = fc_alloc(MOST_BYTES, 1);
    fc_loader_options all = options_of(s, side), alone = all;
    alone.need_regions = alone.need_crops = alone.need_region_captions = false;
    static double time[MOST_ROUNDS][TIMES];
    for (int r = -1; r < rounds; r++) { /* the first round warms up */
        time_round(time[r < 0 ? 0 : r], s, &pictures, &crops, &alone, &all, out);
    }
    printf("%s: %lld pictures, %lld crops, side %d\n", s->path, (long long)s->images,
           (long long)crops.count, side);
    print_all(s->images, crops.count, rounds, time);
    for (int workers = 1; workers <= sysconf(_SC_NPROCESSORS_ONLN); workers *= 2) {
        printf("loader, %d thread%s      %8.0f a second by the clock\n", workers,
               workers > 1 ? "s" : " ", loaded(s, all, workers, seconds));
    }
    fc_free(&out);
    fc_free(&pictures.bytes);
    fc_free(&crops.bytes);
    fc_store_close(&s);
    return 0;
}
