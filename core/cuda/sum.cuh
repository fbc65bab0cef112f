/* Second halves of sums: what blocks left, added up in their order. */
#ifndef FC_CORE_CUDA_SUM_CUH
#define FC_CORE_CUDA_SUM_CUH

#include "core/cuda/device.cuh"

enum { SUM_THREADS = 256, COLUMN_THREADS = 64, ROWS_A_PART = 256 };

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

/* to (cols) = or += the sum of the rows of parts (count, cols); a thread a column. */
template <typename S>
__global__ void sum_rows(const S *__restrict__ parts, int64_t count, int64_t cols, S *to, bool add)
{
    const int64_t j = (int64_t)blockIdx.x * COLUMN_THREADS + threadIdx.x;
    if (j < cols) {
        S sum = 0;
        for (int64_t p = 0; p < count; p++) {
            sum += parts[p * cols + j];
        }
        to[j] = add ? to[j] + sum : sum;
    }
}

/* The gradient of a vector out of sums over ROWS_A_PART rows each; nothing where it is not wanted.
 */
static inline void put_sum_of_rows(fci_out to, const float *parts, int64_t count, int64_t cols)
{
    if (to.at != nullptr) {
        FC_LAUNCH((sum_rows<float>), blocks_for(cols, COLUMN_THREADS), COLUMN_THREADS, 0, parts,
                  count, cols, (float *)to.at, to.add);
    }
}

#endif
