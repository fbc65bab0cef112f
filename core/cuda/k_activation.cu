/* Activations of the MLPs: bound by memory, a thread handles one wide access. */
#include "core/cuda/device.cuh"

namespace
{

enum { THREADS = 256 };

__device__ __forceinline__ float sigmoid(float x)
{
    return 1.0F / (1.0F + __expf(-x));
}

__device__ __forceinline__ float gelu_of(float x, bool quick)
{
    return quick ? x * sigmoid(1.702F * x) : 0.5F * x * (1.0F + erff(x * 0.70710678118654752F));
}

__device__ __forceinline__ float gelu_slope(float x, bool quick)
{
    if (quick) {
        const float s = sigmoid(1.702F * x);
        return s * (1.0F + 1.702F * x * (1.0F - s));
    }
    return 0.5F * (1.0F + erff(x * 0.70710678118654752F)) +
           x * 0.39894228040143268F * __expf(-0.5F * x * x);
}

template <typename T, int N>
__global__ void gelu(const T *__restrict__ x, T *__restrict__ y, int64_t count, bool quick)
{
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i < count) {
        float v[N];
        load<T, N>(v, x + i);
        for (int k = 0; k < N; k++) {
            v[k] = gelu_of(v[k], quick);
        }
        store<T, N>(y + i, v);
    }
}

/* dx may be dy. */
template <typename T, int N>
__global__ void gelu_dx(const T *x, const T *dy, T *dx, bool add, int64_t count, bool quick)
{
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i < count) {
        float v[N], d[N];
        load<T, N>(v, x + i);
        load<T, N>(d, dy + i);
        for (int k = 0; k < N; k++) {
            d[k] *= gelu_slope(v[k], quick);
        }
        put<T, N>(dx + i, add, d);
    }
}

/* Thread i of the (rows, cols / N) accesses of y. */
template <typename T, int N>
__global__ void swiglu(const T *__restrict__ ab_T2F, T *__restrict__ y_TF, int64_t rows,
                       int64_t cols)
{
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i < rows * cols) {
        const int64_t at = i + i / cols * cols; /* of a; b lies cols further */
        float a[N], b[N];
        load<T, N>(a, ab_T2F + at);
        load<T, N>(b, ab_T2F + at + cols);
        for (int k = 0; k < N; k++) {
            b[k] *= a[k] * sigmoid(a[k]);
        }
        store<T, N>(y_TF + i, b);
    }
}

template <typename T, int N>
__global__ void swiglu_dab(const T *__restrict__ ab_T2F, const T *__restrict__ dy_TF,
                           T *__restrict__ dab_T2F, bool add, int64_t rows, int64_t cols)
{
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i < rows * cols) {
        const int64_t at = i + i / cols * cols;
        float a[N], b[N], dy[N];
        load<T, N>(a, ab_T2F + at);
        load<T, N>(b, ab_T2F + at + cols);
        load<T, N>(dy, dy_TF + i);
        for (int k = 0; k < N; k++) {
            const float s = sigmoid(a[k]), da = dy[k] * b[k] * s * (1.0F + a[k] * (1.0F - s));
            b[k] = dy[k] * a[k] * s;
            a[k] = da;
        }
        put<T, N>(dab_T2F + at, add, a);
        put<T, N>(dab_T2F + at + cols, add, b);
    }
}

template <typename T> void gelu_fwd(const fci_gelu_args &a, fc_arena *)
{
    if (a.count > 0) {
        FC_BY_WIDTH(T, widest<T>(a.count, {a.x, a.y}),
                    FC_LAUNCH((gelu<T, N>), blocks_for(a.count, (int64_t)THREADS * N), THREADS, 0,
                              (const T *)a.x, (T *)a.y, a.count, a.quick));
    }
}

template <typename T> void gelu_bwd(const fci_gelu_args &a, fc_arena *)
{
    if (a.count > 0 && a.dx.at != nullptr) {
        FC_BY_WIDTH(T, widest<T>(a.count, {a.x, a.dy, a.dx.at}),
                    FC_LAUNCH((gelu_dx<T, N>), blocks_for(a.count, (int64_t)THREADS * N), THREADS,
                              0, (const T *)a.x, (const T *)a.dy, (T *)a.dx.at, a.dx.add, a.count,
                              a.quick));
    }
}

template <typename T> void swiglu_fwd(const fci_swiglu_args &a, fc_arena *)
{
    const int64_t count = a.rows * a.cols;
    if (count > 0) {
        FC_BY_WIDTH(T, widest<T>(a.cols, {a.ab, a.y}),
                    FC_LAUNCH((swiglu<T, N>), blocks_for(count, (int64_t)THREADS * N), THREADS, 0,
                              (const T *)a.ab, (T *)a.y, a.rows, a.cols));
    }
}

template <typename T> void swiglu_bwd(const fci_swiglu_args &a, fc_arena *)
{
    const int64_t count = a.rows * a.cols;
    if (count > 0 && a.dab.at != nullptr) {
        FC_BY_WIDTH(T, widest<T>(a.cols, {a.ab, a.dy, a.dab.at}),
                    FC_LAUNCH((swiglu_dab<T, N>), blocks_for(count, (int64_t)THREADS * N), THREADS,
                              0, (const T *)a.ab, (const T *)a.dy, (T *)a.dab.at, a.dab.add, a.rows,
                              a.cols));
    }
}

} // namespace

FC_CUDA_ENTRY(gelu, fwd)
FC_CUDA_ENTRY(gelu, bwd)
FC_CUDA_ENTRY(swiglu, fwd)
FC_CUDA_ENTRY(swiglu, bwd)
