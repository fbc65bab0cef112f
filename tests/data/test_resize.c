/* Resizing against PIL's results, and by reasoning where there are none. */
#include "core/memory.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "data/picture/resize_passes.h"
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `rows` of t are rows 0, step, 2 step, ... of a (size, size, 3) picture. */
static void compare(const fc_safetensors *st, const char *name, const uint8_t *got, int size)
{
    const fc_st_tensor *t = fc_safetensors_find(st, name);
    if (!FC_CHECK(t != NULL && t->ndim == 3 && t->shape[1] == size)) {
        return;
    }
    int64_t rows = t->shape[0], row = 3 * (int64_t)size, off = 0, worst = 0;
    for (int64_t y = 0; y < rows; y++) {
        const uint8_t *want = (const uint8_t *)t->data + y * row;
        const uint8_t *have = got + y * (size / rows) * row;
        for (int64_t i = 0; i < row; i++) {
            int64_t d = labs((long)want[i] - have[i]);
            off += d > 1;
            worst = d > worst ? d : worst;
        }
    }
    fc_check_true(worst <= 2 && off * 100 <= rows * row, __FILE__, __LINE__,
                  "%s: worst difference %lld, %lld of %lld values off by more than 1", name,
                  (long long)worst, (long long)off, (long long)(rows * row));
}

static void against_pil(void)
{
    static const char *const files[2] = {"prepare/000000069468.jpg", "prepare/000000125870.jpg"};
    static const fc_rect crops[2] = {{85, 64, 234, 224}, {128, 38, 352, 134}};
    fc_safetensors *st = NULL;
    uint8_t *out = fc_alloc(224 * 224, 3);
    if (!FC_CHECK_OK(fc_safetensors_open(&st, fc_check_golden("prepare/resize.safetensors")))) {
        fc_free(&out);
        return;
    }
    for (int i = 0; i < 2; i++) {
        fc_picture p;
        char name[64];
        if (!FC_CHECK_OK(fc_picture_load(&p, fc_check_golden(files[i])))) {
            continue;
        }
        if (i == 0) {
            FC_CHECK_OK(fc_picture_fit(&p, FC_FIT_SQUASH, 224, out, NULL, NULL));
            compare(st, "0.squash_bilinear_224", out, 224);
        }
        FC_CHECK_OK(fc_picture_fit(&p, FC_FIT_SQUASH, 64, out, NULL, NULL));
        snprintf(name, sizeof name, "%d.squash_bilinear_64", i);
        compare(st, name, out, 64);
        FC_CHECK_OK(fc_picture_fit(&p, FC_FIT_CENTER_CROP, 224, out, NULL, NULL));
        snprintf(name, sizeof name, "%d.shortest_bicubic_center_224", i);
        compare(st, name, out, 224);
        FC_CHECK_OK(fc_resize(&p, crops[i], FC_BILINEAR, 224, 224, out));
        snprintf(name, sizeof name, "%d.crop_squash_bilinear_224", i);
        compare(st, name, out, 224);
        fc_picture_free(&p);
    }
    fc_safetensors_close(&st);
    fc_free(&out);
}

static void check_rect(fc_rect got, int x0, int y0, int x1, int y1)
{
    fc_check_true(got.x0 == x0 && got.y0 == y0 && got.x1 == x1 && got.y1 == y1, __FILE__, __LINE__,
                  "rectangle %d %d %d %d, want %d %d %d %d", got.x0, got.y0, got.x1, got.y1, x0, y0,
                  x1, y1);
}

static void crop_rectangles(void)
{
    check_rect(fc_crop_rect((float[4]){10, 20, 30, 60}, 1, 100, 100), 10, 20, 30, 60);
    /* 20 x 40 grown to 30 x 60 about (20, 40) */
    check_rect(fc_crop_rect((float[4]){10, 20, 30, 60}, 1.5, 100, 100), 5, 10, 35, 70);
    /* cut at each border after growing */
    check_rect(fc_crop_rect((float[4]){0, 0, 20, 20}, 1.5, 100, 100), 0, 0, 25, 25);
    check_rect(fc_crop_rect((float[4]){80, 90, 100, 100}, 1.5, 100, 100), 75, 88, 100, 100);
    /* halves go to the even side: 2.5 -> 2, 3.5 -> 4, 12.5 -> 12 */
    check_rect(fc_crop_rect((float[4]){2.5f, 3.5f, 12.5f, 13.5f}, 1, 100, 100), 2, 4, 12, 14);
    /* never empty, never outside */
    check_rect(fc_crop_rect((float[4]){50.2f, 50.2f, 50.3f, 50.3f}, 1, 100, 100), 50, 50, 51, 51);
    check_rect(fc_crop_rect((float[4]){99.8f, 99.8f, 100, 100}, 1, 100, 100), 99, 99, 100, 100);
    check_rect(fc_crop_rect((float[4]){150, -30, 160, -20}, 1, 100, 100), 99, 0, 100, 1);
    check_rect(fc_crop_rect((float[4]){0, 0, 1, 1}, 1.5, 1, 1), 0, 0, 1, 1);
    fc_rect odd = fc_crop_rect((float[4]){NAN, 0, INFINITY, 1}, 1.5, 7, 5);
    FC_CHECK(odd.x0 >= 0 && odd.x1 > odd.x0 && odd.x1 <= 7);
}

static void by_reasoning(void)
{
    uint8_t pixels[4 * 4 * 3], out[64 * 64 * 3];
    for (int i = 0; i < 48; i++) {
        pixels[i] = (uint8_t)(5 * i);
    }
    fc_picture p = {.width = 4, .height = 4, .rgb = pixels};
    /* one pixel fills everything; what lies beside it is not seen */
    FC_CHECK_OK(fc_resize(&p, (fc_rect){2, 1, 3, 2}, FC_BILINEAR, 5, 3, out));
    bool constant = true;
    for (int i = 0; i < 45; i++) {
        constant = constant && out[i] == pixels[(1 * 4 + 2) * 3 + i % 3];
    }
    FC_CHECK(constant);
    /* the same size copies, also with one side only */
    FC_CHECK_OK(fc_resize(&p, (fc_rect){0, 0, 4, 4}, FC_BICUBIC, 4, 4, out));
    FC_CHECK(memcmp(out, pixels, 48) == 0);
    FC_CHECK_OK(fc_resize(&p, (fc_rect){0, 3, 4, 4}, FC_BILINEAR, 4, 2, out));
    FC_CHECK(memcmp(out, pixels + 36, 12) == 0 && memcmp(out + 12, pixels + 36, 12) == 0);
    /* halving with the triangle of width 2: weights 3/8 3/8 1/8 at the border (1/8 lost outside),
     * normalised */
    uint8_t line[12] = {0, 0, 0, 70, 70, 70, 140, 140, 140, 210, 210, 210};
    fc_picture q = {.width = 4, .height = 1, .rgb = line};
    FC_CHECK_OK(fc_resize(&q, (fc_rect){0, 0, 4, 1}, FC_BILINEAR, 2, 1, out));
    FC_CHECK_INT(out[0], (3 * 70 + 140) / 7);
    FC_CHECK_INT(out[3], (3 * 210 + 3 * 140 + 70) / 7);
    FC_CHECK_FAILS(fc_resize(&q, (fc_rect){0, 0, 5, 1}, FC_BILINEAR, 2, 1, out), FC_BUG,
                   "resize of");
    FC_CHECK_FAILS(fc_resize(&q, (fc_rect){2, 0, 2, 1}, FC_BILINEAR, 2, 1, out), FC_BUG,
                   "resize of");
}

static void fits(void)
{
    /* 3 x 2 -> 2: the long side int(2*3/2) = 3 stays, so the crop is a copy at offset round(0.5) =
     * 0 */
    uint8_t pixels[18], out[4 * 4 * 3];
    for (int i = 0; i < 18; i++) {
        pixels[i] = (uint8_t)(i * 7);
    }
    fc_picture p = {.width = 3, .height = 2, .rgb = pixels};
    double x, y;
    FC_CHECK_OK(fc_picture_fit(&p, FC_FIT_CENTER_CROP, 2, out, &x, &y));
    FC_CHECK(memcmp(out, pixels, 6) == 0 && memcmp(out + 6, pixels + 9, 6) == 0);
    /* 5 x 2 -> 2: offset round(1.5) = 2 */
    uint8_t wide[30];
    for (int i = 0; i < 30; i++) {
        wide[i] = (uint8_t)(i * 7);
    }
    fc_picture w = {.width = 5, .height = 2, .rgb = wide};
    FC_CHECK_OK(fc_picture_fit(&w, FC_FIT_CENTER_CROP, 2, out, &x, &y));
    FC_CHECK(memcmp(out, wide + 6, 6) == 0 && memcmp(out + 6, wide + 21, 6) == 0);
    /* longest: 3 x 2 -> 3 keeps the pixels and leaves the last row black; 2 x 3 the last column */
    memset(out, 1, sizeof out);
    FC_CHECK_OK(fc_picture_fit(&p, FC_FIT_LONGEST, 3, out, &x, &y));
    const uint8_t black[9] = {0};
    FC_CHECK(memcmp(out, pixels, 18) == 0 && memcmp(out + 18, black, 9) == 0);
    FC_CHECK_NEAR(x, 1.0 / 3, 1e-15);
    FC_CHECK_NEAR(y, 1.0 / 3, 1e-15);
    fc_picture tall = {.width = 2, .height = 3, .rgb = pixels};
    FC_CHECK_OK(fc_picture_fit(&tall, FC_FIT_LONGEST, 3, out, &x, &y));
    for (int row = 0; row < 3; row++) {
        FC_CHECK(memcmp(out + 9 * row, pixels + 6 * row, 6) == 0 &&
                 memcmp(out + 9 * row + 6, black, 3) == 0);
    }
    FC_CHECK_OK(fc_picture_fit(&p, FC_FIT_SQUASH, 4, out, &x, &y));
    FC_CHECK_NEAR(x, 1.0 / 3, 1e-15);
    FC_CHECK_NEAR(y, 1.0 / 2, 1e-15);
    int width, height;
    fc_picture_longest(1000, 3, 100, &width, &height);
    FC_CHECK(width == 100 && height == 1);
}

/* The arithmetic of METHOD.md section 2 as it stands there, one value after another. */
static double kernel_at(fc_filter filter, double x)
{
    x = fabs(x);
    if (filter == FC_BILINEAR) {
        return x < 1 ? 1 - x : 0;
    }
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* The most that magnitudes of an output's weights added up to: sums are int32 while it is below 2.
 */
static double most_weight;

/* One output of one axis: `in` values at `step` become `out`. */
static uint8_t one_value(const uint8_t *at, size_t step, int in, int out, int i, fc_filter filter)
{
    double scale = (double)in / out, widen = scale > 1 ? scale : 1;
    double reach = (filter == FC_BICUBIC ? 2 : 1) * widen, centre = (i + 0.5) * scale, sum = 0;
    int low = (int)fmax(centre - reach + 0.5, 0), high = (int)fmin(centre + reach + 0.5, in);
    int64_t total = 1 << 21;
    for (int k = low; k < high; k++) {
        sum += kernel_at(filter, (k - centre + 0.5) / widen);
    }
    double weight = 0;
    for (int k = low; k < high; k++) {
        double w = kernel_at(filter, (k - centre + 0.5) / widen) / sum;
        total += (int64_t)floor(w * (1 << 22) + 0.5) * at[(size_t)k * step];
        weight += fabs(w);
    }
    most_weight = fmax(most_weight, weight);
    total >>= 22;
    return (uint8_t)(total < 0 ? 0 : total > 255 ? 255 : total);
}

static void exactly(int width, int height, fc_rect from, int to_w, int to_h, fc_filter filter)
{
    fc_picture p = {width, height, fc_alloc((size_t)width * (size_t)height, 3)};
    int w = from.x1 - from.x0, h = from.y1 - from.y0;
    uint8_t *got = fc_alloc((size_t)to_w * (size_t)to_h, 3);
    uint8_t *between = fc_alloc((size_t)to_w * (size_t)h, 3);
    fc_rng rng = fc_rng_stream(9, FC_RNG_TEST, (uint64_t)width, (uint64_t)to_w);
    for (size_t i = 0; i < 3 * (size_t)width * (size_t)height; i++) {
        uint32_t r = fc_rng_u32(&rng); /* many at the ends, where clipping shows */
        p.rgb[i] = (uint8_t)(r % 3 == 0 ? r >> 8 : r % 3 == 1 ? 0 : 255);
    }
    FC_CHECK_OK(fc_resize(&p, from, filter, to_w, to_h, got));
    for (int y = 0; y < h; y++) {
        const uint8_t *row = p.rgb + 3 * ((size_t)(from.y0 + y) * (size_t)width + (size_t)from.x0);
        for (int i = 0; i < 3 * to_w; i++) {
            between[3 * to_w * y + i] = one_value(row + i % 3, 3, w, to_w, i / 3, filter);
        }
    }
    int64_t wrong = 0, far = 0;
    for (int i = 0; i < 3 * to_w * to_h; i++) {
        size_t step = 3 * (size_t)to_w;
        int want = one_value(between + i % (3 * to_w), step, h, to_h, i / (3 * to_w), filter);
        wrong += want != got[i];
        far += abs(want - got[i]) > 1;
    }
    /* a sum of doubles in another order may round a weight the other way */
    fc_check_true(far == 0 && wrong * 10000 <= 3 * (int64_t)to_w * to_h, __FILE__, __LINE__,
                  "%d x %d to %d x %d: %lld values differ, %lld by more than 1", w, h, to_w, to_h,
                  (long long)wrong, (long long)far);
    fc_free(&p.rgb);
    fc_free(&got);
    fc_free(&between);
}

static void to_the_bit(void)
{
    static const int sides[] = {1, 2, 3, 5, 6, 7, 16, 17, 40, 111};
    for (int f = FC_BILINEAR; f <= FC_BICUBIC; f++) {
        for (int a = 0; a < 10; a++) {
            for (int b = 0; b < 10; b++) {
                int in = sides[a], out = sides[b];
                exactly(in + 4, in + 3, (fc_rect){1, 2, in + 1, in + 2}, out, out, (fc_filter)f);
                exactly(in, in + 5, (fc_rect){0, 0, in, in + 5}, out, in + 5, (fc_filter)f);
                exactly(in, in, (fc_rect){0, 0, in, in}, in, out, (fc_filter)f);
            }
        }
        exactly(641, 480, (fc_rect){0, 0, 641, 480}, 224, 225, (fc_filter)f);
        exactly(3000, 20, (fc_rect){0, 0, 3000, 20}, 3, 3, (fc_filter)f);
    }
    FC_CHECK(most_weight > 1.2 && most_weight < 1.5);
}

static int some(fc_rng *rng, int most)
{
    return 1 + (int)fc_rng_below(rng, (uint64_t)most);
}

/* A rectangle somewhere in [0, width) x [0, height), often all of it. */
static fc_rect some_rect(fc_rng *rng, int width, int height)
{
    if (fc_rng_below(rng, 3) == 0) {
        return (fc_rect){0, 0, width, height};
    }
    int w = some(rng, width), h = some(rng, height);
    int x = some(rng, width - w + 1) - 1, y = some(rng, height - h + 1) - 1;
    return (fc_rect){x, y, x + w, y + h};
}

static void fill_somehow(fc_rng *rng, uint8_t *rgb, size_t bytes)
{
    uint64_t way = fc_rng_below(rng, 4);
    for (size_t i = 0; i < bytes; i++) {
        switch (way) {
        case 0: /* nothing but an extreme: sums at their ends */
            rgb[i] = i == 0 ? (fc_rng_u32(rng) & 1 ? 255 : 0) : rgb[0];
            break;
        case 1: /* both extremes: clipping with the cubic */
            rgb[i] = fc_rng_u32(rng) & 1 ? 255 : 0;
            break;
        default:
            rgb[i] = (uint8_t)fc_rng_u32(rng);
            break;
        }
    }
}

/* Every bit of what is used against the plain loops. Memory is as large as needed and no larger:
 * the sanitizers see what is touched beside it. */
static void used_as_plain(void)
{
    static const int most[] = {4, 12, 40, 130, 700};
    int64_t wrong = 0;
    for (uint64_t n = 0; n < 600; n++) {
        fc_rng rng = fc_rng_stream(10, FC_RNG_TEST, n, 0);
        int side[4]; /* of the picture, of the result */
        for (int i = 0; i < 4; i++) {
            side[i] = some(&rng, most[fc_rng_below(&rng, n % 20 == 0 ? 5 : 4)]);
        }
        fc_picture p = {side[0], side[1], fc_alloc((size_t)side[0] * (size_t)side[1], 3)};
        fill_somehow(&rng, p.rgb, 3 * (size_t)p.width * (size_t)p.height);
        fc_rect from = some_rect(&rng, p.width, p.height);
        int width = n % 7 == 0 ? from.x1 - from.x0 : side[2];
        int height = n % 8 == 0 ? from.y1 - from.y0 : side[3];
        fc_rect window = some_rect(&rng, width, height);
        fc_filter filter = n % 2 == 0 ? FC_BILINEAR : FC_BICUBIC;
        size_t bytes = 3 * (size_t)(window.x1 - window.x0) * (size_t)(window.y1 - window.y0);
        uint8_t *got = fc_alloc(bytes, 1), *want = fc_alloc(bytes, 1);
        FC_CHECK_OK(
            fci_resize_window(&fci_passes_used, &p, from, filter, width, height, window, got));
        FC_CHECK_OK(
            fci_resize_window(&fci_passes_plain, &p, from, filter, width, height, window, want));
        bool same = memcmp(got, want, bytes) == 0;
        wrong += !same;
        fc_check_true(same || wrong > 5, __FILE__, __LINE__,
                      "case %d: %d x %d of %d x %d to %d x %d, window %d %d %d %d: other bits",
                      (int)n, from.x1 - from.x0, from.y1 - from.y0, p.width, p.height, width,
                      height, window.x0, window.y0, window.x1, window.y1);
        fc_free(&p.rgb);
        fc_free(&got);
        fc_free(&want);
    }
    FC_CHECK(wrong == 0);
}

int main(void)
{
    to_the_bit();
    used_as_plain();
    against_pil();
    crop_rectangles();
    by_reasoning();
    fits();
    return fc_check_end();
}
