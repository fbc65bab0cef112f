#include "launch/explain/heatmap.h"

#include "core/memory.h"

#include <math.h>
#include <string.h>

void fc_heatmap_normalize(double *map, int64_t count)
{
    double low = INFINITY, high = -INFINITY;
    bool finite = true;
    for (int64_t i = 0; i < count; i++) {
        low = fmin(low, map[i]);
        high = fmax(high, map[i]);
        finite = finite && isfinite(map[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        map[i] = finite && high > low ? (map[i] - low) / (high - low) : 0;
    }
}

/* Length of patch `at` of `grid` that lies between two fractions, in patches. */
static double overlap(int at, int grid, double from, double to)
{
    const double low = fmax(from * grid, at), high = fmin(to * grid, at + 1);
    return high > low ? high - low : 0;
}

double fc_heatmap_lift(const double *map, int grid, const double box[4])
{
    double inside = 0, area = 0, all = 0;
    for (int y = 0; y < grid; y++) {
        for (int x = 0; x < grid; x++) {
            const double part = overlap(x, grid, box[0], box[2]) * overlap(y, grid, box[1], box[3]);
            inside += part * map[y * grid + x];
            area += part;
            all += map[y * grid + x];
        }
    }
    return all > 0 && area > 0 ? inside / all / (area / ((double)grid * grid)) : 0;
}

bool fc_heatmap_peak_inside(const double *map, int grid, const double box[4])
{
    int best = 0;
    for (int i = 1; i < grid * grid; i++) {
        best = map[i] > map[best] ? i : best;
    }
    const double x = (best % grid + 0.5) / grid, y = (best / grid + 0.5) / grid;
    return x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
}

/* Where pixel `at` of `count` lies among `grid` values: the lower neighbour and its weight. */
static int neighbour(int at, int count, int grid, double *weight)
{
    const double place = (at + 0.5) * grid / count - 0.5;
    const double within = fmin(fmax(place, 0), grid - 1);
    int low = (int)within;
    low = low > grid - 2 ? grid - 2 : low;
    low = low < 0 ? 0 : low;
    *weight = 1 - (within - low);
    return low;
}

void fc_heatmap_resize(const double *map, int grid, int width, int height, double *out)
{
    const int step = grid > 1 ? 1 : 0;
    for (int y = 0; y < height; y++) {
        double down, right;
        const double *row = map + (int64_t)neighbour(y, height, grid, &down) * grid;
        const double *next = row + (int64_t)step * grid;
        for (int x = 0; x < width; x++) {
            const int at = neighbour(x, width, grid, &right);
            out[(int64_t)y * width + x] =
                down * (right * row[at] + (1 - right) * row[at + step]) +
                (1 - down) * (right * next[at] + (1 - right) * next[at + step]);
        }
    }
}

void fc_heatmap_color(double value, double rgb[3])
{
    for (int c = 0; c < 3; c++) {
        const double from_peak =
            fabs(4 * value - (3 - c)); /* red at 3/4, green at 1/2, blue at 1/4 */
        rgb[c] = fmin(fmax(1.5 - from_peak, 0), 1);
    }
}

void fc_heatmap_overlay(fc_picture *out, const fc_picture *picture, double *map, int grid)
{
    const int64_t pixels = (int64_t)picture->width * picture->height;
    double *heat = fc_alloc((size_t)pixels, sizeof *heat);
    double *sum = fc_alloc((size_t)pixels * 3, sizeof *sum), most = 1e-12;
    uint8_t low = UINT8_MAX, high = 0;
    for (int64_t i = 0; i < 3 * pixels; i++) {
        low = picture->rgb[i] < low ? picture->rgb[i] : low;
        high = picture->rgb[i] > high ? picture->rgb[i] : high;
    }
    const double range = high > low ? high - low : 1;
    fc_heatmap_normalize(map, (int64_t)grid * grid);
    fc_heatmap_resize(map, grid, picture->width, picture->height, heat);
    for (int64_t i = 0; i < pixels; i++) {
        fc_heatmap_color(heat[i], sum + 3 * i);
        for (int c = 0; c < 3; c++) {
            sum[3 * i + c] += (picture->rgb[3 * i + c] - low) / range;
            most = fmax(most, sum[3 * i + c]);
        }
    }
    *out = (fc_picture){.width = picture->width, .height = picture->height};
    out->rgb = fc_alloc((size_t)pixels * 3, 1);
    for (int64_t i = 0; i < 3 * pixels; i++) {
        out->rgb[i] = (uint8_t)lrint(255 * sum[i] / most);
    }
    fc_free(&heat);
    fc_free(&sum);
}
