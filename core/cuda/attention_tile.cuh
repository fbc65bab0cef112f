/* Tiles of queries, keys and values in shared memory, for what walks over attention's scores. A
 * warp owns 16 rows of a tile. */
#ifndef FC_CORE_CUDA_ATTENTION_TILE_CUH
#define FC_CORE_CUDA_ATTENTION_TILE_CUH

#include "core/cuda/mma.cuh"

/* A head of one sequence. WIDE: head width rounded up to what a tile holds. */
template <typename T, int WIDE> struct tiles {
    /* Of queries and of keys: eight tiles fit into the 99 KiB that the smallest devices have, but
     * for floats of heads wider than 64. */
    static constexpr int ROWS = WIDE * sizeof(T) > 128 ? 32 : 64;
    static constexpr int THREADS = ROWS / 16 * WARP;
    /* Queries of a block that goes through the keys: every key is read once for so many. */
    static constexpr int QUERIES = 2 * ROWS, QUERY_THREADS = QUERIES / 16 * WARP;
    static constexpr int PAD = 16 / sizeof(T); /* keeps rows aligned and their banks apart */
    static constexpr int LD = WIDE + PAD;
    static constexpr int PARTS = WIDE / 8, SCORE_PARTS = ROWS / 8;
    static constexpr size_t TILE = (size_t)ROWS * LD;
};

struct head {
    int64_t first_q, first_k;
    int queries, keys, width, column;
    float scale;
};

/* Head `index` of the block's sequence, blockIdx.x. */
__device__ __forceinline__ head head_of(const fci_attention_args &a, int index)
{
    const int64_t s = blockIdx.x;
    head h;
    h.first_q = a.q_offsets[s];
    h.first_k = a.k_offsets[s];
    h.queries = (int)(a.q_offsets[s + 1] - h.first_q);
    h.keys = (int)(a.k_offsets[s + 1] - h.first_k);
    h.width = (int)a.head_width;
    h.column = index * h.width;
    h.scale = rsqrtf((float)h.width);
    return h;
}

/* Queries, keys, values or slopes of one head: `count` rows of `width` columns, turned by rotary
 * positions where there are tables: row r >= 1 by table row r - 1. */
template <typename T> struct head_rows {
    const T *at;
    int64_t stride;
    int count, width;
    const float *cosines, *sines;
};

template <typename T> struct head_inputs {
    head_rows<T> q, k, v, dy;
};

/* What a head of one sequence is computed from; dy where there is one. */
template <typename T>
__device__ __forceinline__ head_inputs<T> inputs_of(const fci_attention_args &a, const head &h)
{
    const float *cosines = (const float *)a.rope_cos, *sines = (const float *)a.rope_sin;
    const int64_t q = h.first_q * a.q_stride + h.column, k = h.first_k * a.k_stride + h.column;
    const int64_t stride = (int64_t)a.heads * h.width, y = h.first_q * stride + h.column;
    return {
        {(const T *)a.q + q, a.q_stride, h.queries, h.width, a.rope_q ? cosines : nullptr, sines},
        {(const T *)a.k + k, a.k_stride, h.keys, h.width, cosines, sines},
        {(const T *)a.v + k, a.k_stride, h.keys, h.width, nullptr, nullptr},
        {a.dy != nullptr ? (const T *)a.dy + y : nullptr, stride, h.queries, h.width, nullptr,
         nullptr}};
}

/* A tile of ROWS rows from `first` on, loaded by THREADS threads in two halves: copies are started,
 * and, once the thread has waited for its own, what it copied is turned. Zeros beyond the rows and
 * beyond their width. N values an access; the width is a multiple of N, or N is 1 and the second of
 * a pair may not exist: then nothing is copied beside other work. */
template <typename T, int WIDE, int N, int ROWS, int THREADS> struct tile_loader {
    static constexpr int STEP = N == 1 ? 2 : N; /* rotation turns pairs */
    static constexpr int LD = tiles<T, WIDE>::LD;

    static __device__ __forceinline__ void start(T *tile, const head_rows<T> &from, int first)
    {
        for (int i = (int)threadIdx.x; i < ROWS * WIDE / STEP; i += THREADS) {
            const int r = i / (WIDE / STEP), c = i % (WIDE / STEP) * STEP, row = first + r;
            const bool exists = row < from.count && c < from.width;
            const T *at = exists ? from.at + (int64_t)row * from.stride + c : from.at;
            if constexpr (N == 1) {
                tile[r * LD + c] = exists ? at[0] : from_float<T>(0);
                tile[r * LD + c + 1] = exists && c + 1 < from.width ? at[1] : from_float<T>(0);
            } else {
                start_copy<16>(tile + r * LD + c, at, exists);
            }
        }
    }

    static __device__ __forceinline__ void finish(T *tile, const head_rows<T> &from, int first)
    {
        if (from.cosines == nullptr) {
            return;
        }
        for (int i = (int)threadIdx.x; i < ROWS * WIDE / STEP; i += THREADS) {
            const int r = i / (WIDE / STEP), c = i % (WIDE / STEP) * STEP, row = first + r;
            if (row < 1 || row >= from.count || c >= from.width) {
                continue;
            }
            const int64_t angle = (int64_t)(row - 1) * (from.width / 2) + c / 2;
            float v[STEP], cosine[STEP / 2], sine[STEP / 2];
            load<T, STEP>(v, tile + r * LD + c);
            load<float, STEP / 2>(cosine, from.cosines + angle);
            load<float, STEP / 2>(sine, from.sines + angle);
#pragma unroll
            for (int k = 0; k < STEP; k += 2) {
                const float x = v[k], y = v[k + 1];
                v[k] = x * cosine[k / 2] - y * sine[k / 2];
                v[k + 1] = y * cosine[k / 2] + x * sine[k / 2];
            }
            store<T, STEP>(tile + r * LD + c, v);
        }
    }

    /* Both, with nothing in between. */
    static __device__ __forceinline__ void load_now(T *tile, const head_rows<T> &from, int first)
    {
        start(tile, from, first);
        wait_for_copies();
        finish(tile, from, first);
    }
};

/* A warp's 16 rows of a tile as the left side of products: in registers where there is room for
 * them, read anew for every product elsewhere. The tile must stay as it is. */
template <typename T, int WIDE> struct own_rows {
    static constexpr bool HELD = sizeof(T) == 2 && WIDE <= 64;
    const T *at;
    fragment<T> held[HELD ? WIDE / 16 : 1];

    __device__ __forceinline__ explicit own_rows(const T *rows) : at(rows)
    {
        if constexpr (HELD) {
#pragma unroll
            for (int k = 0; k < WIDE / 16; k++) {
                load_fragment(held[k], at + k * 16, tiles<T, WIDE>::LD);
            }
        }
    }

    /* acc = these rows by the transpose of b, a tile or its rows from some row on. */
    template <int PARTS>
    __device__ __forceinline__ void scores(float (&acc)[PARTS][4], const T *b,
                                           int parts = PARTS) const
    {
        constexpr int LD = tiles<T, WIDE>::LD;
        clear(acc);
        if constexpr (HELD) {
#pragma unroll
            for (int k = 0; k < WIDE / 16; k++) {
                multiply<true>(acc, held[k], b + k * 16, LD, parts);
            }
        } else {
#pragma unroll 1
            for (int k = 0; k < WIDE / 16; k++) {
                fragment<T> read;
                load_fragment(read, at + k * 16, LD);
                multiply<true>(acc, read, b + k * 16, LD, parts);
            }
        }
    }
};

/* out (16, WIDE) += weights (16, 8 PARTS), rounded to T, by as many rows of a tile; the first
 * `depth` columns of the weights count, a multiple of 16. */
template <typename T, int WIDE, int PARTS>
__device__ __forceinline__ void
add_weighted(float (&out)[WIDE / 8][4], const float (&weights)[PARTS][4], const T *rows, int depth)
{
#pragma unroll
    for (int k = 0; k < PARTS / 2; k++) {
        if (k * 16 < depth) {
            fragment<T> f;
            make_fragment(f, weights[2 * k], weights[2 * k + 1]);
            multiply<false>(out, f, rows + k * 16 * tiles<T, WIDE>::LD, tiles<T, WIDE>::LD);
        }
    }
}

/* Scores of queries from `row` on, a warp's own, and keys from `col` on: -inf where one is not
 * seen. */
template <int PARTS>
__device__ __forceinline__ void hide_unseen(float (&s)[PARTS][4], const head &h, bool causal,
                                            int row, int col)
{
    if (!causal && col + PARTS * 8 <= h.keys) {
        return;
    }
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int key = col + part * 8 + lane_col() + i % 2;
            if (key >= h.keys || (causal && key > row + lane_row() + i / 2 * 8)) {
                s[part][i] = -INFINITY;
            }
        }
    }
}

/* End of the keys that queries before `end` see. */
__device__ __forceinline__ int visible(const head &h, bool causal, int end)
{
    return causal && end < h.keys ? end : h.keys;
}

/* Rows that count of a tile that begins at `first` of `rows`, rounded up to what one product
 * takes: the last of 197 rows' tiles holds 5, and 16 of its 64 are worked on. */
__device__ __forceinline__ int filled(int first, int rows, int tile)
{
    const int left = rows - first;
    return left < tile ? (left + 15) / 16 * 16 : tile;
}

/* Head widths up to 128 have a tile that holds them. */
#define FC_BY_HEAD_WIDTH(width, ...)                                                               \
    do {                                                                                           \
        if ((width) <= 32) {                                                                       \
            constexpr int WIDE = 32;                                                               \
            __VA_ARGS__;                                                                           \
        } else if ((width) <= 64) {                                                                \
            constexpr int WIDE = 64;                                                               \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            constexpr int WIDE = 128;                                                              \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

/* Every access of load_tile can be a wide one: head columns, strides and bases are aligned. */
template <typename T> static bool is_wide(const fci_attention_args &a)
{
    return widest<T>(a.head_width, {a.q, a.k, a.v, a.dy, a.rope_cos, a.rope_sin}) *
                   (int)sizeof(T) ==
               16 &&
           widest<T>(a.q_stride, {}) * (int)sizeof(T) == 16 &&
           widest<T>(a.k_stride, {}) * (int)sizeof(T) == 16;
}

#endif
