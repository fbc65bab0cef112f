/* Products of small tiles in shared memory, by a warp: 16 rows of a result a warp, kept in
 * registers as the tensor cores lay them out. bf16 goes to the tensor cores, float to ordinary
 * arithmetic with the same layout, so that kernels are written once.
 *
 * Layout of a 16 x 8 part: with g = lane / 4 and t = lane % 4, a thread holds columns 2t and 2t + 1
 * of rows g (values 0 and 1) and g + 8 (values 2 and 3). */
#ifndef FC_CORE_CUDA_MMA_CUH
#define FC_CORE_CUDA_MMA_CUH

#include "core/cuda/device.cuh"

__device__ __forceinline__ int lane_row()
{
    return (int)(threadIdx.x % WARP) / 4;
}
__device__ __forceinline__ int lane_col()
{
    return (int)(threadIdx.x % WARP) % 4 * 2;
}

/* c (16,8) += a (16,16) b (16,8): m16n8k16 of the PTX manual. */
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
#ifdef FC_CUDA_EMULATED
    emulate_mma(c, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* Two bf16 values, the first in the lower half: neighbours in memory, or `step` apart. */
__device__ __forceinline__ uint32_t pair_of(const fc_bf16 *at)
{
    return *reinterpret_cast<const uint32_t *>(at);
}
__device__ __forceinline__ uint32_t pair_of(const fc_bf16 *at, int step)
{
    const uint16_t low = *reinterpret_cast<const uint16_t *>(at);
    const uint16_t high = *reinterpret_cast<const uint16_t *>(at + step);
    return (uint32_t)low | (uint32_t)high << 16;
}

/* acc (16, 8 PARTS) += a (16, depth) b (depth, 8 PARTS), all of shared memory; called by whole
 * warps.
 *  A_T: a lies transposed, a[k * lda + row]; else a[row * lda + k]
 *  B_T: b lies transposed, b[col * ldb + k]; else b[k * ldb + col]
 * depth is a multiple of 16; for bf16 the strides are even. Of the result's parts only the first
 * `parts` are added to; the number is the same in all lanes. */
template <bool A_T, bool B_T, int PARTS>
__device__ __forceinline__ void warp_product(float (&acc)[PARTS][4], const fc_bf16 *a, int lda,
                                             const fc_bf16 *b, int ldb, int depth,
                                             int parts = PARTS)
{
    const int g = lane_row(), t2 = lane_col();
    for (int k = 0; k < depth; k += 16) {
        uint32_t fa[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = g + i % 2 * 8, at = k + t2 + i / 2 * 8;
            fa[i] = A_T ? pair_of(a + at * lda + row, lda) : pair_of(a + row * lda + at);
        }
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            if (part >= parts) {
                continue;
            }
            uint32_t fb[2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int col = part * 8 + g, at = k + t2 + i * 8;
                fb[i] = B_T ? pair_of(b + col * ldb + at) : pair_of(b + at * ldb + col, ldb);
            }
            mma(acc[part], fa, fb);
        }
    }
}

template <bool A_T, bool B_T, int PARTS>
__device__ __forceinline__ void warp_product(float (&acc)[PARTS][4], const float *a, int lda,
                                             const float *b, int ldb, int depth, int parts = PARTS)
{
    const int g = lane_row(), t2 = lane_col();
    for (int k = 0; k < depth; k++) {
        const float low = A_T ? a[k * lda + g] : a[g * lda + k];
        const float high = A_T ? a[k * lda + g + 8] : a[(g + 8) * lda + k];
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            if (part >= parts) {
                continue;
            }
            const int col = part * 8 + t2;
            const float b0 = B_T ? b[col * ldb + k] : b[k * ldb + col];
            const float b1 = B_T ? b[(col + 1) * ldb + k] : b[k * ldb + col + 1];
            acc[part][0] = fmaf(low, b0, acc[part][0]);
            acc[part][1] = fmaf(low, b1, acc[part][1]);
            acc[part][2] = fmaf(high, b0, acc[part][2]);
            acc[part][3] = fmaf(high, b1, acc[part][3]);
        }
    }
}

template <int PARTS> __device__ __forceinline__ void clear(float (&acc)[PARTS][4])
{
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            acc[part][i] = 0;
        }
    }
}

#endif
