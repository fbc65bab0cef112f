/* Products of small tiles by a warp: 16 rows of the left side and of the result, kept in registers
 * as the tensor cores lay them out, by a tile in shared memory. bf16 goes to the tensor cores,
 * float to ordinary arithmetic with the same layout, so that kernels are written once.
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

/* Four 8 x 8 matrices out of shared memory, matrix j's row r at the address that lane 8 j + r
 * gives, 16 bytes aligned: in to[j] a thread gets columns 2t and 2t + 1 of row g, of the matrix or
 * of its transpose. ldmatrix of the PTX manual. */
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(uint32_t (&to)[4], const fc_bf16 *row)
{
#ifdef FC_CUDA_EMULATED
    emulate_ldmatrix(to, row, TRANSPOSED);
#else
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    if constexpr (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at)
                     : "memory");
    }
#endif
}

/* A 16 x 16 left side in a warp's registers: as mma takes it, or as two parts of a result. */
template <typename T> struct fragment;
template <> struct fragment<fc_bf16> {
    uint32_t v[4];
};
template <> struct fragment<float> {
    float v[2][4];
};

/* Out of shared memory, rows lda apart. */
__device__ __forceinline__ void load_fragment(fragment<fc_bf16> &f, const fc_bf16 *a, int lda)
{
    const int lane = (int)(threadIdx.x % WARP);
    load_matrices<false>(f.v, a + lane % 16 * lda + lane / 16 * 8);
}
__device__ __forceinline__ void load_fragment(fragment<float> &f, const float *a, int lda)
{
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int row = lane_row() + i % 4 / 2 * 8, col = i / 4 * 8 + lane_col() + i % 2;
        f.v[i / 4][i % 4] = a[row * lda + col];
    }
}

/* Out of columns [0, 8) and [8, 16) of a result: the next product's left side without a way through
 * memory. */
__device__ __forceinline__ void make_fragment(fragment<fc_bf16> &f, const float (&low)[4],
                                              const float (&high)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float *from = (i < 2 ? low : high) + i % 2 * 2;
        pack<fc_bf16, 2> two = {{from_float<fc_bf16>(from[0]), from_float<fc_bf16>(from[1])}};
        memcpy(&f.v[i], &two, sizeof two);
    }
}
__device__ __forceinline__ void make_fragment(fragment<float> &f, const float (&low)[4],
                                              const float (&high)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        f.v[0][i] = low[i];
        f.v[1][i] = high[i];
    }
}

/* acc (16, 8 PARTS) += a (16,16) b (16, 8 PARTS), b in shared memory; called by whole warps.
 *  B_T: b lies transposed, b[col * ldb + k]; else b[k * ldb + col]
 * PARTS is even. Of the result's parts only the first `parts` are added to, an even number that is
 * the same in all lanes. */
template <bool B_T, int PARTS>
__device__ __forceinline__ void multiply(float (&acc)[PARTS][4], const fragment<fc_bf16> &a,
                                         const fc_bf16 *b, int ldb, int parts = PARTS)
{
    const int lane = (int)(threadIdx.x % WARP);
    /* Matrices in the order: lower and upper half of k of one part, then of the next. */
    const int k = B_T ? lane / 8 % 2 * 8 : lane % 16;
    const int col = B_T ? lane % 8 + lane / 16 * 8 : lane / 16 * 8;
    const fc_bf16 *row = B_T ? b + col * ldb + k : b + k * ldb + col;
#pragma unroll
    for (int part = 0; part < PARTS; part += 2) {
        if (part < parts) {
            uint32_t fb[4];
            load_matrices<!B_T>(fb, row + part * 8 * (B_T ? ldb : 1));
            const uint32_t first[2] = {fb[0], fb[1]}, second[2] = {fb[2], fb[3]};
            mma(acc[part], a.v, first);
            mma(acc[part + 1], a.v, second);
        }
    }
}

template <bool B_T, int PARTS>
__device__ __forceinline__ void multiply(float (&acc)[PARTS][4], const fragment<float> &a,
                                         const float *b, int ldb, int parts = PARTS)
{
    const int quad = (int)(threadIdx.x % WARP) / 4 * 4; /* lanes that hold the same rows */
#pragma unroll 1 /* unrolled whole, the kernels take minutes to compile */
    for (int step = 0; step < 8; step++) {
        const int owner = quad + step % 4;
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int k = step * 2 + j;
            /* Indices that the compiler knows keep the fragment in registers. */
            const float upper = __shfl_sync(0xFFFFFFFFU, step < 4 ? a.v[0][j] : a.v[1][j], owner);
            const float lower =
                __shfl_sync(0xFFFFFFFFU, step < 4 ? a.v[0][2 + j] : a.v[1][2 + j], owner);
#pragma unroll
            for (int part = 0; part < PARTS; part++) {
                if (part < parts) {
                    const int col = part * 8 + lane_col();
                    const float b0 = B_T ? b[col * ldb + k] : b[k * ldb + col];
                    const float b1 = B_T ? b[(col + 1) * ldb + k] : b[k * ldb + col + 1];
                    acc[part][0] = fmaf(upper, b0, acc[part][0]);
                    acc[part][1] = fmaf(upper, b1, acc[part][1]);
                    acc[part][2] = fmaf(lower, b0, acc[part][2]);
                    acc[part][3] = fmaf(lower, b1, acc[part][3]);
                }
            }
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
