/* Resizing as PIL does it (METHOD.md section 2), and the rectangles around it.
 *
 * Weights are whole multiples of 2^-22, sums are int32, and 8 bits stand between the passes, so
 * that results agree with PIL bit for bit (Pillow up to 12: version 13 does the vertical pass first
 * where that is cheaper, which moves single values by a level). The inner loops work on eight int32
 * at a time: in the horizontal pass these are two neighbouring pixels (three channels each, two
 * lanes idle), so that no shuffling is needed. */
#include "core/memory.h"
#include "data/picture.h"

#include <math.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { WEIGHT_BITS = 22, LANES = 8 };

typedef int32_t lanes __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef uint8_t bytes8 __attribute__((vector_size(LANES)));

/* Weights of outputs [first, first + count) along one axis. */
typedef struct axis {
    int count, taps;  /* taps: room for one output; the rest is 0 */
    int *start;       /* (count) first input of each output */
    int *used;        /* (count) inputs of each output */
    int32_t *weights; /* (count, taps) in units of 2^-22 */
} axis;

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* in inputs become `out` outputs, of which [first, first + count) are wanted. */
static fc_status axis_init(axis *ax, int in, int64_t out, int first, int count, fc_filter filter)
{
    double (*const kernel)(double) = filter == FC_BICUBIC ? cubic : triangle;
    double scale = (double)in / (double)out, widen = fmax(scale, 1);
    double reach = (filter == FC_BICUBIC ? 2 : 1) * widen, narrow = 1 / widen;
    *ax = (axis){.count = count, .taps = (int)ceil(reach) * 2 + 1};
    size_t rows = (size_t)count, taps = (size_t)ax->taps;
    double *row = NULL;
    fc_status status;
    FC_TRY_GOTO(status, fc_try_alloc((void **)&ax->start, rows, sizeof(int), "resize"), done);
    FC_TRY_GOTO(status, fc_try_alloc((void **)&ax->used, rows, sizeof(int), "resize"), done);
    FC_TRY_GOTO(status, fc_try_alloc((void **)&ax->weights, rows * taps, sizeof(int32_t), "resize"),
                done);
    FC_TRY_GOTO(status, fc_try_alloc((void **)&row, taps, sizeof(double), "resize"), done);
    for (int i = 0; i < count; i++) {
        double centre = ((double)first + i + 0.5) * scale, sum = 0;
        int low = (int)fmax(centre - reach + 0.5, 0);
        int high = (int)fmin(centre + reach + 0.5, in);
        ax->start[i] = low;
        ax->used[i] = high - low;
        for (int k = 0; k < high - low; k++) {
            row[k] = kernel((k + low - centre + 0.5) * narrow);
            sum += row[k];
        }
        for (int k = 0; k < high - low; k++) {
            double w = row[k] / sum * (1 << WEIGHT_BITS);
            ax->weights[(size_t)i * taps + (size_t)k] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
        }
    }
done:
    fc_free(&row);
    return status;
}

static void axis_fini(axis *ax)
{
    fc_free(&ax->start);
    fc_free(&ax->used);
    fc_free(&ax->weights);
}

static lanes load_lanes(const uint8_t *p)
{
#ifdef __AVX2__ /* gcc 12 takes 30 instructions for what is one */
    return (lanes)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
#else
    bytes8 b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b, lanes);
#endif
}

static uint8_t clip(int32_t sum)
{
    int32_t v = sum >> WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* The weights of two neighbouring inputs in the lanes of load_lanes: w0 w0 w0 w1 w1 w1 0 0. */
static fc_status spread_weights(const axis *ax, int32_t **out, int *pairs)
{
    int n = (ax->taps + 1) / 2;
    *pairs = n;
    FC_TRY(fc_try_alloc((void **)out, (size_t)ax->count * (size_t)n, sizeof(lanes), "resize"));
    for (int i = 0; i < ax->count; i++) {
        const int32_t *w = ax->weights + (size_t)i * (size_t)ax->taps;
        for (int p = 0; p < n; p++) {
            int32_t a = w[2 * p], b = 2 * p + 1 < ax->taps ? w[2 * p + 1] : 0;
            int32_t spread[LANES] = {a, a, a, b, b, b, 0, 0};
            memcpy(*out + ((size_t)i * (size_t)n + (size_t)p) * LANES, spread, sizeof spread);
        }
    }
    return FC_OK;
}

static void horizontal_row(const axis *ax, const int32_t *spread, int pairs, const uint8_t *row,
                           uint8_t *out)
{
    for (int i = 0; i < ax->count; i++) {
        const uint8_t *in = row + (size_t)ax->start[i] * 3;
        const int32_t *w = spread + (size_t)i * (size_t)pairs * LANES;
        int n = (ax->used[i] + 1) / 2;
        lanes sum = {0};
        for (int p = 0; p < n; p++) {
            lanes weight;
            memcpy(&weight, w + (size_t)p * LANES, sizeof weight);
            sum += load_lanes(in + (size_t)p * 6) * weight;
        }
        const int32_t half = 1 << (WEIGHT_BITS - 1);
        out[3 * (size_t)i] = clip(sum[0] + sum[3] + half);
        out[3 * (size_t)i + 1] = clip(sum[1] + sum[4] + half);
        out[3 * (size_t)i + 2] = clip(sum[2] + sum[5] + half);
    }
}

/* Rows [first, first + rows) of `from` -> (rows, ax->count, 3). */
static fc_status horizontal(const axis *ax, const fc_picture *in, fc_rect from, int first, int rows,
                            uint8_t *out)
{
    int32_t *spread = NULL;
    uint8_t *copy = NULL;
    int pairs = 0;
    size_t row_bytes = (size_t)(from.x1 - from.x0) * 3;
    size_t total = (size_t)in->width * (size_t)in->height * 3;
    fc_status status;
    FC_TRY_GOTO(status, spread_weights(ax, &spread, &pairs), done);
    FC_TRY_GOTO(status, fc_try_alloc((void **)&copy, row_bytes + LANES, 1, "resize"), done);
    for (int y = 0; y < rows; y++) {
        size_t at = ((size_t)(from.y0 + first + y) * (size_t)in->width + (size_t)from.x0) * 3;
        const uint8_t *row = in->rgb + at;
        /* load_lanes reads up to 5 bytes past a row: harmless within the picture, not past its end.
         */
        if (at + row_bytes + LANES > total) {
            row = memcpy(copy, row, row_bytes);
        }
        horizontal_row(ax, spread, pairs, row, out + (size_t)y * (size_t)ax->count * 3);
    }
done:
    fc_free(&spread);
    fc_free(&copy);
    return status;
}

/* (rows, values) at stride -> (ax->count, values). */
static void vertical(const axis *ax, const uint8_t *in, size_t stride, size_t values, uint8_t *out)
{
    const lanes zero = {0}, top = zero + 255, half = zero + (1 << (WEIGHT_BITS - 1));
    for (int i = 0; i < ax->count; i++) {
        const uint8_t *rows = in + (size_t)ax->start[i] * stride;
        const int32_t *w = ax->weights + (size_t)i * (size_t)ax->taps;
        uint8_t *to = out + (size_t)i * values;
        size_t j = 0;
        for (; j + LANES <= values; j += LANES) {
            lanes sum = half;
            for (int k = 0; k < ax->used[i]; k++) {
                sum += load_lanes(rows + (size_t)k * stride + j) * w[k];
            }
            sum >>= WEIGHT_BITS;
            sum &= sum > zero;
            lanes over = sum > top;
            sum = (sum & ~over) | (top & over);
            bytes8 b = __builtin_convertvector(sum, bytes8);
            memcpy(to + j, &b, sizeof b);
        }
        for (; j < values; j++) {
            int32_t sum = 1 << (WEIGHT_BITS - 1);
            for (int k = 0; k < ax->used[i]; k++) {
                sum += rows[(size_t)k * stride + j] * w[k];
            }
            to[j] = clip(sum);
        }
    }
}

static void copy_rows(const uint8_t *from, size_t stride, size_t row_bytes, int rows, uint8_t *out)
{
    for (int y = 0; y < rows; y++) {
        memcpy(out + (size_t)y * row_bytes, from + (size_t)y * stride, row_bytes);
    }
}

/* `from` resized to (height, width), of which only `window` is computed. */
static fc_status resize_window(const fc_picture *in, fc_rect from, fc_filter filter, int64_t width,
                               int64_t height, fc_rect window, uint8_t *out)
{
    int from_w = from.x1 - from.x0, from_h = from.y1 - from.y0;
    int columns = window.x1 - window.x0, rows = window.y1 - window.y0;
    if (from_w <= 0 || from_h <= 0 || from.x0 < 0 || from.y0 < 0 || from.x1 > in->width ||
        from.y1 > in->height || columns <= 0 || rows <= 0) {
        return FC_FAIL(FC_BUG, "resize of [%d,%d) x [%d,%d) of a %d x %d picture to %d x %d",
                       from.x0, from.x1, from.y0, from.y1, in->width, in->height, columns, rows);
    }
    size_t row_bytes = (size_t)columns * 3, stride = (size_t)in->width * 3;
    const uint8_t *middle = in->rgb + (size_t)from.y0 * stride + (size_t)(from.x0 + window.x0) * 3;
    if (width == from_w && height == from_h) {
        copy_rows(middle + (size_t)window.y0 * stride, stride, row_bytes, rows, out);
        return FC_OK;
    }
    axis across = {0}, down = {0};
    uint8_t *between = NULL;
    fc_status status;
    FC_TRY_GOTO(status, axis_init(&down, from_h, height, window.y0, rows, filter), done);
    int first = down.start[0], end = first; /* the rows the vertical pass reads */
    for (int i = 0; i < rows; i++) {
        end = down.start[i] + down.used[i] > end ? down.start[i] + down.used[i] : end;
        down.start[i] -= first;
    }
    middle += (size_t)first * stride;
    if (width != from_w) { /* else the pass would copy: all its weights are 0 or 1 */
        size_t bytes = (size_t)(end - first) * row_bytes;
        FC_TRY_GOTO(status, fc_try_alloc((void **)&between, bytes, 1, "resize"), done);
        FC_TRY_GOTO(status, axis_init(&across, from_w, width, window.x0, columns, filter), done);
        FC_TRY_GOTO(status, horizontal(&across, in, from, first, end - first, between), done);
        middle = between;
        stride = row_bytes;
    }
    vertical(&down, middle, stride, row_bytes, out);
done:
    axis_fini(&across);
    axis_fini(&down);
    fc_free(&between);
    return status;
}

fc_status fc_resize(const fc_picture *in, fc_rect from, fc_filter filter, int width, int height,
                    uint8_t *out)
{
    FC_TRY(resize_window(in, from, filter, width, height, (fc_rect){0, 0, width, height}, out));
    return FC_OK;
}

static void round_span(double low, double high, int limit, int *first, int *end)
{
    /* fmin and fmax drop NaN, so that a damaged box still gives a rectangle inside the picture */
    *first = (int)nearbyint(fmin(fmax(low, 0), limit));
    *end = (int)nearbyint(fmin(fmax(high, 0), limit));
    if (*first >= limit) {
        *first = limit - 1;
    }
    if (*end <= *first) {
        *end = *first + 1;
    }
}

fc_rect fc_crop_rect(const float box[4], double scale, int width, int height)
{
    double half_w = ((double)box[2] - (double)box[0]) * scale / 2;
    double half_h = ((double)box[3] - (double)box[1]) * scale / 2;
    double x = ((double)box[0] + (double)box[2]) / 2, y = ((double)box[1] + (double)box[3]) / 2;
    fc_rect r;
    round_span(x - half_w, x + half_w, width, &r.x0, &r.x1);
    round_span(y - half_h, y + half_h, height, &r.y0, &r.y1);
    return r;
}

/* Short side to `size` (the long one truncated), bicubic, centre crop of size x size. */
static fc_status center_crop(const fc_picture *in, int size, uint8_t *out, double *scale_x,
                             double *scale_y)
{
    bool wide = in->width >= in->height;
    int64_t longer = wide ? in->width : in->height, shorter = wide ? in->height : in->width;
    int64_t side = (int64_t)size * longer / shorter;
    int64_t width = wide ? side : size, height = wide ? size : side;
    int x = (int)nearbyint((double)(width - size) / 2),
        y = (int)nearbyint((double)(height - size) / 2);
    *scale_x = (double)width / in->width / size;
    *scale_y = (double)height / in->height / size;
    FC_TRY(resize_window(in, (fc_rect){0, 0, in->width, in->height}, FC_BICUBIC, width, height,
                         (fc_rect){x, y, x + size, y + size}, out));
    return FC_OK;
}

static fc_status longest_side(const fc_picture *in, int size, uint8_t *out, double *scale_x,
                              double *scale_y)
{
    int width, height;
    fc_picture_longest(in->width, in->height, size, &width, &height);
    *scale_x = (double)width / in->width / size;
    *scale_y = (double)height / in->height / size;
    size_t row = (size_t)width * 3, full = (size_t)size * 3;
    memset(out, 0, full * (size_t)size);
    FC_TRY(fc_resize(in, (fc_rect){0, 0, in->width, in->height}, FC_BILINEAR, width, height, out));
    /* Spread the packed rows over full rows from the last one up, so that nothing is overwritten
     * before it moved. */
    for (int y = height - 1; y > 0 && row < full; y--) {
        memmove(out + (size_t)y * full, out + (size_t)y * row, row);
    }
    for (int y = 0; y < height && row < full; y++) {
        memset(out + (size_t)y * full + row, 0, full - row);
    }
    return FC_OK;
}

void fc_picture_longest(int width, int height, int size, int *new_width, int *new_height)
{
    int longer = width > height ? width : height;
    int w = (int)nearbyint((double)width * size / longer),
        h = (int)nearbyint((double)height * size / longer);
    *new_width = w > 0 ? w : 1;
    *new_height = h > 0 ? h : 1;
}

fc_status fc_picture_fit(const fc_picture *in, fc_fit fit, int size, uint8_t *out, double *scale_x,
                         double *scale_y)
{
    double x = 1.0 / in->width, y = 1.0 / in->height;
    switch (fit) {
    case FC_FIT_SQUASH:
        FC_TRY(fc_resize(in, (fc_rect){0, 0, in->width, in->height}, FC_BILINEAR, size, size, out));
        break;
    case FC_FIT_CENTER_CROP:
        FC_TRY(center_crop(in, size, out, &x, &y));
        break;
    case FC_FIT_LONGEST:
        FC_TRY(longest_side(in, size, out, &x, &y));
        break;
    }
    if (scale_x != NULL) {
        *scale_x = x;
    }
    if (scale_y != NULL) {
        *scale_y = y;
    }
    return FC_OK;
}
