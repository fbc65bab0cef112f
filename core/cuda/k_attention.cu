/* Fused attention over packed sequences of different lengths: tiles of queries against tiles of
 * keys in shared memory, softmax in registers as it goes (Dao et al. 2022, Rabe and Staats 2021),
 * never a score matrix in memory. A warp owns 16 rows of a tile.
 *
 * Back, one kernel has a block a tile of keys and sums over queries (dk, dv), another a block a
 * tile of queries and sums over keys (dq): the scores are computed twice, but every sum has one
 * owner and one order, so there are no atomics. Rotary positions are applied as tiles are loaded
 * and undone as gradients are stored, in float; tables, log sums and statistics are float in either
 * type. */
#include "core/cuda/attention_tile.cuh"

namespace
{

/* A warp's 16 rows of a result, times scale, to rows from `first` on of one head: the way back of
 * load_tile. */
template <typename T, int PARTS>
__device__ __forceinline__ void
store_rows(fci_out out, int64_t at, int64_t stride, const float (&acc)[PARTS][4], int first,
           int rows, int width, float scale, const float *__restrict__ cosines,
           const float *__restrict__ sines)
{
    if (out.at == nullptr) {
        return;
    }
    T *to = (T *)out.at + at;
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = first + lane_row() + 8 * half, c = part * 8 + lane_col();
            if (row >= rows || c >= width) {
                continue;
            }
            float x = acc[part][2 * half] * scale, y = acc[part][2 * half + 1] * scale;
            if (cosines != nullptr && row >= 1) {
                const int64_t angle = (int64_t)(row - 1) * (width / 2) + c / 2;
                const float cosine = cosines[angle], sine = sines[angle], rotated = x;
                x = rotated * cosine + y * sine;
                y = y * cosine - rotated * sine;
            }
            T *p = to + (int64_t)row * stride + c;
            const float first_value[1] = {x}, second_value[1] = {y};
            put<T, 1>(p, out.add, first_value);
            if (c + 1 < width) {
                put<T, 1>(p + 1, out.add, second_value);
            }
        }
    }
}

template <typename T, int WIDE, int N>
__global__ void __launch_bounds__(tiles<T, WIDE>::THREADS) attention(fci_attention_args a)
{
    using S = tiles<T, WIDE>;
    FC_DYNAMIC_SHARED(shared);
    T *q = reinterpret_cast<T *>(shared), *k = q + S::TILE, *v = k + S::TILE, *p = v + S::TILE;
    const head h = head_of(a, (int)blockIdx.y);
    const int begin = (int)blockIdx.z * S::ROWS;
    if (begin >= h.queries) {
        return;
    }
    const float *cosines = (const float *)a.rope_cos, *sines = (const float *)a.rope_sin;
    const int warp_row = (int)threadIdx.x / WARP * 16;
    load_tile<T, WIDE, N>(q, (const T *)a.q + h.first_q * a.q_stride + h.column, a.q_stride, begin,
                          h.queries, h.width, a.rope_q ? cosines : nullptr, sines);
    float out[S::PARTS][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    clear(out);
    const int end = visible(h, a.causal, begin + S::ROWS);
    for (int key = 0; key < end; key += S::ROWS) {
        __syncthreads(); /* the tiles before have been read */
        const int64_t at = h.first_k * a.k_stride + h.column;
        load_tile<T, WIDE, N>(k, (const T *)a.k + at, a.k_stride, key, h.keys, h.width, cosines,
                              sines);
        load_tile<T, WIDE, N>(v, (const T *)a.v + at, a.k_stride, key, h.keys, h.width, nullptr,
                              nullptr);
        __syncthreads();
        if (begin + warp_row >= h.queries) {
            continue; /* a warp without rows has only loaded */
        }
        const int depth = filled(key, end, S::ROWS);
        float s[S::SCORE_PARTS][4];
        clear(s);
        warp_product<false, true>(s, q + warp_row * S::LD, S::LD, k, S::LD, WIDE, depth / 8);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = begin + warp_row + lane_row() + 8 * half;
            float top = most[half];
#pragma unroll
            for (int part = 0; part < S::SCORE_PARTS; part++) {
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    const int col = key + part * 8 + lane_col() + i % 2;
                    s[part][i] = sees(h, a.causal, row, col) ? s[part][i] * h.scale : -INFINITY;
                    top = fmaxf(top, s[part][i]);
                }
            }
            top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFU, top, 1)); /* a row lies in four lanes */
            top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFU, top, 2));
            const float base = top == -INFINITY ? 0 : top, keep = __expf(most[half] - base);
            float added = 0;
#pragma unroll
            for (int part = 0; part < S::SCORE_PARTS; part++) {
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    const T e = from_float<T>(__expf(s[part][i] - base));
                    added += to_float(e); /* the sum of what the product takes */
                    p[(warp_row + lane_row() + 8 * half) * S::LD_SCORES + part * 8 + lane_col() +
                      i % 2] = e;
                }
            }
            added += __shfl_xor_sync(0xFFFFFFFFU, added, 1);
            added += __shfl_xor_sync(0xFFFFFFFFU, added, 2);
            sum[half] = sum[half] * keep + added;
            most[half] = top;
#pragma unroll
            for (int part = 0; part < S::PARTS; part++) {
                out[part][2 * half] *= keep;
                out[part][2 * half + 1] *= keep;
            }
        }
        __syncwarp(); /* a warp reads its own rows of p alone */
        warp_product<false, false>(out, p + warp_row * S::LD_SCORES, S::LD_SCORES, v, S::LD, depth);
        __syncwarp();
    }
    const int64_t stride = (int64_t)a.heads * h.width;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float scale = sum[half] > 0 ? 1.0F / sum[half] : 0; /* no keys: zeros */
#pragma unroll
        for (int part = 0; part < S::PARTS; part++) {
            out[part][2 * half] *= scale;
            out[part][2 * half + 1] *= scale;
        }
        const int row = begin + warp_row + lane_row() + 8 * half;
        if (a.lse != nullptr && lane_col() == 0 && row < h.queries) {
            ((float *)a.lse)[(h.first_q + row) * a.heads + blockIdx.y] =
                most[half] + logf(sum[half]);
        }
    }
    store_rows<T>(fci_out{a.y, false}, h.first_q * stride + h.column, stride, out, begin + warp_row,
                  h.queries, h.width, 1, nullptr, nullptr);
}

enum { DELTA_THREADS = 128 };

/* delta (Tq,H) = <dy, y> of each head's row; a warp a number. */
template <typename T>
__global__ void __launch_bounds__(DELTA_THREADS)
    attention_delta(const T *__restrict__ y, const T *__restrict__ dy, float *__restrict__ delta,
                    int64_t count, int width)
{
    const int64_t i = ((int64_t)blockIdx.x * DELTA_THREADS + threadIdx.x) / WARP;
    float sum = 0;
    for (int c = (int)(threadIdx.x % WARP); i < count && c < width; c += WARP) {
        sum += to_float(y[i * width + c]) * to_float(dy[i * width + c]);
    }
    sum = warp_sum(sum);
    if (i < count && threadIdx.x % WARP == 0) {
        delta[i] = sum;
    }
}

/* A warp's 16 queries against a tile of keys: probabilities, and gradients of the scores, both as
 * tiles of T. dy and v as q and k. */
template <typename T, int WIDE>
__device__ __forceinline__ void score_slopes(const fci_attention_args &a, const head &h,
                                             const float *__restrict__ delta, const T *q,
                                             const T *k, const T *v, const T *dy, int query,
                                             int key, T *p_tile, T *ds_tile)
{
    using S = tiles<T, WIDE>;
    const int warp_row = (int)threadIdx.x / WARP * 16;
    float s[S::SCORE_PARTS][4], dp[S::SCORE_PARTS][4];
    const int parts = filled(key, h.keys, S::ROWS) / 8;
    clear(s);
    clear(dp);
    warp_product<false, true>(s, q + warp_row * S::LD, S::LD, k, S::LD, WIDE, parts);
    warp_product<false, true>(dp, dy + warp_row * S::LD, S::LD, v, S::LD, WIDE, parts);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int inside = warp_row + lane_row() + 8 * half, row = query + inside;
        const int64_t at = (h.first_q + row) * a.heads + blockIdx.y;
        const float lse = row < h.queries ? ((const float *)a.lse)[at] : 0;
        const float d = row < h.queries ? delta[at] : 0;
#pragma unroll
        for (int part = 0; part < S::SCORE_PARTS; part++) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                const int col = part * 8 + lane_col() + i % 2;
                const float p =
                    sees(h, a.causal, row, key + col) ? __expf(s[part][i] * h.scale - lse) : 0;
                p_tile[inside * S::LD_SCORES + col] = from_float<T>(p);
                ds_tile[inside * S::LD_SCORES + col] = from_float<T>(p * (dp[part][i] - d));
            }
        }
    }
}

template <typename T, int WIDE, int N>
__global__ void __launch_bounds__(tiles<T, WIDE>::THREADS)
    attention_dkv(fci_attention_args a, const float *__restrict__ delta)
{
    using S = tiles<T, WIDE>;
    FC_DYNAMIC_SHARED(shared);
    T *q = reinterpret_cast<T *>(shared), *k = q + S::TILE, *v = k + S::TILE, *dy = v + S::TILE;
    T *p = dy + S::TILE, *ds = p + S::SCORES;
    const head h = head_of(a, (int)blockIdx.y);
    const int key = (int)blockIdx.z * S::ROWS;
    if (key >= h.keys) {
        return;
    }
    const float *cosines = (const float *)a.rope_cos, *sines = (const float *)a.rope_sin;
    const int64_t k_at = h.first_k * a.k_stride + h.column, stride = (int64_t)a.heads * h.width;
    load_tile<T, WIDE, N>(k, (const T *)a.k + k_at, a.k_stride, key, h.keys, h.width, cosines,
                          sines);
    load_tile<T, WIDE, N>(v, (const T *)a.v + k_at, a.k_stride, key, h.keys, h.width, nullptr,
                          nullptr);
    const int warp_row = (int)threadIdx.x / WARP * 16;
    float dk[S::PARTS][4], dv[S::PARTS][4];
    clear(dk);
    clear(dv);
    /* Causal: queries before the tile's first key see none of it. */
    for (int query = a.causal ? key : 0; query < h.queries; query += S::ROWS) {
        __syncthreads();
        load_tile<T, WIDE, N>(q, (const T *)a.q + h.first_q * a.q_stride + h.column, a.q_stride,
                              query, h.queries, h.width, a.rope_q ? cosines : nullptr, sines);
        load_tile<T, WIDE, N>(dy, (const T *)a.dy + h.first_q * stride + h.column, stride, query,
                              h.queries, h.width, nullptr, nullptr);
        __syncthreads();
        const int depth = filled(query, h.queries, S::ROWS);
        if (warp_row < depth) {
            score_slopes<T, WIDE>(a, h, delta, q, k, v, dy, query, key, p, ds);
        }
        __syncthreads(); /* a warp's keys need all queries */
        if (key + warp_row < h.keys) {
            warp_product<true, false>(dv, p + warp_row, S::LD_SCORES, dy, S::LD, depth);
            warp_product<true, false>(dk, ds + warp_row, S::LD_SCORES, q, S::LD, depth);
        }
    }
    store_rows<T>(a.dk, k_at, a.k_stride, dk, key + warp_row, h.keys, h.width, h.scale, cosines,
                  sines);
    store_rows<T>(a.dv, k_at, a.k_stride, dv, key + warp_row, h.keys, h.width, 1, nullptr, nullptr);
}

template <typename T, int WIDE, int N>
__global__ void __launch_bounds__(tiles<T, WIDE>::THREADS)
    attention_dq(fci_attention_args a, const float *__restrict__ delta)
{
    using S = tiles<T, WIDE>;
    FC_DYNAMIC_SHARED(shared);
    T *q = reinterpret_cast<T *>(shared), *k = q + S::TILE, *v = k + S::TILE, *dy = v + S::TILE;
    T *p = dy + S::TILE, *ds = p + S::SCORES;
    const head h = head_of(a, (int)blockIdx.y);
    const int query = (int)blockIdx.z * S::ROWS;
    if (query >= h.queries) {
        return;
    }
    const float *cosines = (const float *)a.rope_cos, *sines = (const float *)a.rope_sin;
    const int64_t q_at = h.first_q * a.q_stride + h.column,
                  k_at = h.first_k * a.k_stride + h.column;
    const int64_t stride = (int64_t)a.heads * h.width;
    load_tile<T, WIDE, N>(q, (const T *)a.q + q_at, a.q_stride, query, h.queries, h.width,
                          a.rope_q ? cosines : nullptr, sines);
    load_tile<T, WIDE, N>(dy, (const T *)a.dy + h.first_q * stride + h.column, stride, query,
                          h.queries, h.width, nullptr, nullptr);
    const int warp_row = (int)threadIdx.x / WARP * 16;
    float dq[S::PARTS][4];
    clear(dq);
    const int end = visible(h, a.causal, query + S::ROWS);
    for (int key = 0; key < end; key += S::ROWS) {
        __syncthreads();
        load_tile<T, WIDE, N>(k, (const T *)a.k + k_at, a.k_stride, key, h.keys, h.width, cosines,
                              sines);
        load_tile<T, WIDE, N>(v, (const T *)a.v + k_at, a.k_stride, key, h.keys, h.width, nullptr,
                              nullptr);
        __syncthreads();
        if (query + warp_row >= h.queries) {
            continue;
        }
        score_slopes<T, WIDE>(a, h, delta, q, k, v, dy, query, key, p, ds);
        __syncwarp(); /* a warp reads its own queries alone */
        warp_product<false, false>(dq, ds + warp_row * S::LD_SCORES, S::LD_SCORES, k, S::LD,
                                   filled(key, end, S::ROWS));
        __syncwarp();
    }
    store_rows<T>(a.dq, q_at, a.q_stride, dq, query + warp_row, h.queries, h.width, h.scale,
                  a.rope_q ? cosines : nullptr, sines);
}

template <typename T, int WIDE, int N> void launch_forward(const fci_attention_args &a)
{
    using S = tiles<T, WIDE>;
    const dim3 grid((unsigned)a.sequences, (unsigned)a.heads, blocks_for(a.longest_q, S::ROWS));
    FC_LAUNCH((attention<T, WIDE, N>), grid, S::THREADS, (3 * S::TILE + S::SCORES) * sizeof(T), a);
}

template <typename T, int WIDE, int N>
void launch_backward(const fci_attention_args &a, const float *delta)
{
    using S = tiles<T, WIDE>;
    const size_t shared = (4 * S::TILE + 2 * S::SCORES) * sizeof(T);
    if ((a.dk.at != nullptr || a.dv.at != nullptr) && a.longest_k > 0) {
        const dim3 grid((unsigned)a.sequences, (unsigned)a.heads, blocks_for(a.longest_k, S::ROWS));
        FC_LAUNCH((attention_dkv<T, WIDE, N>), grid, S::THREADS, shared, a, delta);
    }
    if (a.dq.at != nullptr && a.longest_q > 0) {
        const dim3 grid((unsigned)a.sequences, (unsigned)a.heads, blocks_for(a.longest_q, S::ROWS));
        FC_LAUNCH((attention_dq<T, WIDE, N>), grid, S::THREADS, shared, a, delta);
    }
}

template <typename T> void attention_fwd(const fci_attention_args &a, fc_arena *)
{
    if (a.sequences == 0 || a.longest_q == 0) {
        return;
    }
    FC_BY_HEAD_WIDTH(a.head_width, {
        if (is_wide<T>(a)) {
            launch_forward<T, WIDE, 16 / sizeof(T)>(a);
        } else {
            launch_forward<T, WIDE, 1>(a);
        }
    });
}

template <typename T> void attention_bwd(const fci_attention_args &a, fc_arena *scratch)
{
    if (a.sequences == 0) {
        return;
    }
    const int64_t count = a.rows_q * a.heads;
    float *delta = scratch_array<float>(scratch, count);
    if (count > 0) {
        FC_LAUNCH((attention_delta<T>), blocks_for(count, DELTA_THREADS / WARP), DELTA_THREADS, 0,
                  (const T *)a.y, (const T *)a.dy, delta, count, (int)a.head_width);
    }
    FC_BY_HEAD_WIDTH(a.head_width, {
        if (is_wide<T>(a)) {
            launch_backward<T, WIDE, 16 / sizeof(T)>(a, delta);
        } else {
            launch_backward<T, WIDE, 1>(a, delta);
        }
    });
}

} // namespace

FC_CUDA_ENTRY(attention, fwd)
FC_CUDA_ENTRY(attention, bwd)
