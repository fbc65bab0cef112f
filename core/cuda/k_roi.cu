/* RoIAlign to 1x1 (METHOD.md section 3, "Box feature"; core/cpu/k_roi.c says why the weights of the
 * grid are products of one a row and one a column). First the weights of every box, then a weighted
 * sum over cells forward, and over boxes, in their order, on the way back. */
#include "core/cuda/device.cuh"

namespace
{

enum { THREADS = 128 };

/* A thread a box and axis: weights (box, axis, grid), axis 0 is x. Numbers and positions of samples
 * in float, in the published program's order: the count jumps where rounding does. y's are divided
 * by the number of samples; all are 0 where the box is empty. */
__global__ void roi_weights(const float *__restrict__ boxes, int64_t count, int grid,
                            float *__restrict__ weights)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count * 2) {
        return;
    }
    const int axis = (int)(i % 2);
    float *w = weights + i * grid, samples[2];
    for (int k = 0; k < 2; k++) {
        const float low = boxes[i / 2 * 4 + k], high = boxes[i / 2 * 4 + 2 + k];
        samples[k] = ceilf(__fadd_rn(__fmul_rn(high, (float)grid), -0.5F) -
                           __fadd_rn(__fmul_rn(low, (float)grid), -0.5F));
    }
    for (int k = 0; k < grid; k++) {
        w[k] = 0;
    }
    if (!(samples[0] >= 1) || !(samples[1] >= 1)) {
        return;
    }
    const float start = __fadd_rn(__fmul_rn(boxes[i / 2 * 4 + axis], (float)grid), -0.5F);
    const float size =
        __fadd_rn(__fmul_rn(boxes[i / 2 * 4 + 2 + axis], (float)grid), -0.5F) - start;
    const float each = axis == 0 ? 1.0F : 1.0F / (samples[0] * samples[1]);
    for (int64_t k = 0; k < (int64_t)samples[axis]; k++) {
        float at = start + ((float)k + 0.5F) * size / samples[axis];
        if (at < -1 || at > (float)grid) {
            continue;
        }
        at = fmaxf(at, 0);
        if (at >= (float)(grid - 1)) {
            w[grid - 1] += each;
            continue;
        }
        const int cell = (int)at;
        const float part = at - (float)cell;
        w[cell] += (1 - part) * each;
        w[cell + 1] += part * each;
    }
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    roi_align(const T *__restrict__ dense, const int32_t *__restrict__ image,
              const float *__restrict__ weights, T *__restrict__ y, int grid, int64_t cols)
{
    const float *wx = weights + (int64_t)blockIdx.x * 2 * grid, *wy = wx + grid;
    const T *from = dense + (int64_t)image[blockIdx.x] * grid * grid * cols;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        float sum = 0;
        for (int cell = 0; cell < grid * grid; cell++) {
            const float weight = wy[cell / grid] * wx[cell % grid];
            if (weight != 0) {
                sum += weight * to_float(from[cell * cols + j]);
            }
        }
        y[(int64_t)blockIdx.x * cols + j] = from_float<T>(sum);
    }
}

/* A block a cell of a picture. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    roi_align_ddense(const T *__restrict__ dy, const int32_t *__restrict__ image,
                     const float *__restrict__ weights, int64_t count, T *__restrict__ ddense,
                     bool add, int grid, int64_t cols)
{
    const int cells = grid * grid, cell = (int)(blockIdx.x % cells),
              picture = (int)(blockIdx.x / cells);
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        float sum[1] = {0};
        for (int64_t box = 0; box < count; box++) {
            if (image[box] == picture) {
                const float *wx = weights + box * 2 * grid, *wy = wx + grid;
                const float weight = wy[cell / grid] * wx[cell % grid];
                if (weight != 0) {
                    sum[0] += weight * to_float(dy[box * cols + j]);
                }
            }
        }
        put<T, 1>(ddense + (int64_t)blockIdx.x * cols + j, add, sum);
    }
}

const float *box_weights(const fci_roi_align_args &a, fc_arena *scratch)
{
    float *weights = scratch_array<float>(scratch, a.count * 2 * a.grid);
    if (a.count > 0) {
        FC_LAUNCH(roi_weights, blocks_for(a.count * 2, THREADS), THREADS, 0, a.boxes, a.count,
                  a.grid, weights);
    }
    return weights;
}

template <typename T> void roi_align_fwd(const fci_roi_align_args &a, fc_arena *scratch)
{
    if (a.count > 0) {
        FC_LAUNCH((roi_align<T>), (unsigned)a.count, THREADS, 0, (const T *)a.dense, a.image,
                  box_weights(a, scratch), (T *)a.y, a.grid, a.cols);
    }
}

template <typename T> void roi_align_bwd(const fci_roi_align_args &a, fc_arena *scratch)
{
    if (a.ddense.at != nullptr && a.pictures > 0) {
        FC_LAUNCH((roi_align_ddense<T>), (unsigned)(a.pictures * a.grid * a.grid), THREADS, 0,
                  (const T *)a.dy, a.image, box_weights(a, scratch), a.count, (T *)a.ddense.at,
                  a.ddense.add, a.grid, a.cols);
    }
}

} // namespace

FC_CUDA_ENTRY(roi_align, fwd)
FC_CUDA_ENTRY(roi_align, bwd)
