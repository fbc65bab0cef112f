/* Layer norm, of rows or of what SwiGLU makes of them, and unit length of rows. Statistics in
 * float; gains and biases, and their gradients, are float in either type. */
#include "core/cuda/device.cuh"
#include "core/cuda/sum.cuh"

#include <algorithm>

extern "C" {
#include "core/fatal.h"
}

namespace
{

/* ---- Layer norm ----
 *
 * A block takes a stretch of rows, one after another. A thread has the same columns of each, in
 * registers: a row is read once, while the sums of the one before are exchanged; and gains, biases
 * and the sums of their gradients stay where they are for the whole stretch. */

enum { MOST_THREADS = 512, MOST_WARPS = MOST_THREADS / WARP };
enum { OWN = 8, OWN_OF_LONG = 16 }; /* columns of a thread; of long rows, where some spill */
enum { FORWARD_BLOCKS = 4096, BACK_BLOCKS = 2048 }; /* at most: several for every multiprocessor */
enum { LEAST_SUMMED = 8 };                          /* rows that share sums for gains and biases */
enum { MOST_SUMS = 1 << 21 }; /* of each: both stay below what an arena takes at least */

/* A thread's columns of a row as memory has them: C / N accesses of N, the block's side by side;
 * zeros beyond the row's end. */
template <typename T, int N, int C> struct share {
    pack<T, N> of[C / N];

    __device__ __forceinline__ share()
    {
#pragma unroll
        for (int i = 0; i < C; i++) {
            of[i / N].v[i % N] = from_float<T>(0);
        }
    }
    __device__ __forceinline__ static int column(int access)
    {
        return (access * (int)blockDim.x + (int)threadIdx.x) * N;
    }
    __device__ __forceinline__ void fetch(const T *row, int cols)
    {
#pragma unroll
        for (int k = 0; k < C / N; k++) {
            if (column(k) < cols) {
                of[k] = *reinterpret_cast<const pack<T, N> *>(row + column(k));
            }
        }
    }
    __device__ __forceinline__ float operator[](int i) const
    {
        return to_float(of[i / N].v[i % N]);
    }
};

/* row = or += the thread's values. */
template <typename T, int N, int C>
__device__ __forceinline__ void put_share(T *row, int cols, bool add, const float (&from)[C])
{
#pragma unroll
    for (int k = 0; k < C / N; k++) {
        const int j = share<T, N, C>::column(k);
        if (j < cols) {
            float part[N];
#pragma unroll
            for (int i = 0; i < N; i++) {
                part[i] = from[k * N + i];
            }
            put<T, N>(row + j, add, part);
        }
    }
}

/* The thread's columns of a vector; zeros beyond its end. */
template <int N, int C>
__device__ __forceinline__ void get_share(float (&to)[C], const float *from, int cols)
{
#pragma unroll
    for (int i = 0; i < C; i++) {
        const int j = share<float, N, C>::column(i / N) + i % N;
        to[i] = j < cols ? from[j] : 0;
    }
}

/* What is normed, and where its gradient goes: x (T,D) itself, or with GLU a sigmoid(a) b of
 * x = (a, b) (T,2D), which is kept nowhere. */
template <typename T, int N, int C, bool GLU> struct operand {
    share<T, N, C> x;

    __device__ __forceinline__ void fetch(const T *x_TD, int64_t row, int cols)
    {
        x.fetch(x_TD + row * cols, cols);
    }
    __device__ __forceinline__ void values(float (&v)[C]) const
    {
#pragma unroll
        for (int i = 0; i < C; i++) {
            v[i] = x[i];
        }
    }
    __device__ __forceinline__ void back(T *dx_TD, int64_t row, int cols, bool add,
                                         const float (&dv)[C]) const
    {
        put_share<T, N, C>(dx_TD + row * cols, cols, add, dv);
    }
};

template <typename T, int N, int C> struct operand<T, N, C, true> {
    share<T, N, C> a, b;

    __device__ __forceinline__ void fetch(const T *ab_T2D, int64_t row, int cols)
    {
        a.fetch(ab_T2D + row * 2 * cols, cols);
        b.fetch(ab_T2D + row * 2 * cols + cols, cols);
    }
    __device__ __forceinline__ void values(float (&v)[C]) const
    {
#pragma unroll
        for (int i = 0; i < C; i++) {
            v[i] = a[i] * sigmoid(a[i]) * b[i];
        }
    }
    __device__ __forceinline__ void back(T *dab_T2D, int64_t row, int cols, bool add,
                                         const float (&dv)[C]) const
    {
        float da[C], db[C];
#pragma unroll
        for (int i = 0; i < C; i++) {
            const float s = sigmoid(a[i]);
            da[i] = dv[i] * b[i] * s * (1.0F + a[i] * (1.0F - s));
            db[i] = dv[i] * a[i] * s;
        }
        put_share<T, N, C>(dab_T2D + row * 2 * cols, cols, add, da);
        put_share<T, N, C>(dab_T2D + row * 2 * cols + cols, cols, add, db);
    }
};

/* Sums over the block, in every thread. With one barrier only: the call after this one takes other
 * slots. */
template <int K> __device__ __forceinline__ void block_sums(float (&x)[K], float (*slots)[K])
{
#pragma unroll
    for (int k = 0; k < K; k++) {
        x[k] = warp_sum(x[k]);
        if (threadIdx.x % WARP == 0) {
            slots[threadIdx.x / WARP][k] = x[k];
        }
        x[k] = 0;
    }
    __syncthreads();
    for (unsigned w = 0; w < blockDim.x / WARP; w++) {
#pragma unroll
        for (int k = 0; k < K; k++) {
            x[k] += slots[w][k];
        }
    }
}

template <typename T, int N, int C, bool GLU>
__global__ void __launch_bounds__(MOST_THREADS)
    layernorm(const T *__restrict__ x_TD, int64_t rows, int64_t stretch, int cols, float eps,
              const float *__restrict__ gain, const float *__restrict__ bias, T *__restrict__ y_TD,
              float *mean_T, float *rstd_T)
{
    __shared__ float slots[2][MOST_WARPS][1];
    int64_t row = (int64_t)blockIdx.x * stretch;
    const int64_t end = row + stretch < rows ? row + stretch : rows;
    operand<T, N, C, GLU> next;
    next.fetch(x_TD, row, cols);
    float gains[C], biases[C];
    get_share<N, C>(gains, gain, cols);
    get_share<N, C>(biases, bias, cols);
    for (; row < end; row++) {
        float v[C], sum[1] = {0}, squares[1] = {0};
        next.values(v);
        if (row + 1 < end) {
            next.fetch(x_TD, row + 1, cols);
        }
#pragma unroll
        for (int i = 0; i < C; i++) {
            sum[0] += v[i];
        }
        block_sums(sum, slots[0]);
        const float mean = sum[0] / (float)cols;
#pragma unroll
        for (int i = 0; i < C; i++) {
            const float d = share<T, N, C>::column(i / N) < cols ? v[i] - mean : 0;
            squares[0] += d * d;
        }
        block_sums(squares, slots[1]);
        const float rstd = 1.0F / sqrtf(squares[0] / (float)cols + eps);
#pragma unroll
        for (int i = 0; i < C; i++) {
            v[i] = (v[i] - mean) * rstd * gains[i] + biases[i];
        }
        put_share<T, N, C>(y_TD + row * cols, cols, false, v);
        if (threadIdx.x == 0 && mean_T != nullptr) {
            mean_T[row] = mean;
            rstd_T[row] = rstd;
        }
    }
}

/* What the way back reads of a row. */
template <typename T, int N, int C, bool GLU> struct row_back {
    operand<T, N, C, GLU> x;
    share<T, N, C> dy;
    float mean, rstd;
};

/* Where gains is not NULL the block's row of gains and biases (blocks, D) becomes the sums of
 * dy * normed and of dy over its rows. dx may be dy: a row's dy is read before its dx is written.
 */
template <typename T, int N, int C, bool GLU>
__global__ void __launch_bounds__(MOST_THREADS, N == 8 && !GLU ? 2 : 1)
    layernorm_back(const T *__restrict__ x_TD, const T *dy_TD, int64_t rows, int64_t stretch,
                   int cols, const float *__restrict__ gain, const float *__restrict__ mean_T,
                   const float *__restrict__ rstd_T, T *dx_TD, bool add, float *gains,
                   float *biases)
{
    __shared__ float slots[2][MOST_WARPS][2];
    int64_t row = (int64_t)blockIdx.x * stretch;
    const int64_t end = row + stretch < rows ? row + stretch : rows;
    row_back<T, N, C, GLU> next;
    const auto fetch = [&](int64_t i) {
        next.x.fetch(x_TD, i, cols);
        next.dy.fetch(dy_TD + i * cols, cols);
        next.mean = mean_T[i];
        next.rstd = rstd_T[i];
    };
    fetch(row);
    float g[C], dgain[C] = {}, dbias[C] = {};
    get_share<N, C>(g, gain, cols);
    for (; row < end; row++) {
        const row_back<T, N, C, GLU> now = next;
        if (row + 1 < end) {
            fetch(row + 1);
        }
        float v[C], sums[2] = {0, 0};
        now.x.values(v);
#pragma unroll
        for (int i = 0; i < C; i++) {
            v[i] = (v[i] - now.mean) * now.rstd;
            sums[0] += now.dy[i] * g[i];
            sums[1] += now.dy[i] * g[i] * v[i];
        }
        if (gains != nullptr) {
#pragma unroll
            for (int i = 0; i < C; i++) {
                dgain[i] += now.dy[i] * v[i];
                dbias[i] += now.dy[i];
            }
        }
        block_sums(sums, slots[row % 2]);
        const float a = sums[0] / (float)cols, b = sums[1] / (float)cols;
#pragma unroll
        for (int i = 0; i < C; i++) {
            v[i] = now.rstd * (now.dy[i] * g[i] - a - v[i] * b);
        }
        if (dx_TD != nullptr) {
            now.x.back(dx_TD, row, cols, add, v);
        }
    }
    if (gains != nullptr) {
        put_share<float, N, C>(gains + (int64_t)blockIdx.x * cols, cols, false, dgain);
        put_share<float, N, C>(biases + (int64_t)blockIdx.x * cols, cols, false, dbias);
    }
}

int64_t rows_a_block(int64_t rows, int64_t most_blocks)
{
    return (rows + most_blocks - 1) / most_blocks;
}

/* Threads of a block for rows of cols values, C a thread. */
template <int C> unsigned threads_for(int64_t cols)
{
    return blocks_for(cols, C * WARP) * WARP;
}

/* A call in parentheses, with N, the width of accesses, and C, a thread's columns. */
#define BY_COLUMNS(T, cols, width, call)                                                           \
    do {                                                                                           \
        if ((cols) <= OWN * MOST_THREADS) {                                                        \
            constexpr int C = OWN;                                                                 \
            FC_BY_WIDTH(T, width, call);                                                           \
        } else {                                                                                   \
            constexpr int N = 1, C = OWN_OF_LONG;                                                  \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

template <typename T, int N, int C, bool GLU> void launch_forward(const fci_layernorm_args &a)
{
    const int64_t stretch = rows_a_block(a.rows, FORWARD_BLOCKS);
    FC_LAUNCH((layernorm<T, N, C, GLU>), blocks_for(a.rows, stretch), threads_for<C>(a.cols), 0,
              (const T *)a.x, a.rows, stretch, (int)a.cols, (float)a.eps, (const float *)a.gain,
              (const float *)a.bias, (T *)a.y, (float *)a.mean, (float *)a.rstd);
}

template <typename T, bool GLU> void norm_forward(const fci_layernorm_args &a)
{
    if (a.cols > OWN_OF_LONG * MOST_THREADS) {
        fc_fatal(FC_FAIL(FC_USAGE, "layer norm of %lld columns: a CUDA device takes at most %d",
                         (long long)a.cols, OWN_OF_LONG * MOST_THREADS));
    }
    if (a.rows > 0) {
        BY_COLUMNS(T, a.cols, widest<T>(a.cols, {a.x, a.y}), (launch_forward<T, N, C, GLU>(a)));
    }
}

template <typename T, int N, int C, bool GLU>
void launch_back(const fci_layernorm_args &a, int64_t stretch, float *gains, float *biases)
{
    FC_LAUNCH((layernorm_back<T, N, C, GLU>), blocks_for(a.rows, stretch), threads_for<C>(a.cols),
              0, (const T *)a.x, (const T *)a.dy, a.rows, stretch, (int)a.cols,
              (const float *)a.gain, (const float *)a.mean, (const float *)a.rstd, (T *)a.dx.at,
              a.dx.add, gains, biases);
}

template <typename T, bool GLU> void norm_back(const fci_layernorm_args &a, fc_arena *scratch)
{
    const bool summed = a.dgain.at != nullptr || a.dbias.at != nullptr;
    const int64_t most = std::min<int64_t>(BACK_BLOCKS, MOST_SUMS / a.cols);
    const int64_t stretch = std::max<int64_t>(LEAST_SUMMED, rows_a_block(a.rows, most));
    const int64_t parts = blocks_for(a.rows, stretch);
    float *gains = summed ? scratch_array<float>(scratch, parts * a.cols) : nullptr;
    float *biases = summed ? scratch_array<float>(scratch, parts * a.cols) : nullptr;
    if (parts > 0 && (summed || a.dx.at != nullptr)) {
        BY_COLUMNS(T, a.cols, widest<T>(a.cols, {a.x, a.dy, a.dx.at}),
                   (launch_back<T, N, C, GLU>(a, stretch, gains, biases)));
    }
    put_sum_of_rows(a.dgain, gains, parts, a.cols);
    put_sum_of_rows(a.dbias, biases, parts, a.cols);
}

template <typename T> void layernorm_fwd(const fci_layernorm_args &a, fc_arena *)
{
    norm_forward<T, false>(a);
}

template <typename T> void layernorm_bwd(const fci_layernorm_args &a, fc_arena *scratch)
{
    norm_back<T, false>(a, scratch);
}

template <typename T> void swiglu_norm_fwd(const fci_swiglu_norm_args &a, fc_arena *)
{
    norm_forward<T, true>(a);
}

template <typename T> void swiglu_norm_bwd(const fci_swiglu_norm_args &a, fc_arena *scratch)
{
    norm_back<T, true>(a, scratch);
}

/* ---- Unit length ---- */

enum { THREADS = 128, WARPS = THREADS / WARP }; /* a block a row */
constexpr float SMALLEST = 1e-12F;

template <typename T>
__global__ void __launch_bounds__(THREADS)
    l2norm(const T *__restrict__ x_TD, int64_t cols, T *__restrict__ y_TD, float *norm_T)
{
    __shared__ float slots[WARPS];
    const T *x = x_TD + (int64_t)blockIdx.x * cols;
    float squares = 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        const float v = to_float(x[j]);
        squares += v * v;
    }
    const float norm = fmaxf(sqrtf(block_sum(squares, slots)), SMALLEST);
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        y_TD[(int64_t)blockIdx.x * cols + j] = from_float<T>(to_float(x[j]) / norm);
    }
    if (threadIdx.x == 0 && norm_T != nullptr) {
        norm_T[blockIdx.x] = norm;
    }
}

/* dx = (dy - u <u, dy>) / |x| with u = x / |x| in full precision; below the smallest norm the
 * divisor is a constant. dx may be dy. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    l2norm_dx(const T *x_TD, const T *dy_TD, int64_t cols, const float *__restrict__ norm_T,
              T *dx_TD, bool add)
{
    __shared__ float slots[WARPS];
    const int64_t at = (int64_t)blockIdx.x * cols;
    const float norm = norm_T[blockIdx.x];
    float product = 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        product += to_float(x_TD[at + j]) * to_float(dy_TD[at + j]);
    }
    product = norm > SMALLEST ? block_sum(product, slots) / (norm * norm) : 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        const float d[1] = {(to_float(dy_TD[at + j]) - to_float(x_TD[at + j]) * product) / norm};
        put<T, 1>(dx_TD + at + j, add, d);
    }
}

template <typename T> void l2norm_fwd(const fci_l2norm_args &a, fc_arena *)
{
    if (a.rows > 0) {
        FC_LAUNCH((l2norm<T>), (unsigned)a.rows, THREADS, 0, (const T *)a.x, a.cols, (T *)a.y,
                  (float *)a.norm);
    }
}

template <typename T> void l2norm_bwd(const fci_l2norm_args &a, fc_arena *)
{
    if (a.rows > 0 && a.dx.at != nullptr) {
        FC_LAUNCH((l2norm_dx<T>), (unsigned)a.rows, THREADS, 0, (const T *)a.x, (const T *)a.dy,
                  a.cols, (const float *)a.norm, (T *)a.dx.at, a.dx.add);
    }
}

} // namespace

FC_CUDA_ENTRY(layernorm, fwd)
FC_CUDA_ENTRY(layernorm, bwd)
FC_CUDA_ENTRY(swiglu_norm, fwd)
FC_CUDA_ENTRY(swiglu_norm, bwd)
FC_CUDA_ENTRY(l2norm, fwd)
FC_CUDA_ENTRY(l2norm, bwd)
