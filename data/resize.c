/* Resizing as PIL does it (METHOD.md section 2), and the rectangles around it.
 *
 * Weights are whole multiples of 2^-22, sums are int32, and 8 bits stand between the passes, so
 * that results agree with PIL bit for bit (Pillow up to 12: version 13 does the vertical pass first
 * where that is cheaper, which moves single values by a level). The inner loops multiply 16-bit
 * numbers and add them in pairs, one instruction for sixteen of them: a weight is split into its
 * lower WEIGHT_LOW bits and what is above, which changes nothing, as sums are exact. */
#include "core/memory.h"
#include "data/picture.h"

#include <math.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { WEIGHT_BITS = 22, WEIGHT_LOW = 11, GROUP = 4, AT_ONCE = 16 };

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

static uint8_t clip(int32_t sum)
{
    int32_t v = sum >> WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Weights of one output, GROUP inputs after another, as the horizontal pass takes them: the upper
 * parts of w0 w1 for three channels, then of w2 w3; then the lower parts in the same way. */
typedef struct spread {
    int16_t high[2][2 * GROUP], low[2][2 * GROUP];
} spread;

/* *groups: as many for every output, so that the loop over them is the same for all. */
static fc_status spread_weights(const axis *ax, spread **out, int *groups)
{
    int most = 0;
    for (int i = 0; i < ax->count; i++) {
        most = ax->used[i] > most ? ax->used[i] : most;
    }
    int n = (most + GROUP - 1) / GROUP;
    *groups = n;
    FC_TRY(fc_try_alloc((void **)out, (size_t)ax->count * (size_t)n, sizeof **out, "resize"));
    for (int i = 0; i < ax->count; i++) {
        for (int k = 0; k < ax->used[i]; k++) {
            int32_t w = ax->weights[(size_t)i * (size_t)ax->taps + (size_t)k];
            spread *to = *out + (size_t)i * (size_t)n + k / GROUP;
            int half = k % GROUP / 2, place = k % 2;
            for (int c = 0; c < 3; c++) {
                to->high[half][2 * c + place] = (int16_t)(w >> WEIGHT_LOW);
                to->low[half][2 * c + place] = (int16_t)(w & ((1 << WEIGHT_LOW) - 1));
            }
        }
    }
    return FC_OK;
}

static void vertical_few(const uint8_t *rows, size_t stride, const int32_t *w, int used,
                         size_t values, uint8_t *to)
{
    for (size_t j = 0; j < values; j++) {
        int32_t sum = 1 << (WEIGHT_BITS - 1);
        for (int k = 0; k < used; k++) {
            sum += rows[(size_t)k * stride + j] * w[k];
        }
        to[j] = clip(sum);
    }
}

#ifdef __AVX2__
/* Sums of products with upper and lower parts of weights, rounded: eight at once. */
static __m256i finish_sums(__m256i high, __m256i low)
{
    const __m256i half = _mm256_set1_epi32(1 << (WEIGHT_BITS - 1));
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, WEIGHT_LOW), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, half), WEIGHT_BITS);
}

/* Products of one output's inputs: sums of upper and of lower parts put together. In each half of
 * the eight numbers stand three channels of every other pair of inputs. */
static inline __m256i weigh(const spread *w, int groups, const uint8_t *in)
{
    /* of four pixels: r0 r1 g0 g1 b0 b1, and r2 r3 g2 g3 b2 b3, as 16-bit numbers */
    const __m256i pick =
        _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                         -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    __m256i high = _mm256_setzero_si256(), low = high;
    for (int g = 0; g < groups; g++) {
        __m128i four = _mm_loadu_si128((const void *)(in + (size_t)g * 3 * GROUP));
        __m256i x = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(four), pick);
        high = _mm256_add_epi32(high,
                                _mm256_madd_epi16(x, _mm256_loadu_si256((const void *)w[g].high)));
        low =
            _mm256_add_epi32(low, _mm256_madd_epi16(x, _mm256_loadu_si256((const void *)w[g].low)));
    }
    return _mm256_add_epi32(_mm256_slli_epi32(high, WEIGHT_LOW), low);
}

static inline void two_rows(const axis *ax, const spread *weights, int groups, const uint8_t *row,
                            size_t step, uint8_t *out, size_t out_step)
{
    const __m256i half = _mm256_set1_epi32(1 << (WEIGHT_BITS - 1));
    for (int i = 0; i < ax->count; i++) {
        const uint8_t *in = row + (size_t)ax->start[i] * 3;
        const spread *w = weights + (size_t)i * (size_t)groups;
        __m256i a = weigh(w, groups, in), b = weigh(w, groups, in + step);
        __m256i sum = _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                                       _mm256_permute2x128_si256(a, b, 0x31));
        sum = _mm256_srai_epi32(_mm256_add_epi32(sum, half), WEIGHT_BITS);
        sum = _mm256_packs_epi32(sum, sum);
        sum = _mm256_packus_epi16(sum, sum);
        uint32_t pixel[2] = {(uint32_t)_mm256_extract_epi32(sum, 0),
                             (uint32_t)_mm256_extract_epi32(sum, 4)};
        uint8_t *to = out + 3 * (size_t)i;
        /* four bytes, the last of which belongs to the next pixel */
        memcpy(to, &pixel[0], i + 1 < ax->count ? 4 : 3);
        memcpy(to + out_step, &pixel[1], i + 1 < ax->count ? 4 : 3);
    }
}

/* Two rows at a time, `step` and `out_step` bytes apart, which share the weights. Reads up to
 * 3 GROUP groups + 4 bytes past the inputs it uses, with weight 0. */
static void horizontal_rows(const axis *ax, const spread *weights, int groups, const uint8_t *row,
                            size_t step, uint8_t *out, size_t out_step)
{
    switch (groups) { /* unrolled for all that is common */
    case 1:
        two_rows(ax, weights, 1, row, step, out, out_step);
        break;
    case 2:
        two_rows(ax, weights, 2, row, step, out, out_step);
        break;
    default:
        two_rows(ax, weights, groups, row, step, out, out_step);
        break;
    }
}

/* AT_ONCE neighbouring values. */
static void vertical_values(const uint8_t *rows, size_t stride, const int32_t *w, int used,
                            uint8_t *to)
{
    __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i low[2] = {high[0], high[0]};
    for (int k = 0; k < used; k += 2) {
        bool pair = k + 1 < used;
        int32_t a = w[k], b = pair ? w[k + 1] : 0;
        const int32_t upper =
            (int32_t)((uint32_t)(b >> WEIGHT_LOW) << 16) | ((a >> WEIGHT_LOW) & 0xffff);
        const int32_t mask = (1 << WEIGHT_LOW) - 1, lower = (b & mask) << 16 | (a & mask);
        const uint8_t *at = rows + (size_t)k * stride;
        __m128i p = _mm_loadu_si128((const void *)at);
        __m128i q = _mm_loadu_si128((const void *)(pair ? at + stride : at));
        __m256i x[2] = {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(p, q)),
                        _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(p, q))};
        for (int i = 0; i < 2; i++) {
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(x[i], _mm256_set1_epi32(upper)));
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(x[i], _mm256_set1_epi32(lower)));
        }
    }
    __m256i words = _mm256_packs_epi32(finish_sums(high[0], low[0]), finish_sums(high[1], low[1]));
    words = _mm256_permute4x64_epi64(words, 0xd8); /* packing works within halves */
    _mm_storeu_si128((void *)to, _mm_packus_epi16(_mm256_castsi256_si128(words),
                                                  _mm256_extracti128_si256(words, 1)));
}
#else
static void horizontal_rows(const axis *ax, const spread *weights, int groups, const uint8_t *row,
                            size_t step, uint8_t *out, size_t out_step)
{
    (void)weights;
    (void)groups;
    for (int i = 0; i < 2 * 3 * ax->count; i++) {
        int c = i % 3, pixel = i / 3 % ax->count, y = i / 3 / ax->count;
        const int32_t *w = ax->weights + (size_t)pixel * (size_t)ax->taps;
        const uint8_t *in = row + (size_t)y * step + 3 * (size_t)ax->start[pixel] + (size_t)c;
        int32_t sum = 1 << (WEIGHT_BITS - 1);
        for (int k = 0; k < ax->used[pixel]; k++) {
            sum += in[3 * (size_t)k] * w[k];
        }
        out[(size_t)y * out_step + 3 * (size_t)pixel + (size_t)c] = clip(sum);
    }
}

static void vertical_values(const uint8_t *rows, size_t stride, const int32_t *w, int used,
                            uint8_t *to)
{
    vertical_few(rows, stride, w, used, AT_ONCE, to);
}
#endif

/* Rows [first, first + rows) of `from` -> (rows, ax->count, 3). */
static fc_status horizontal(const axis *ax, const fc_picture *in, fc_rect from, int first, int rows,
                            uint8_t *out)
{
    spread *weights = NULL;
    uint8_t *copy = NULL;
    int groups = 0;
    size_t row_bytes = (size_t)(from.x1 - from.x0) * 3;
    size_t total = (size_t)in->width * (size_t)in->height * 3;
    fc_status status;
    FC_TRY_GOTO(status, spread_weights(ax, &weights, &groups), done);
    size_t overread = 3 * GROUP * (size_t)groups + 4;
    FC_TRY_GOTO(status, fc_try_alloc((void **)&copy, row_bytes + overread, 2, "resize"), done);
    size_t stride = (size_t)in->width * 3, out_row = (size_t)ax->count * 3;
    for (int y = 0; y < rows; y += 2) {
        bool pair = y + 1 < rows;
        size_t at = (size_t)(from.y0 + first + y) * stride + (size_t)from.x0 * 3;
        const uint8_t *row = in->rgb + at;
        size_t step = pair ? stride : 0; /* a last row alone is computed twice */
        /* what is read past a row is harmless within the picture, not past its end */
        if (at + step + row_bytes + overread > total) {
            memcpy(copy, row, row_bytes);
            memcpy(copy + row_bytes + overread, row + step, row_bytes);
            row = copy;
            step = row_bytes + overread;
        }
        horizontal_rows(ax, weights, groups, row, step, out + (size_t)y * out_row,
                        pair ? out_row : 0);
    }
done:
    fc_free(&weights);
    fc_free(&copy);
    return status;
}

/* (rows, values) at stride -> (ax->count, values). */
static void vertical(const axis *ax, const uint8_t *in, size_t stride, size_t values, uint8_t *out)
{
    for (int i = 0; i < ax->count; i++) {
        const uint8_t *rows = in + (size_t)ax->start[i] * stride;
        const int32_t *w = ax->weights + (size_t)i * (size_t)ax->taps;
        uint8_t *to = out + (size_t)i * values;
        if (values < AT_ONCE) {
            vertical_few(rows, stride, w, ax->used[i], values, to);
            continue;
        }
        for (size_t j = 0; j + AT_ONCE <= values; j += AT_ONCE) {
            vertical_values(rows + j, stride, w, ax->used[i], to + j);
        }
        size_t last = values - AT_ONCE; /* some of them a second time where they do not divide */
        vertical_values(rows + last, stride, w, ax->used[i], to + last);
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
        FC_TRY_GOTO(status, fc_try_room((void **)&between, bytes, 1, "resize"), done);
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
