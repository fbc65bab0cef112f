/* y = x w^T + bias + residual and its way back: products are the library's, which adds bias and
 * residual in its epilogue. Gradients of parameters are float in either type. */
#include "core/cuda/device.cuh"
#include "core/cuda/gemm.h"
#include "core/cuda/sum.cuh"

namespace
{

enum { ROW_LANES = 8 }; /* of column_parts: warps of a block, each with every eighth row */

/* Sums over ROWS_A_PART rows: parts (part, cols). A thread N columns of one access. */
template <typename T, int N>
__global__ void __launch_bounds__(WARP *ROW_LANES)
    column_parts(const T *__restrict__ x_TN, int64_t rows, int64_t cols, float *__restrict__ parts)
{
    __shared__ float slots[ROW_LANES][N * WARP];
    const int lane = threadIdx.x % WARP, row_lane = threadIdx.x / WARP;
    const int64_t first = (int64_t)blockIdx.x * WARP * N, j = first + lane * N;
    const int64_t begin = (int64_t)blockIdx.y * ROWS_A_PART;
    const int64_t end = begin + ROWS_A_PART < rows ? begin + ROWS_A_PART : rows;
    float sum[N] = {};
    if (j < cols) {
#pragma unroll 4
        for (int64_t i = begin + row_lane; i < end; i += ROW_LANES) {
            float x[N];
            load<T, N>(x, x_TN + i * cols + j);
#pragma unroll
            for (int c = 0; c < N; c++) {
                sum[c] += x[c];
            }
        }
    }
#pragma unroll
    for (int c = 0; c < N; c++) {
        slots[row_lane][c * WARP + lane] = sum[c];
    }
    __syncthreads();
    for (int at = threadIdx.x; at < N * WARP; at += WARP * ROW_LANES) {
        const int64_t column = first + at % WARP * N + at / WARP;
        float all = 0;
        for (int row = 0; row < ROW_LANES; row++) {
            all += slots[row][at];
        }
        if (column < cols) {
            parts[(int64_t)blockIdx.y * cols + column] = all;
        }
    }
}

template <typename T, int N>
void launch_column_parts(const T *x, int64_t rows, int64_t cols, int64_t count, float *parts)
{
    FC_LAUNCH((column_parts<T, N>), dim3(blocks_for(cols, WARP * N), (unsigned)count),
              WARP * ROW_LANES, 0, x, rows, cols, parts);
}

template <typename T> void linear_fwd(const fci_linear_args &a, fc_arena *)
{
    fci_cuda_gemm_args g = {};
    g.type = g.d_type = type_of<T>();
    g.b_transposed = !a.inner_major;
    g.m = a.rows;
    g.n = a.outer;
    g.k = a.inner;
    g.alpha = 1;
    g.a = a.x;
    g.lda = a.inner;
    g.b = a.w;
    g.ldb = a.inner_major ? a.outer : a.inner;
    g.add = a.residual;
    g.bias = a.bias;
    g.d = a.y;
    g.ldd = a.outer;
    fci_cuda_gemm(&g);
}

template <typename T> void linear_bwd(const fci_linear_args &a, fc_arena *scratch)
{
    const int64_t t = a.rows, k = a.inner, n = a.outer;
    const int64_t count = blocks_for(t, ROWS_A_PART);
    float *parts = a.dbias.at != nullptr ? scratch_array<float>(scratch, count * n) : nullptr;
    bool has_sums = false; /* for dbias, out of the product for dw, which reads dy anyway */
    fci_cuda_gemm_args g = {};
    g.type = type_of<T>();
    g.alpha = 1;
    if (a.dx.at != nullptr) { /* (t,k) = dy (t,n) w (n,k) */
        g.d_type = type_of<T>();
        g.b_transposed = a.inner_major;
        g.m = t;
        g.n = k;
        g.k = n;
        g.a = a.dy;
        g.lda = n;
        g.b = a.w;
        g.ldb = a.inner_major ? n : k;
        g.d = a.dx.at;
        g.ldd = k;
        g.add = a.dx.add ? a.dx.at : nullptr;
        fci_cuda_gemm(&g);
    }
    if (a.dw.at != nullptr) { /* (n,k) = dy^T x, or (k,n) = x^T dy */
        g.d_type = FC_F32;
        g.a_transposed = true;
        g.b_transposed = false;
        g.m = a.inner_major ? k : n;
        g.n = a.inner_major ? n : k;
        g.k = t;
        g.a = a.inner_major ? a.x : a.dy;
        g.b = a.inner_major ? a.dy : a.x;
        g.lda = g.m;
        g.ldb = g.ldd = g.n;
        g.d = a.dw.at;
        g.add = a.dw.add ? a.dw.at : nullptr;
        float *const sums = a.dbias.add ? parts : (float *)a.dbias.at; /* written, never added to */
        (a.inner_major ? g.b_sums : g.a_sums) = sums;
        has_sums = fci_cuda_gemm(&g) && sums != nullptr;
        if (has_sums && a.dbias.add) {
            put_sum_of_rows(a.dbias, parts, 1, n);
        }
    }
    if (a.dbias.at != nullptr && !has_sums) {
        const T *dy = (const T *)a.dy;
        if (count > 0) {
            FC_BY_WIDTH(T, widest<T>(n, {dy}), (launch_column_parts<T, N>(dy, t, n, count, parts)));
        }
        put_sum_of_rows(a.dbias, parts, count, n);
    }
}

} // namespace

FC_CUDA_ENTRY(linear, fwd)
FC_CUDA_ENTRY(linear, bwd)
