/* Inner products whose value depends on the two rows alone, not on where they stand: equal rows
 * give equal scores, so that ties are ties (METHOD.md section 7). A thread owns a score and adds up
 * in the order of the columns. */
#include "core/cuda/device.cuh"

namespace
{

enum { SIDE = 16, DEPTH = 32, THREADS = SIDE * SIDE };

template <typename T>
__global__ void __launch_bounds__(THREADS)
    scores(const T *__restrict__ a_RW, const T *__restrict__ b_CW, float *__restrict__ y_RC,
           int64_t rows, int64_t cols, int64_t width)
{
    __shared__ float a_tile[SIDE][DEPTH + 1], b_tile[SIDE][DEPTH + 1];
    const int y = (int)threadIdx.x / SIDE, x = (int)threadIdx.x % SIDE;
    const int64_t first_row = (int64_t)blockIdx.y * SIDE, first_col = (int64_t)blockIdx.x * SIDE;
    float sum = 0;
    for (int64_t at = 0; at < width; at += DEPTH) {
        for (int i = (int)threadIdx.x; i < SIDE * DEPTH; i += THREADS) {
            const int r = i / DEPTH, k = i % DEPTH;
            const bool inside = at + k < width;
            a_tile[r][k] = inside && first_row + r < rows
                               ? to_float(a_RW[(first_row + r) * width + at + k])
                               : 0;
            b_tile[r][k] = inside && first_col + r < cols
                               ? to_float(b_CW[(first_col + r) * width + at + k])
                               : 0;
        }
        __syncthreads();
        for (int k = 0; k < DEPTH; k++) {
            sum = fmaf(a_tile[y][k], b_tile[x][k], sum);
        }
        __syncthreads();
    }
    if (first_row + y < rows && first_col + x < cols) {
        y_RC[(first_row + y) * cols + first_col + x] = sum;
    }
}

/* y is float in either type. */
template <typename T> void scores_fwd(const fci_scores_args &a, fc_arena *)
{
    const int64_t most = (int64_t)65535 * SIDE; /* rows a launch */
    for (int64_t row = 0; a.cols > 0 && row < a.rows; row += most) {
        const int64_t rows = a.rows - row < most ? a.rows - row : most;
        FC_LAUNCH((scores<T>), dim3(blocks_for(a.cols, SIDE), blocks_for(rows, SIDE)), THREADS, 0,
                  (const T *)a.a + row * a.width, (const T *)a.b, (float *)a.y + row * a.cols, rows,
                  a.cols, a.width);
    }
}

} // namespace

FC_CUDA_ENTRY(scores, fwd)
