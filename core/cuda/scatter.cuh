/* The way back of a gather: rows of dy added to the rows that an index names, which may repeat. */
#ifndef FC_CORE_CUDA_SCATTER_CUH
#define FC_CORE_CUDA_SCATTER_CUH

#include "core/cuda/device.cuh"

enum { SCATTER_THREADS = 128, FILL_THREADS = 256 };

template <typename G> __global__ void fill_zero(G *to, int64_t count)
{
    const int64_t i = (int64_t)blockIdx.x * FILL_THREADS + threadIdx.x;
    if (i < count) {
        to[i] = from_float<G>(0.0F);
    }
}

/* Block i belongs to row i of dy. It ends where an earlier row goes to the same place, which adds
 * this one as well; else it adds up all rows that go there, in their order. */
template <typename T, typename G, typename I>
__global__ void __launch_bounds__(SCATTER_THREADS)
    scatter_add(G *__restrict__ to, const I *__restrict__ index, const T *__restrict__ dy,
                int64_t count, int64_t cols)
{
    __shared__ int same[SCATTER_THREADS];
    const int64_t i = blockIdx.x;
    const I own = index[i];
    int earlier = 0;
    for (int64_t j = threadIdx.x; j < i; j += SCATTER_THREADS) {
        earlier |= index[j] == own;
    }
    if (__syncthreads_or(earlier) != 0) {
        return;
    }
    G *row = to + (int64_t)own * cols;
    for (int64_t first = i; first < count; first += SCATTER_THREADS) {
        const int64_t j = first + threadIdx.x;
        same[threadIdx.x] = j < count && index[j] == own;
        if (__syncthreads_or(same[threadIdx.x]) != 0) {
            for (int64_t c = threadIdx.x; c < cols; c += SCATTER_THREADS) {
                float sum = to_float(row[c]);
                for (int k = 0; k < SCATTER_THREADS; k++) {
                    if (same[k] != 0) {
                        sum += to_float(dy[(first + k) * cols + c]);
                    }
                }
                row[c] = from_float<G>(sum);
            }
        }
        __syncthreads();
    }
}

/* to (rows, cols) of G: zeroed first unless it is added to; index (count) within [0, rows). */
template <typename T, typename G, typename I>
static void scatter_rows(fci_out to, int64_t rows, const I *index, const T *dy, int64_t count,
                         int64_t cols)
{
    if (!to.add && rows * cols > 0) {
        FC_LAUNCH((fill_zero<G>), blocks_for(rows * cols, FILL_THREADS), FILL_THREADS, 0,
                  (G *)to.at, rows * cols);
    }
    if (count > 0) {
        FC_LAUNCH((scatter_add<T, G, I>), (unsigned)count, SCATTER_THREADS, 0, (G *)to.at, index,
                  dy, count, cols);
    }
}

#endif
