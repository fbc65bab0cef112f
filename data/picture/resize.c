/* Resizing as PIL does it (METHOD.md section 2), and the rectangles around it.
 *
 * Weights are whole multiples of 2^-22, sums are int32, and 8 bits stand between the passes, so
 * that results agree with PIL bit for bit (Pillow up to 12: version 13 does the vertical pass first
 * where that is cheaper, which moves single values by a level). Of the rows between the passes only
 * those that the vertical one still reads are kept, so that they stay in the nearest cache. */
#include "core/memory.h"
#include "data/picture/resize_passes.h"

#include <math.h>
#include <string.h>

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

/* Weights of output i, whose inputs begin at `low`; row: room for them. */
static void weigh_inputs(fci_axis *ax, int i, int low, double centre, double narrow,
                         fc_filter filter, double *row)
{
    int32_t *weights = ax->weights + (size_t)i * (size_t)ax->taps;
    double sum = 0;
    for (int k = 0; k < ax->used[i]; k++) {
        double x = (k + low - centre + 0.5) * narrow;
        row[k] = filter == FC_BICUBIC ? cubic(x) : triangle(x);
        sum += row[k];
    }
    for (int k = 0; k < ax->used[i]; k++) {
        double w = row[k] / sum * (1 << FCI_WEIGHT_BITS);
        weights[k] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
}

static fc_status split_weights(fci_axis *ax, size_t outputs)
{
    int most = 0;
    for (int i = 0; i < ax->count; i++) {
        most = ax->used[i] > most ? ax->used[i] : most;
    }
    ax->pairs = (most + 1) / 2;
    size_t pairs = (size_t)ax->pairs;
    FC_TRY(fc_try_alloc((void **)&ax->split, outputs * pairs, sizeof *ax->split, "resize"));
    for (int i = 0; i < ax->count; i++) {
        const int32_t *w = ax->weights + (size_t)i * (size_t)ax->taps;
        fci_weight_pair *to = ax->split + (size_t)i * pairs;
        for (int k = 0; k < ax->used[i]; k++) {
            to[k / 2].high[k % 2] = (int16_t)(w[k] >> FCI_WEIGHT_LOW);
            to[k / 2].low[k % 2] = (int16_t)(w[k] & ((1 << FCI_WEIGHT_LOW) - 1));
        }
    }
    return FC_OK;
}

/* in inputs become `out` outputs, of which [first, first + count) are wanted. */
static fc_status axis_init(fci_axis *ax, int in, int64_t out, int first, int count,
                           fc_filter filter)
{
    double scale = (double)in / (double)out, widen = scale > 1 ? scale : 1;
    double reach = (filter == FC_BICUBIC ? 2 : 1) * widen, narrow = 1 / widen;
    *ax = (fci_axis){.count = count, .taps = (int)ceil(reach) * 2 + 1};
    size_t n = (size_t)count, taps = (size_t)ax->taps, outputs = n + FCI_GROUP - 1;
    double *row = NULL;
    fc_status status;
    FC_TRY_GOTO(status, fc_try_alloc((void **)&ax->start, outputs, sizeof(int), "resize"), done);
    FC_TRY_GOTO(status, fc_try_alloc((void **)&ax->used, n, sizeof(int), "resize"), done);
    FC_TRY_GOTO(status, fc_try_alloc((void **)&ax->weights, n * taps, sizeof(int32_t), "resize"),
                done);
    FC_TRY_GOTO(status, fc_try_alloc((void **)&row, taps, sizeof(double), "resize"), done);
    for (int i = 0; i < count; i++) {
        double centre = ((double)first + i + 0.5) * scale;
        int low = (int)(centre - reach + 0.5), high = (int)(centre + reach + 0.5);
        ax->start[i] = low > 0 ? low : 0;
        ax->used[i] = (high < in ? high : in) - ax->start[i];
        weigh_inputs(ax, i, ax->start[i], centre, narrow, filter, row);
    }
    FC_TRY_GOTO(status, split_weights(ax, outputs), done);
done:
    fc_free(&row);
    return status;
}

static void axis_fini(fci_axis *ax)
{
    fc_free(&ax->start);
    fc_free(&ax->used);
    fc_free(&ax->weights);
    fc_free(&ax->split);
}

static void copy_rows(const uint8_t *from, size_t stride, size_t row_bytes, int rows, uint8_t *out)
{
    for (int y = 0; y < rows; y++) {
        memcpy(out + (size_t)y * row_bytes, from + (size_t)y * stride, row_bytes);
    }
}

/* Rows of the part that is resized, resized across: a window on them that moves down. */
typedef struct strip {
    const fci_passes *passes;
    const fci_axis *across; /* count 0: the width stays */
    const uint8_t *in;      /* the part's first row */
    size_t in_stride, in_bytes;
    size_t left; /* bytes of the picture from `in` to its end */
    int height;
    uint8_t *rows; /* (room, stride), of which rows [first, end) of the part are there */
    size_t stride;
    int room, first, end;
    uint8_t *copies; /* (FCI_BAND, in_bytes + beyond): rows too near the picture's end */
    size_t beyond;
} strip;

/* most: rows that are asked for at once. */
static fc_status strip_init(strip *s, int columns, int first, int most)
{
    bool all = s->height - first < 2 * most; /* then the window never moves */
    s->first = s->end = first;
    s->room = (all ? s->height - first : 2 * most) + FCI_BAND;
    s->stride = fci_across_row(columns);
    s->beyond = fci_across_beyond(s->across);
    FC_TRY(fc_try_alloc((void **)&s->rows, (size_t)s->room, s->stride, "resize"));
    FC_TRY(fc_try_alloc((void **)&s->copies, FCI_BAND, s->in_bytes + s->beyond, "resize"));
    return FC_OK;
}

static void strip_fini(strip *s)
{
    fc_free(&s->rows);
    fc_free(&s->copies);
}

/* The next FCI_BAND rows; where fewer are left the last one more than once. */
static void strip_extend(strip *s)
{
    const uint8_t *rows[FCI_BAND];
    uint8_t *out = s->rows + (size_t)(s->end - s->first) * s->stride;
    int left = s->height - s->end, count = left < FCI_BAND ? left : FCI_BAND;
    for (int r = 0; r < FCI_BAND; r++) {
        size_t at = (size_t)(s->end + (r < count ? r : count - 1)) * s->in_stride;
        rows[r] = s->in + at;
        /* what is read past a row is harmless within the picture, not past its end */
        if (at + s->in_bytes + s->beyond > s->left) {
            uint8_t *copy = s->copies + (size_t)r * (s->in_bytes + s->beyond);
            rows[r] = memcpy(copy, s->in + at, s->in_bytes);
        }
    }
    if (s->across->count > 0) {
        s->passes->across(s->across, rows, out, s->stride);
    } else { /* the pass would copy: all its weights are 0 or 1 */
        for (int r = 0; r < FCI_BAND; r++) {
            memcpy(out + (size_t)r * s->stride, rows[r], s->in_bytes);
        }
    }
    s->end += count;
}

/* Rows [low, high), stride bytes apart; rows before `low` are not asked for again. */
static const uint8_t *strip_rows(strip *s, int low, int high)
{
    if (high - s->first + FCI_BAND > s->room) {
        memmove(s->rows, s->rows + (size_t)(low - s->first) * s->stride,
                (size_t)(s->end - low) * s->stride);
        s->first = low;
    }
    while (s->end < high) {
        strip_extend(s);
    }
    return s->rows + (size_t)(low - s->first) * s->stride;
}

/* Both passes, row after row; s: what strip_init does not set. */
static fc_status resize_rows(strip *s, const fci_axis *down, int columns, uint8_t *out)
{
    size_t values = 3 * (size_t)columns;
    fc_status status;
    FC_TRY_GOTO(status, strip_init(s, columns, down->start[0], 2 * down->pairs), done);
    for (int i = 0; i < down->count; i++) {
        int low = down->start[i];
        const uint8_t *rows = strip_rows(s, low, low + down->used[i]);
        s->passes->down(down, i, rows, s->stride, values, out + (size_t)i * values);
    }
done:
    strip_fini(s);
    return status;
}

fc_status fci_resize_window(const fci_passes *passes, const fc_picture *in, fc_rect from,
                            fc_filter filter, int64_t width, int64_t height, fc_rect window,
                            uint8_t *out)
{
    int from_w = from.x1 - from.x0, from_h = from.y1 - from.y0;
    int columns = window.x1 - window.x0, rows = window.y1 - window.y0;
    if (from_w <= 0 || from_h <= 0 || from.x0 < 0 || from.y0 < 0 || from.x1 > in->width ||
        from.y1 > in->height || columns <= 0 || rows <= 0) {
        return FC_FAIL(FC_BUG, "resize of [%d,%d) x [%d,%d) of a %d x %d picture to %d x %d",
                       from.x0, from.x1, from.y0, from.y1, in->width, in->height, columns, rows);
    }
    bool same_width = width == from_w; /* then only the window's columns are taken */
    size_t row_bytes = (size_t)columns * 3, stride = (size_t)in->width * 3;
    size_t at =
        (size_t)from.y0 * stride + 3 * ((size_t)from.x0 + (same_width ? (size_t)window.x0 : 0));
    if (same_width && height == from_h) {
        copy_rows(in->rgb + at + (size_t)window.y0 * stride, stride, row_bytes, rows, out);
        return FC_OK;
    }
    fci_axis across = {0}, down = {0};
    strip s = {.passes = passes,
               .across = &across,
               .in = in->rgb + at,
               .in_stride = stride,
               .in_bytes = same_width ? row_bytes : 3 * (size_t)from_w,
               .left = stride * (size_t)in->height - at,
               .height = from_h};
    fc_status status;
    if (!same_width) {
        FC_TRY_GOTO(status, axis_init(&across, from_w, width, window.x0, columns, filter), done);
    }
    FC_TRY_GOTO(status, axis_init(&down, from_h, height, window.y0, rows, filter), done);
    FC_TRY_GOTO(status, resize_rows(&s, &down, columns, out), done);
done:
    axis_fini(&across);
    axis_fini(&down);
    return status;
}

fc_status fc_resize(const fc_picture *in, fc_rect from, fc_filter filter, int width, int height,
                    uint8_t *out)
{
    FC_TRY(fci_resize_window(&fci_passes_used, in, from, filter, width, height,
                             (fc_rect){0, 0, width, height}, out));
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
    FC_TRY(fci_resize_window(&fci_passes_used, in, (fc_rect){0, 0, in->width, in->height},
                             FC_BICUBIC, width, height, (fc_rect){x, y, x + size, y + size}, out));
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
