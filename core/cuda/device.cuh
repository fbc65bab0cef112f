/* What kernel files k_*.cu are written in terms of.
 *
 * The same files compile in two ways: by nvcc for the device, and by the host's compiler with
 * tests/cuda/emulate.h in the toolkit's place (FC_CUDA_EMULATED), where a block's threads are
 * fibers of one CPU thread: so kernels are tested against the CPU's in double on machines without
 * a GPU. What only one of the two has stands here and in mma.cuh, nowhere else. */
#ifndef FC_CORE_CUDA_DEVICE_CUH
#define FC_CORE_CUDA_DEVICE_CUH

#include <stdint.h>

extern "C" {
#include "core/kernel.h"
}

#ifdef FC_CUDA_EMULATED
#include "tests/cuda/emulate.h"
#else
#include "core/cuda/runtime.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>
typedef __nv_bfloat16 fc_bf16;

#define FC_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
/* kernel stands in parentheses where it has template arguments. */
#define FC_LAUNCH(kernel, grid, block, shared_bytes, ...)                                          \
    do {                                                                                           \
        auto kernel_ = kernel;                                                                     \
        if ((size_t)(shared_bytes) > 48 * 1024) {                                                  \
            fci_cuda_check(cudaFuncSetAttribute(kernel_,                                           \
                                                cudaFuncAttributeMaxDynamicSharedMemorySize,       \
                                                (int)(shared_bytes)),                              \
                           #kernel);                                                               \
        }                                                                                          \
        kernel_<<<(grid), (block), (shared_bytes), fci_cuda_stream()>>>(__VA_ARGS__);              \
        fci_cuda_check(cudaGetLastError(), #kernel);                                               \
    } while (0)
#endif

enum { WARP = 32 };

template <typename T> constexpr fc_dtype type_of()
{
    return sizeof(T) == sizeof(float) ? FC_F32 : FC_BF16;
}

/* ---- Numbers: everything is computed in float ---- */

__device__ __forceinline__ float to_float(float x)
{
    return x;
}
__device__ __forceinline__ float to_float(fc_bf16 x)
{
    return __bfloat162float(x);
}
template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x)
{
    return x;
}
template <> __device__ __forceinline__ fc_bf16 from_float<fc_bf16>(float x)
{
    return __float2bfloat16(x); /* to nearest, ties to even */
}

__device__ __forceinline__ float sigmoid(float x)
{
    return 1.0F / (1.0F + __expf(-x));
}

/* 2^x: one instruction where exp takes two. */
__device__ __forceinline__ float two_to(float x)
{
#ifdef FC_CUDA_EMULATED
    return std::exp2(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}
constexpr float LOG2_E = 1.44269504088896341F;

/* BYTES (4 or 16) from device memory to shared memory beside the work that follows, zeros where
 * they do not exist; both addresses aligned. There for the thread itself once it has waited, for
 * others after the next barrier. */
template <int BYTES>
__device__ __forceinline__ void start_copy(void *to, const void *from, bool exists)
{
#ifdef FC_CUDA_EMULATED
    emulate_start_copy(to, exists ? from : nullptr, BYTES);
#else
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to), bytes = exists ? BYTES : 0;
    if constexpr (BYTES == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                     "r"(bytes)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from), "r"(bytes)
                     : "memory");
    }
#endif
}
__device__ __forceinline__ void wait_for_copies()
{
#ifdef FC_CUDA_EMULATED
    emulate_wait_for_copies();
#else
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

/* N values that move as one access of up to 16 bytes. */
template <typename T, int N> struct alignas(N * sizeof(T)) pack {
    T v[N];
};

template <typename T, int N> __device__ __forceinline__ void load(float (&to)[N], const T *from)
{
    const pack<T, N> p = *reinterpret_cast<const pack<T, N> *>(from);
#pragma unroll
    for (int i = 0; i < N; i++) {
        to[i] = to_float(p.v[i]);
    }
}

template <typename T, int N> __device__ __forceinline__ void store(T *to, const float (&from)[N])
{
    pack<T, N> p;
#pragma unroll
    for (int i = 0; i < N; i++) {
        p.v[i] = from_float<T>(from[i]);
    }
    *reinterpret_cast<pack<T, N> *>(to) = p;
}

/* to = from, or to += from. */
template <typename T, int N>
__device__ __forceinline__ void put(T *to, bool add, const float (&from)[N])
{
    float sum[N];
    if (add) {
        load<T, N>(sum, to);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum[i] += from[i];
        }
        store<T, N>(to, sum);
    } else {
        store<T, N>(to, from);
    }
}

/* ---- Reductions, in an order that depends on nothing but the block's size ---- */

__device__ __forceinline__ float warp_sum(float x)
{
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        x += __shfl_xor_sync(0xFFFFFFFFU, x, offset);
    }
    return x;
}

__device__ __forceinline__ float warp_max(float x)
{
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFU, x, offset));
    }
    return x;
}

/* Sum over the block, in every thread. `slots`: shared, a value a warp; may be used again after
 * the call returns. The block's size is a multiple of 32. */
template <typename S> __device__ __forceinline__ S block_sum(S x, S *slots)
{
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        x += __shfl_xor_sync(0xFFFFFFFFU, x, offset);
    }
    const int warp = (int)threadIdx.x / WARP, warps = (int)blockDim.x / WARP;
    if (threadIdx.x % WARP == 0) {
        slots[warp] = x;
    }
    __syncthreads();
    S sum = 0;
    for (int i = 0; i < warps; i++) {
        sum += slots[i];
    }
    __syncthreads();
    return sum;
}

__device__ __forceinline__ float block_max(float x, float *slots)
{
    x = warp_max(x);
    const int warp = (int)threadIdx.x / WARP, warps = (int)blockDim.x / WARP;
    if (threadIdx.x % WARP == 0) {
        slots[warp] = x;
    }
    __syncthreads();
    float most = slots[0];
    for (int i = 1; i < warps; i++) {
        most = fmaxf(most, slots[i]);
    }
    __syncthreads();
    return most;
}

/* ---- On the host ---- */

/* Widest access that rows of `cols` values of T at these addresses allow, in values. NULL is fine.
 */
template <typename T> static inline int widest(int64_t cols, std::initializer_list<const void *> at)
{
    uintptr_t bits = (uintptr_t)(cols * (int64_t)sizeof(T));
    for (const void *p : at) {
        bits |= (uintptr_t)p;
    }
    return bits % 16 == 0 ? (int)(16 / sizeof(T)) : bits % (2 * sizeof(T)) == 0 ? 2 : 1;
}

static inline unsigned blocks_for(int64_t work, int64_t each)
{
    return (unsigned)((work + each - 1) / each);
}

/* Call a launcher, a template whose last argument is the width of accesses, with `width`. */
#define FC_BY_WIDTH(T, width, call)                                                                \
    do {                                                                                           \
        if ((width) == 1) {                                                                        \
            constexpr int N = 1;                                                                   \
            call;                                                                                  \
        } else if ((width) == 2) {                                                                 \
            constexpr int N = 2;                                                                   \
            call;                                                                                  \
        } else {                                                                                   \
            constexpr int N = 16 / sizeof(T);                                                      \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

/* The pair of kernel-table entries that every op has: fc_cuda_NAME_fwd_f32 and ..._bf16 (or _bwd)
 * call the template NAME_fwd<T>. */
#define FC_CUDA_ENTRY(name, pass)                                                                  \
    extern "C" void fc_cuda_##name##_##pass##_f32(const fci_##name##_args *args,                   \
                                                  fc_arena *scratch)                               \
    {                                                                                              \
        name##_##pass<float>(*args, scratch);                                                      \
    }                                                                                              \
    extern "C" void fc_cuda_##name##_##pass##_bf16(const fci_##name##_args *args,                  \
                                                   fc_arena *scratch)                              \
    {                                                                                              \
        name##_##pass<fc_bf16>(*args, scratch);                                                    \
    }

/* Device memory for `count` values until the caller rewinds scratch. */
template <typename T> static inline T *scratch_array(fc_arena *scratch, int64_t count)
{
    return static_cast<T *>(fc_arena_alloc(scratch, (size_t)count * sizeof(T)));
}

#endif
