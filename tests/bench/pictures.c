/* What a picture costs `fineclip prepare`, beside what libjpeg-turbo alone needs for the decoding
 * and encoding in it. Both are timed in turn on the same pictures, in processor time of the thread,
 * so that the quotient holds on a busy machine too.
 *
 *   bench_pictures [REGIONS [ROUNDS]] PICTURE.jpg ...
 *
 * ours: read, hash, decode, place boxes, cut and resize crops (224 x 224), encode them. libjpeg:
 * decode the picture, encode the same crops. REGIONS: boxes a picture (4), a fifth to half of its
 * sides. */
#include "core/log.h"
#include "core/memory.h"
#include "core/rng.h"
#include "data/file.h"
#include "data/prepare/prepare_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jpeglib.h>

enum { CROP = 224, QUALITY = 95, MOST_REGIONS = 64 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The whole picture through libjpeg's own interface into rows that are there already. */
static void decode(const uint8_t *bytes, size_t count, uint8_t *rgb)
{
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, bytes, count);
    jpeg_read_header(&jpeg, TRUE);
    jpeg.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg);
    while (jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW row = rgb + (size_t)jpeg.output_scanline * jpeg.output_width * 3;
        jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
    jpeg_destroy_decompress(&jpeg);
}

static size_t encode(uint8_t *rgb)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *out = NULL;
    unsigned long count = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &out, &count);
    jpeg.image_width = jpeg.image_height = CROP;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, QUALITY, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row = rgb + (size_t)jpeg.next_scanline * CROP * 3;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(out); /* libjpeg's own memory */
    return count;
}

static void make_boxes(fci_plan_region *region, int regions, int width, int height,
                       uint64_t picture)
{
    fc_rng rng = fc_rng_stream(1, FC_RNG_BENCH, picture, 0);
    for (int i = 0; i < regions; i++) {
        double w = width * (0.2 + 0.3 * fc_rng_uniform(&rng));
        double h = height * (0.2 + 0.3 * fc_rng_uniform(&rng));
        region[i] = (fci_plan_region){
            .box = {(width - w) * fc_rng_uniform(&rng), (height - h) * fc_rng_uniform(&rng), w, h},
            .segment = -1,
            .category = -1,
            .score = 1};
    }
}

typedef struct times {
    double ours, decoding, encoding;
    int64_t pictures, crops;
    size_t sink;
} times;

static int time_picture(times *t, const fci_recipe *recipe, const char *path, int regions)
{
    uint8_t *bytes;
    size_t count;
    fc_picture crop = {0};
    fci_plan_region region[MOST_REGIONS];
    int width, height;
    if (fci_file_read(path, &bytes, &count) != FC_OK ||
        fc_picture_size(FC_CODEC_JPEG, bytes, count, &width, &height) != FC_OK) {
        fprintf(stderr, "bench_pictures: %s\n", fc_error_message());
        return 1;
    }
    make_boxes(region, regions, width, height, (uint64_t)t->pictures);
    fci_plan_image plan = {
        .name = path, .file = path, .bytes = -1, .regions = regions, .region = region};
    uint8_t *rgb = fc_alloc((size_t)width * (size_t)height, 3);
    decode(bytes, count, rgb); /* caches warm for both */
    fci_picture_job job = {.plan = &plan};
    double begin = now();
    fci_picture_job_run(&job, recipe, NULL);
    t->ours += now() - begin;
    begin = now();
    decode(bytes, count, rgb);
    t->decoding += now() - begin;
    for (int i = 0; i < job.regions; i++) {
        if (fc_picture_decode(&crop, FC_CODEC_JPEG, job.region[i].crop, job.region[i].crop_bytes) ==
            FC_OK) {
            begin = now();
            t->sink += encode(crop.rgb);
            t->encoding += now() - begin;
            fc_picture_free(&crop);
            t->crops++;
        }
    }
    t->pictures++;
    fci_picture_job_free(&job);
    fc_free(&rgb);
    fc_free(&bytes);
    return 0;
}

int main(int argc, char **argv)
{
    int first = 1, number[2] = {4, 5}; /* regions, rounds */
    for (int i = 0; i < 2 && first < argc && atoi(argv[first]) > 0; i++) {
        number[i] = atoi(argv[first++]);
    }
    if (first == argc || number[0] > MOST_REGIONS) {
        fprintf(stderr, "usage: bench_pictures [REGIONS [ROUNDS]] PICTURE.jpg ...\n");
        return 64;
    }
    const fci_recipe recipe = {.codec = FC_CODEC_JPEG,
                               .crop_codec = FC_CODEC_JPEG,
                               .context_length = 77,
                               .crops = true,
                               .crop_size = CROP,
                               .crop_scale = 1.5,
                               .crop_quality = QUALITY};
    times t = {0};
    fc_memory_keep(); /* as `prepare` does */
    for (int round = 0; round < number[1]; round++) {
        for (int i = first; i < argc; i++) {
            if (time_picture(&t, &recipe, argv[i], number[0]) != 0) {
                return 66;
            }
        }
    }
    double alone = t.decoding + t.encoding, n = (double)t.pictures;
    printf("%lld pictures with %lld crops: ours %.3f ms a picture; libjpeg-turbo alone %.3f ms "
           "(decoding %.3f, encoding %.3f); quotient %.3f\n",
           (long long)t.pictures, (long long)t.crops, 1e3 * t.ours / n, 1e3 * alone / n,
           1e3 * t.decoding / n, 1e3 * t.encoding / n, alone / t.ours);
    return 0;
}
