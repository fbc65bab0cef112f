/* Rows of one rank against all columns of the global batch (losses/contrastive.c has the
 * mathematics), a tile of rows after another: no more of the similarity matrix than a tile exists,
 * small enough for the second-level cache. Scores, softmax and sums are float or better in either
 * type; loss_sum and scale_grad point to device memory. */
#include "core/cuda/device.cuh"
#include "core/cuda/gemm.h"
#include "core/cuda/sum.cuh"

namespace
{

enum { THREADS = 256, WARPS = THREADS / WARP };
constexpr int64_t TILE_BYTES = (int64_t)16 << 20;

/* A block a row of scores (tile, cols): its log-sum-exp and its cross-entropy. */
__global__ void __launch_bounds__(THREADS)
    row_losses(const float *__restrict__ scores, int64_t cols, int64_t first,
               float *__restrict__ lse_own, double *__restrict__ losses)
{
    __shared__ float slots[WARPS];
    __shared__ double sums[WARPS];
    const float *line = scores + (int64_t)blockIdx.x * cols;
    float most = -INFINITY;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        most = fmaxf(most, line[j]);
    }
    most = block_max(most, slots);
    double sum = 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        sum += (double)expf(line[j] - most);
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) {
        const float lse = most + (float)log(sum);
        lse_own[blockIdx.x] = lse;
        losses[blockIdx.x] = (double)lse - (double)line[first + blockIdx.x];
    }
}

/* P + Q - 2 I in place of the scores, as T in `slopes`, and a row's sum of (P - I) . S. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    row_slopes(const float *__restrict__ scores, int64_t cols, int64_t first,
               const float *__restrict__ lse_own, const float *__restrict__ lse_other,
               int64_t other_first, int64_t other_end, T *__restrict__ slopes,
               double *__restrict__ parts)
{
    __shared__ double sums[WARPS];
    const float *line = scores + (int64_t)blockIdx.x * cols;
    T *out = slopes + (int64_t)blockIdx.x * cols;
    const int64_t own = first + blockIdx.x;
    const float lse = lse_own[blockIdx.x];
    double sum = 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        const float s = line[j], p = expf(s - lse);
        const float q = j >= other_first && j < other_end ? expf(s - lse_other[j]) : 0;
        sum += (double)p * (double)s - (j == own ? (double)s : 0);
        out[j] = from_float<T>(p + q - (j == own ? 2.0F : 0.0F));
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

int64_t tile_rows(const fci_contrastive_args &a)
{
    const int64_t fit = TILE_BYTES / (int64_t)sizeof(float) / (a.cols > 0 ? a.cols : 1) / 64 * 64;
    const int64_t tile = fit < 64 ? 64 : fit;
    return tile < a.rows ? tile : a.rows;
}

template <typename T>
void scores_of(const fci_contrastive_args &a, int64_t row, int64_t rows, float *scores)
{
    fci_cuda_gemm_args g = {};
    g.type = type_of<T>();
    g.d_type = FC_F32;
    g.b_transposed = true;
    g.m = rows;
    g.n = a.cols;
    g.k = a.width;
    g.alpha = (float)a.scale;
    g.a = (const T *)a.own + row * a.width;
    g.b = a.all;
    g.lda = g.ldb = a.width;
    g.d = scores;
    g.ldd = a.cols;
    fci_cuda_gemm(&g);
}

template <typename T> void contrastive_fwd(const fci_contrastive_args &a, fc_arena *scratch)
{
    const int64_t tile = tile_rows(a);
    float *scores = scratch_array<float>(scratch, tile * a.cols);
    double *losses = scratch_array<double>(scratch, a.rows);
    for (int64_t row = 0; row < a.rows; row += tile) {
        const int64_t rows = a.rows - row < tile ? a.rows - row : tile;
        scores_of<T>(a, row, rows, scores);
        FC_LAUNCH(row_losses, (unsigned)rows, THREADS, 0, scores, a.cols, a.first + row,
                  (float *)a.lse_own + row, losses + row);
    }
    FC_LAUNCH((sum_all<double>), 1, SUM_THREADS, 0, losses, a.rows, a.loss_sum);
}

template <typename T> void contrastive_bwd(const fci_contrastive_args &a, fc_arena *scratch)
{
    const int64_t tile = tile_rows(a);
    float *scores = scratch_array<float>(scratch, tile * a.cols);
    T *slopes = scratch_array<T>(scratch, tile * a.cols);
    double *parts = scratch_array<double>(scratch, a.rows);
    for (int64_t row = 0; row < a.rows; row += tile) {
        const int64_t rows = a.rows - row < tile ? a.rows - row : tile;
        scores_of<T>(a, row, rows, scores);
        FC_LAUNCH((row_slopes<T>), (unsigned)rows, THREADS, 0, scores, a.cols, a.first + row,
                  (const float *)a.lse_own + row, (const float *)a.lse_other, a.other_first,
                  a.other_first + a.other_count, slopes, parts + row);
        if (a.grad != nullptr) {
            fci_cuda_gemm_args g = {};
            g.type = g.d_type = type_of<T>();
            g.m = rows;
            g.n = a.width;
            g.k = a.cols;
            g.alpha = (float)(a.factor * a.scale);
            g.a = slopes;
            g.lda = a.cols;
            g.b = a.all;
            g.ldb = a.width;
            g.d = (T *)a.grad + row * a.width;
            g.ldd = a.width;
            g.add = g.d;
            fci_cuda_gemm(&g);
        }
    }
    FC_LAUNCH((sum_all<double>), 1, SUM_THREADS, 0, parts, a.rows, a.scale_grad);
}

} // namespace

FC_CUDA_ENTRY(contrastive, fwd)
FC_CUDA_ENTRY(contrastive, bwd)
