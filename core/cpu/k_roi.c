/* RoIAlign to 1x1 (METHOD.md section 3, "Box feature").
 *
 * A bilinear sample's weight is a product of one in y and one in x, and a sample is outside as soon
 * as it is in one of them; so the mean over all samples is a weighted sum over the grid whose
 * weights are products of sums over the samples of one axis. */
#include "core/cpu/threads.h"

/* Weights of the grid's lines in the sum over one axis' samples; returns how many samples there are
 * (0: empty box). Position and number of samples are computed in float for both types, in the order
 * the published program does it: the count jumps where rounding does. */
static int64_t axis_weights(float low, float high, int grid, real *weights)
{
    const float start = low * (float)grid - 0.5F, size = high * (float)grid - 0.5F - start;
    const float count = ceilf(size);
    memset(weights, 0, (size_t)grid * sizeof(real));
    if (!(count >= 1)) {
        return 0;
    }
    const int64_t samples = (int64_t)count;
    for (int64_t i = 0; i < samples; i++) {
        real at = (real)start + ((real)i + (real)0.5) * (real)size / (real)count;
        if (at < -1 || at > (real)grid) {
            continue;
        }
        at = at < 0 ? 0 : at;
        if (at >= (real)(grid - 1)) {
            weights[grid - 1] += 1;
            continue;
        }
        const int64_t cell = (int64_t)at;
        const real part = at - (real)cell;
        weights[cell] += 1 - part;
        weights[cell + 1] += part;
    }
    return samples;
}

/* y: (grid) weights of rows, divided by the number of samples; x those of columns. False where the
 * box is empty. */
static bool box_weights(const float *box, int grid, real *x, real *y)
{
    const int64_t samples =
        axis_weights(box[0], box[2], grid, x) * axis_weights(box[1], box[3], grid, y);
    for (int i = 0; samples > 0 && i < grid; i++) {
        y[i] /= (real)samples;
    }
    return samples > 0;
}

static void add_scaled(real *restrict y, const real *restrict x, real scale, int64_t n)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        y[j] = fci_fma(scale, x[j], y[j]);
    }
}

void FC_FN(roi_align_fwd)(const fci_roi_align_args *a, fc_arena *scratch)
{
    const int64_t n = a->cols, grid = a->grid;
    real *weights = fci_reals(scratch, 2 * grid * omp_get_max_threads());
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < a->count; i++) {
        real *x = weights + 2 * grid * omp_get_thread_num(), *y = x + grid;
        real *to = (real *)a->y + i * n;
        const real *from = (const real *)a->dense + a->image[i] * grid * grid * n;
        memset(to, 0, (size_t)n * sizeof(real));
        if (!box_weights(a->boxes + 4 * i, a->grid, x, y)) {
            continue;
        }
        for (int64_t cell = 0; cell < grid * grid; cell++) {
            const real weight = y[cell / grid] * x[cell % grid];
            if (weight != 0) {
                add_scaled(to, from + cell * n, weight, n);
            }
        }
    }
}

/* A picture's gradient belongs to one thread, which takes its boxes in their order. */
void FC_FN(roi_align_bwd)(const fci_roi_align_args *a, fc_arena *scratch)
{
    const int64_t n = a->cols, grid = a->grid, cells = grid * grid;
    if (a->ddense.at == NULL) {
        return;
    }
    real *weights = fci_reals(scratch, 2 * grid * omp_get_max_threads());
#pragma omp parallel for schedule(dynamic)
    for (int64_t picture = 0; picture < a->pictures; picture++) {
        real *x = weights + 2 * grid * omp_get_thread_num(), *y = x + grid;
        real *to = (real *)a->ddense.at + picture * cells * n;
        if (!a->ddense.add) {
            memset(to, 0, (size_t)(cells * n) * sizeof(real));
        }
        for (int64_t i = 0; i < a->count; i++) {
            if (a->image[i] != picture || !box_weights(a->boxes + 4 * i, a->grid, x, y)) {
                continue;
            }
            const real *from = (const real *)a->dy + i * n;
            for (int64_t cell = 0; cell < cells; cell++) {
                const real weight = y[cell / grid] * x[cell % grid];
                if (weight != 0) {
                    add_scaled(to + cell * n, from, weight, n);
                }
            }
        }
    }
}
