/* Losses over pairs of rows: cosine distance, and binary cross-entropy of cosines. Sums are doubles
 * in either type, and lie in device memory. */
#include "core/cuda/device.cuh"
#include "core/cuda/sum.cuh"

namespace
{

enum { THREADS = 128, WARPS = THREADS / WARP };

/* A block a row: 1 - <a, b>. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    row_distances(const T *__restrict__ a_RD, const T *__restrict__ b_RD, int64_t cols,
                  double *__restrict__ parts)
{
    __shared__ double sums[WARPS];
    const int64_t at = (int64_t)blockIdx.x * cols;
    double dot = 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        dot += (double)to_float(a_RD[at + j]) * (double)to_float(b_RD[at + j]);
    }
    dot = block_sum(dot, sums);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = 1.0 - dot;
    }
}

template <typename T>
__global__ void scaled(const T *__restrict__ x, float factor, T *y, bool add, int64_t count)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < count) {
        const float v[1] = {factor * to_float(x[i])};
        put<T, 1>(y + i, add, v);
    }
}

/* A block a row: its sum of cross-entropies. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    row_entropies(const T *__restrict__ cosines_RK, int64_t cols, const int32_t *__restrict__ own,
                  double scale, double *__restrict__ parts)
{
    __shared__ double sums[WARPS];
    const int64_t at = (int64_t)blockIdx.x * cols;
    double sum = 0;
    for (int64_t k = threadIdx.x; k < cols; k += THREADS) {
        const double l = scale * (double)to_float(cosines_RK[at + k]);
        sum += fmax(l, 0.0) - (k == own[blockIdx.x] ? l : 0.0) + log1p(exp(-fabs(l)));
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

template <typename T>
__global__ void entropy_slopes(const T *__restrict__ cosines_RK, int64_t rows, int64_t cols,
                               const int32_t *__restrict__ own, double scale, double factor,
                               T *__restrict__ out_RK)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < rows * cols) {
        const double l = scale * (double)to_float(cosines_RK[i]);
        const double wanted = i % cols == own[i / cols] ? 1.0 : 0.0;
        out_RK[i] = from_float<T>((float)(factor * (1.0 / (1.0 + exp(-l)) - wanted)));
    }
}

template <typename T> void cosine_distance_fwd(const fci_cosine_distance_args &a, fc_arena *scratch)
{
    double *parts = scratch_array<double>(scratch, a.rows);
    if (a.rows > 0) {
        FC_LAUNCH((row_distances<T>), (unsigned)a.rows, THREADS, 0, (const T *)a.a, (const T *)a.b,
                  a.cols, parts);
    }
    FC_LAUNCH((sum_all<double>), 1, SUM_THREADS, 0, parts, a.rows, a.sum);
}

template <typename T> void cosine_distance_bwd(const fci_cosine_distance_args &a, fc_arena *)
{
    const int64_t count = a.rows * a.cols;
    if (count > 0) {
        FC_LAUNCH((scaled<T>), blocks_for(count, THREADS), THREADS, 0, (const T *)a.b,
                  (float)a.factor, (T *)a.da.at, a.da.add, count);
    }
}

template <typename T> void sigmoid_loss_fwd(const fci_sigmoid_loss_args &a, fc_arena *scratch)
{
    double *parts = scratch_array<double>(scratch, a.rows);
    if (a.rows > 0) {
        FC_LAUNCH((row_entropies<T>), (unsigned)a.rows, THREADS, 0, (const T *)a.cosines, a.cols,
                  a.own, a.scale, parts);
    }
    FC_LAUNCH((sum_all<double>), 1, SUM_THREADS, 0, parts, a.rows, a.sum);
}

template <typename T> void sigmoid_loss_bwd(const fci_sigmoid_loss_args &a, fc_arena *)
{
    const int64_t count = a.rows * a.cols;
    if (count > 0) {
        FC_LAUNCH((entropy_slopes<T>), blocks_for(count, THREADS), THREADS, 0, (const T *)a.cosines,
                  a.rows, a.cols, a.own, a.scale, a.factor, (T *)a.dcosines);
    }
}

} // namespace

FC_CUDA_ENTRY(cosine_distance, fwd)
FC_CUDA_ENTRY(cosine_distance, bwd)
FC_CUDA_ENTRY(sigmoid_loss, fwd)
FC_CUDA_ENTRY(sigmoid_loss, bwd)
