/* CUDA's kernel language on the CPU, as far as core/cuda/k_*.cu use it: enough to run every kernel,
 * block after block, a block's threads as fibers that switch at barriers and warp exchanges.
 *
 * What it shows: arithmetic, indices, barriers. A block whose threads do not all reach a barrier is
 * an error; shared memory starts as NaN; warps run ahead of each other as far as barriers let them,
 * and threads can be run in falling instead of rising order (emulate_order), so that a result which
 * depends on the order shows a race. */
#ifndef FC_TESTS_CUDA_EMULATE_H
#define FC_TESTS_CUDA_EMULATE_H

#include "core/bf16.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* bf16: the upper half of a float. */
struct fc_bf16 {
    uint16_t bits;
};
static inline float __bfloat162float(fc_bf16 x)
{
    return fci_bf16_to_float(x.bits);
}
static inline fc_bf16 __float2bfloat16(float x)
{
    return fc_bf16{fci_bf16_of(x)};
}

enum emulate_direction { EMULATE_RISING, EMULATE_FALLING };
/** Order in which a block's threads (and the grid's blocks) take their turns from now on. */
void emulate_order(emulate_direction order);
/** Run body once a thread of the grid, with `shared_bytes` of dynamic shared memory a block. */
void emulate_launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &body);
/** Addresses among a kernel's arguments must be the device's: ends the test where one is the
 * host's. Checked once a device was set (cuda_runtime.h here). */
extern "C" void emulate_check_addresses(const void *argument, size_t bytes);
/* The same for a kernel and its arguments, which are evaluated once, as a device's launch does. */
template <typename... P, typename... A>
static inline void emulate_call(dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...),
                                A... args)
{
    (emulate_check_addresses(&args, sizeof args), ...);
    emulate_launch(grid, block, shared_bytes, [=] { kernel(args...); });
}
unsigned char *emulate_shared(void);
void __syncthreads(void);
int __syncthreads_or(int predicate);
void __syncwarp(unsigned mask = 0xFFFFFFFFU);
/** What lane `lane` of this thread's warp gives, once all have given theirs. */
uint64_t emulate_exchange(uint64_t value, int lane);

template <typename T> static inline T emulate_shuffle(T value, int lane)
{
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = emulate_exchange(bits, lane);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
static inline int emulate_lane(void)
{
    return (int)(threadIdx.x % 32);
}
template <typename T> static inline T __shfl_xor_sync(unsigned, T value, int mask)
{
    return emulate_shuffle(value, emulate_lane() ^ mask);
}
template <typename T> static inline T __shfl_sync(unsigned, T value, int lane)
{
    return emulate_shuffle(value, lane % 32);
}

/* cp.async of the PTX manual: `to` holds NaN until the thread waits; zeros for NULL. Ends the test
 * where an address is not aligned. */
void emulate_start_copy(void *to, const void *from, int bytes);
void emulate_wait_for_copies(void);

/* m16n8k16 of the PTX manual, bf16 to float: fragments as core/cuda/mma.cuh hands them over. */
void emulate_mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
/* ldmatrix of the PTX manual, four 8 x 8 matrices: `row` is the one whose address this lane gives.
 * Ends the test where it is not 16 bytes aligned. */
void emulate_ldmatrix(uint32_t (&to)[4], const fc_bf16 *row, bool transposed);

static inline float __fadd_rn(float x, float y)
{
    return x + y;
}
static inline float __fmul_rn(float x, float y)
{
    volatile float product = x * y; /* not to be fused with what follows */
    return product;
}
using std::sqrt;
static inline float rsqrtf(float x)
{
    return 1.0F / std::sqrt(x);
}

#define __expf(x) std::exp((float)(x)) /* the host's headers know another function of that name */
#define FC_DYNAMIC_SHARED(name) unsigned char *name = emulate_shared()
#define FC_LAUNCH(kernel, grid, block, shared_bytes, ...)                                          \
    emulate_call((grid), (block), (size_t)(shared_bytes), kernel, __VA_ARGS__)

#endif
