/* Second halves of sums: what blocks left, added up in their order. */
#ifndef FC_CORE_CUDA_SUM_CUH
#define FC_CORE_CUDA_SUM_CUH

#include "core/cuda/device.cuh"

enum { SUM_THREADS = 256, COLUMN_THREADS = 64, ROWS_A_PART = 256 };
enum { SUM_COLUMNS = 32, SUM_LANES = 32 }; /* of sum_rows: a block's columns, threads a column */

/* One block: *sum = all of parts. */
template <typename S>
__global__ void __launch_bounds__(SUM_THREADS)
    sum_all(const S *__restrict__ parts, int64_t count, S *sum)
{
    __shared__ S slots[SUM_THREADS / WARP];
    S x = 0;
    for (int64_t i = threadIdx.x; i < count; i += SUM_THREADS) {
        x += parts[i];
    }
    x = block_sum(x, slots);
    if (threadIdx.x == 0) {
        *sum = x;
    }
}

/* to (cols) = or += the sum of the rows of parts (count, cols). */
template <typename S>
__global__ void __launch_bounds__(SUM_COLUMNS *SUM_LANES)
    sum_rows(const S *__restrict__ parts, int64_t count, int64_t cols, S *to, bool add)
{
    __shared__ S slots[SUM_LANES][SUM_COLUMNS];
    const int column = threadIdx.x % SUM_COLUMNS, lane = threadIdx.x / SUM_COLUMNS;
    const int64_t j = (int64_t)blockIdx.x * SUM_COLUMNS + column;
    S sum = 0;
    for (int64_t p = lane; p < count && j < cols; p += SUM_LANES) {
        sum += parts[p * cols + j];
    }
    slots[lane][column] = sum;
    __syncthreads();
    if (lane == 0 && j < cols) {
        for (int other = 1; other < SUM_LANES; other++) {
            sum += slots[other][column];
        }
        to[j] = add ? to[j] + sum : sum;
    }
}

/* The gradient of a vector out of sums over some rows each; nothing where it is not wanted. */
static inline void put_sum_of_rows(fci_out to, const float *parts, int64_t count, int64_t cols)
{
    if (to.at != nullptr) {
        FC_LAUNCH((sum_rows<float>), blocks_for(cols, SUM_COLUMNS), SUM_COLUMNS * SUM_LANES, 0,
                  parts, count, cols, (float *)to.at, to.add);
    }
}

#endif
