/* y = x w^T + bias + residual and its way back: products are the library's, which adds bias and
 * residual in its epilogue. Gradients of parameters are float in either type. */
#include "core/cuda/device.cuh"
#include "core/cuda/gemm.h"
#include "core/cuda/sum.cuh"

namespace
{

/* Sums over ROWS_A_PART rows: parts (part, cols). A thread a column. */
template <typename T>
__global__ void column_parts(const T *__restrict__ x_TN, int64_t rows, int64_t cols,
                             float *__restrict__ parts)
{
    const int64_t j = (int64_t)blockIdx.x * COLUMN_THREADS + threadIdx.x;
    if (j >= cols) {
        return;
    }
    const int64_t begin = (int64_t)blockIdx.y * ROWS_A_PART;
    const int64_t end = begin + ROWS_A_PART < rows ? begin + ROWS_A_PART : rows;
    float sum = 0;
    for (int64_t i = begin; i < end; i++) {
        sum += to_float(x_TN[i * cols + j]);
    }
    parts[(int64_t)blockIdx.y * cols + j] = sum;
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
    if (a.dbias.at != nullptr) {
        const int64_t count = blocks_for(t, ROWS_A_PART);
        float *parts = scratch_array<float>(scratch, count * n);
        if (count > 0) {
            FC_LAUNCH((column_parts<T>), dim3(blocks_for(n, COLUMN_THREADS), (unsigned)count),
                      COLUMN_THREADS, 0, (const T *)a.dy, t, n, parts);
        }
        put_sum_of_rows(a.dbias, parts, count, n);
    }
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
        fci_cuda_gemm(&g);
    }
}

} // namespace

FC_CUDA_ENTRY(linear, fwd)
FC_CUDA_ENTRY(linear, bwd)
