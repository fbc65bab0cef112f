/* Activations of the MLPs: bound by memory, a thread handles one wide access. */
#include "core/cuda/device.cuh"

namespace
{

enum { THREADS = 256 };

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

} // namespace

FC_CUDA_ENTRY(gelu, fwd)
FC_CUDA_ENTRY(gelu, bwd)
