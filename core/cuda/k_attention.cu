/* Fused attention over packed sequences of different lengths: tiles of queries against tiles of
 * keys in shared memory, softmax in registers as it goes (Dao et al. 2022, Rabe and Staats 2021),
 * never a score matrix in memory. A warp owns 16 rows of a tile.
 *
 * Back, one kernel has a block a tile of keys and sums over queries (dk, dv), another a block a
 * tile of queries and sums over keys (dq): the scores are computed twice, but every sum has one
 * owner and one order, so there are no atomics. Scores never leave the registers: a result of one
 * product is the left side of the next. While one tile is at work the next is copied. Rotary
 * positions are applied to tiles that have come and undone as gradients are stored, in float;
 * tables, log sums and statistics are float in either type. */
#include "core/cuda/attention_tile.cuh"

namespace
{

/* A warp's 16 rows of a result, times scale, to rows from `first` on of one head: the way back of
 * tile_loader, N as there. */
template <typename T, int N, int PARTS>
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
            if constexpr (N == 1) {
                const float first_value[1] = {x}, second_value[1] = {y};
                put<T, 1>(p, out.add, first_value);
                if (c + 1 < width) {
                    put<T, 1>(p + 1, out.add, second_value);
                }
            } else {
                const float both[2] = {x, y};
                put<T, 2>(p, out.add, both);
            }
        }
    }
}

template <typename T, int WIDE, int N>
__global__ void __launch_bounds__(tiles<T, WIDE>::QUERY_THREADS, WIDE <= 64 ? 2 : 1)
    attention(fci_attention_args a)
{
    using S = tiles<T, WIDE>;
    using queries = tile_loader<T, WIDE, N, S::QUERIES, S::QUERY_THREADS>;
    using keys = tile_loader<T, WIDE, N, S::ROWS, S::QUERY_THREADS>;
    FC_DYNAMIC_SHARED(shared);
    T *q = reinterpret_cast<T *>(shared);
    T *k = q + 2 * S::TILE, *v = k + 2 * S::TILE; /* two of each */
    const head h = head_of(a, (int)blockIdx.y);
    const int begin = (int)blockIdx.z * S::QUERIES;
    if (begin >= h.queries) {
        return;
    }
    const head_inputs<T> in = inputs_of<T>(a, h);
    const int warp_row = (int)threadIdx.x / WARP * 16, query = begin + warp_row;
    const int end = visible(h, a.causal, begin + S::QUERIES);
    keys::start(k, in.k, 0);
    keys::start(v, in.v, 0);
    queries::load_now(q, in.q, begin);
    __syncthreads();
    const own_rows<T, WIDE> own(q + warp_row * S::LD);
    const float scale = h.scale * LOG2_E; /* e^(score * h.scale) = 2^(score * scale) */
    float out[S::PARTS][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    clear(out);
    size_t now = 0; /* the tiles at work; the others' copies are on their way */
    for (int key = 0; key < end; key += S::ROWS, now = S::TILE - now) {
        wait_for_copies();
        keys::finish(k + now, in.k, key);
        __syncthreads(); /* these tiles are whole, and the others have been read */
        if (key + S::ROWS < end) {
            keys::start(k + S::TILE - now, in.k, key + S::ROWS);
            keys::start(v + S::TILE - now, in.v, key + S::ROWS);
        }
        const int own_end = visible(h, a.causal, query + 16);
        if (query >= h.queries || key >= own_end) {
            continue; /* a warp that has no rows, or sees none of these keys, has only loaded */
        }
        const int depth = filled(key, own_end, S::ROWS);
        float s[S::SCORE_PARTS][4];
        own.scores(s, k + now, depth / 8);
        hide_unseen(s, h, a.causal, query, key);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = most[half]; /* of the scores before they are scaled */
#pragma unroll
            for (int part = 0; part < S::SCORE_PARTS; part++) {
                top = fmaxf(top, fmaxf(s[part][2 * half], s[part][2 * half + 1]));
            }
            top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFU, top, 1)); /* a row lies in four lanes */
            top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFU, top, 2));
            const float base = top == -INFINITY ? 0 : top * scale;
            const float keep = two_to(most[half] * scale - base);
            float added = 0;
#pragma unroll
            for (int part = 0; part < S::SCORE_PARTS; part++) {
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    s[part][i] = to_float(from_float<T>(two_to(fmaf(s[part][i], scale, -base))));
                    added += s[part][i]; /* the sum of what the product takes */
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
        add_weighted<T, WIDE>(out, s, v + now, depth);
    }
    const int64_t stride = (int64_t)a.heads * h.width;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float share = sum[half] > 0 ? 1.0F / sum[half] : 0; /* no keys: zeros */
#pragma unroll
        for (int part = 0; part < S::PARTS; part++) {
            out[part][2 * half] *= share;
            out[part][2 * half + 1] *= share;
        }
        const int row = query + lane_row() + 8 * half;
        if (a.lse != nullptr && lane_col() == 0 && row < h.queries) {
            ((float *)a.lse)[(h.first_q + row) * a.heads + blockIdx.y] =
                most[half] * h.scale + logf(sum[half]);
        }
    }
    store_rows<T, N>(fci_out{a.y, false}, h.first_q * stride + h.column, stride, out, query,
                     h.queries, h.width, 1, nullptr, nullptr);
}

enum { DELTA_THREADS = 128, DELTA_LANES = 8 };

/* delta (Tq,H) = <dy, y> of each head's row; DELTA_LANES lanes a number. */
template <typename T, int N>
__global__ void __launch_bounds__(DELTA_THREADS)
    attention_delta(const T *__restrict__ y_TD, const T *__restrict__ dy_TD,
                    float *__restrict__ delta, int64_t count, int width)
{
    const int64_t i = ((int64_t)blockIdx.x * DELTA_THREADS + threadIdx.x) / DELTA_LANES;
    const int lane = (int)threadIdx.x % DELTA_LANES;
    float sum = 0;
    for (int c = lane * N; i < count && c < width; c += DELTA_LANES * N) {
        float y[N], dy[N];
        load<T, N>(y, y_TD + i * width + c);
        load<T, N>(dy, dy_TD + i * width + c);
#pragma unroll
        for (int k = 0; k < N; k++) {
            sum += y[k] * dy[k];
        }
    }
#pragma unroll
    for (int offset = DELTA_LANES / 2; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xFFFFFFFFU, sum, offset);
    }
    if (i < count && lane == 0) {
        delta[i] = sum;
    }
}

/* Columns of scores that the way back holds at once: a whole tile's would not fit beside the sums.
 */
enum { SLICE = 32, SLICE_PARTS = SLICE / 8 };

/* dk and dv of a tile of keys. A warp owns 16 keys and computes scores transposed, (keys, queries):
 * as they come out of one product they are the left side of the next. */
template <typename T, int WIDE, int N>
__global__ void __launch_bounds__(tiles<T, WIDE>::THREADS, WIDE <= 64 ? 3 : 1)
    attention_dkv(fci_attention_args a, const float *__restrict__ delta_TH)
{
    using S = tiles<T, WIDE>;
    using loader = tile_loader<T, WIDE, N, S::ROWS, S::THREADS>;
    FC_DYNAMIC_SHARED(shared);
    T *k = reinterpret_cast<T *>(shared), *v = k + S::TILE;
    T *q = v + S::TILE, *dy = q + 2 * S::TILE; /* two of each, and of the rows' numbers */
    float *lse = reinterpret_cast<float *>(dy + 2 * S::TILE), *delta = lse + 2 * S::ROWS;
    const head h = head_of(a, (int)blockIdx.y);
    const int begin = (int)blockIdx.z * S::ROWS;
    if (begin >= h.keys) {
        return;
    }
    const head_inputs<T> in = inputs_of<T>(a, h);
    const auto start_queries = [&](int query, int buffer) {
        loader::start(q + buffer * S::TILE, in.q, query);
        loader::start(dy + buffer * S::TILE, in.dy, query);
        for (int i = (int)threadIdx.x; i < S::ROWS; i += S::THREADS) {
            const bool exists = query + i < h.queries;
            const int64_t at = exists ? (h.first_q + query + i) * a.heads + blockIdx.y : 0;
            start_copy<4>(lse + buffer * S::ROWS + i, (const float *)a.lse + at, exists);
            start_copy<4>(delta + buffer * S::ROWS + i, delta_TH + at, exists);
        }
    };
    /* Causal: queries before the tile's first key see none of it. */
    const int first_query = a.causal ? begin : 0;
    if (first_query < h.queries) {
        start_queries(first_query, 0);
    }
    loader::load_now(k, in.k, begin);
    loader::load_now(v, in.v, begin);
    __syncthreads();
    const int warp_row = (int)threadIdx.x / WARP * 16, key = begin + warp_row;
    const own_rows<T, WIDE> keys(k + warp_row * S::LD), values(v + warp_row * S::LD);
    const float scale = h.scale * LOG2_E;
    float dk[S::PARTS][4], dv[S::PARTS][4];
    clear(dk);
    clear(dv);
    int now = 0;
    for (int query = first_query; query < h.queries; query += S::ROWS, now = 1 - now) {
        const T *q_now = q + now * S::TILE, *dy_now = dy + now * S::TILE;
        const float *lse_now = lse + now * S::ROWS, *delta_now = delta + now * S::ROWS;
        wait_for_copies();
        loader::finish(q + now * S::TILE, in.q, query);
        __syncthreads(); /* these tiles are whole, and the others have been read */
        if (query + S::ROWS < h.queries) {
            start_queries(query + S::ROWS, 1 - now);
        }
        if (key >= h.keys) {
            continue; /* a warp without keys has only loaded */
        }
        const int depth = filled(query, h.queries, S::ROWS);
        for (int first = 0; first < depth; first += SLICE) {
            if (a.causal && query + first + SLICE <= key) {
                continue; /* these queries see none of the warp's keys */
            }
            const int here = depth - first < SLICE ? depth - first : SLICE;
            float s[SLICE_PARTS][4], dp[SLICE_PARTS][4];
            keys.scores(s, q_now + first * S::LD, here / 8);
            values.scores(dp, dy_now + first * S::LD, here / 8);
#pragma unroll
            for (int part = 0; part < SLICE_PARTS; part++) {
#pragma unroll
                for (int i = 0; i < 4; i++) { /* queries beyond the last are zeros: they add none */
                    const int row = first + part * 8 + lane_col() + i % 2;
                    const bool hidden = a.causal && key + lane_row() + i / 2 * 8 > query + row;
                    const float p = hidden ? 0 : two_to(s[part][i] * scale - lse_now[row] * LOG2_E);
                    s[part][i] = p;
                    dp[part][i] = p * (dp[part][i] - delta_now[row]);
                }
            }
            add_weighted<T, WIDE>(dv, s, dy_now + first * S::LD, here);
            add_weighted<T, WIDE>(dk, dp, q_now + first * S::LD, here);
        }
    }
    const int64_t k_at = h.first_k * a.k_stride + h.column;
    store_rows<T, N>(a.dk, k_at, a.k_stride, dk, key, h.keys, h.width, h.scale, in.k.cosines,
                     in.k.sines);
    store_rows<T, N>(a.dv, k_at, a.k_stride, dv, key, h.keys, h.width, 1, nullptr, nullptr);
}

/* dq of a tile of queries, a warp owns 16. */
template <typename T, int WIDE, int N>
__global__ void __launch_bounds__(tiles<T, WIDE>::QUERY_THREADS, WIDE <= 64 ? 2 : 1)
    attention_dq(fci_attention_args a, const float *__restrict__ delta_TH)
{
    using S = tiles<T, WIDE>;
    using own_loader = tile_loader<T, WIDE, N, S::QUERIES, S::QUERY_THREADS>;
    using loader = tile_loader<T, WIDE, N, S::ROWS, S::QUERY_THREADS>;
    FC_DYNAMIC_SHARED(shared);
    T *q = reinterpret_cast<T *>(shared), *dy = q + 2 * S::TILE;
    T *k = dy + 2 * S::TILE, *v = k + 2 * S::TILE; /* two of each */
    const head h = head_of(a, (int)blockIdx.y);
    const int begin = (int)blockIdx.z * S::QUERIES;
    if (begin >= h.queries) {
        return;
    }
    const head_inputs<T> in = inputs_of<T>(a, h);
    loader::start(k, in.k, 0);
    loader::start(v, in.v, 0);
    own_loader::start(dy, in.dy, begin);
    own_loader::load_now(q, in.q, begin);
    __syncthreads();
    const int warp_row = (int)threadIdx.x / WARP * 16, query = begin + warp_row;
    const own_rows<T, WIDE> queries(q + warp_row * S::LD), slopes(dy + warp_row * S::LD);
    const float scale = h.scale * LOG2_E;
    float dq[S::PARTS][4], lse[2], delta[2];
    clear(dq);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = query + lane_row() + 8 * half;
        const int64_t at = (h.first_q + row) * a.heads + blockIdx.y;
        lse[half] = row < h.queries ? ((const float *)a.lse)[at] * LOG2_E : 0;
        delta[half] = row < h.queries ? delta_TH[at] : 0;
    }
    const int end = visible(h, a.causal, begin + S::QUERIES);
    size_t now = 0;
    for (int key = 0; key < end; key += S::ROWS, now = S::TILE - now) {
        wait_for_copies();
        loader::finish(k + now, in.k, key);
        __syncthreads();
        if (key + S::ROWS < end) {
            loader::start(k + S::TILE - now, in.k, key + S::ROWS);
            loader::start(v + S::TILE - now, in.v, key + S::ROWS);
        }
        const int own_end = visible(h, a.causal, query + 16);
        if (query >= h.queries || key >= own_end) {
            continue;
        }
        const int depth = filled(key, own_end, S::ROWS);
        for (int first = 0; first < depth; first += SLICE) {
            const int here = depth - first < SLICE ? depth - first : SLICE;
            float s[SLICE_PARTS][4], dp[SLICE_PARTS][4];
            queries.scores(s, k + now + first * S::LD, here / 8);
            slopes.scores(dp, v + now + first * S::LD, here / 8);
            hide_unseen(s, h, a.causal, query, key + first);
#pragma unroll
            for (int part = 0; part < SLICE_PARTS; part++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float p = two_to(fmaf(s[part][i], scale, -lse[i / 2]));
                    dp[part][i] = p * (dp[part][i] - delta[i / 2]);
                }
            }
            add_weighted<T, WIDE>(dq, dp, k + now + first * S::LD, here);
        }
    }
    store_rows<T, N>(a.dq, h.first_q * a.q_stride + h.column, a.q_stride, dq, query, h.queries,
                     h.width, h.scale, in.q.cosines, in.q.sines);
}

template <typename T, int WIDE, int N> void launch_forward(const fci_attention_args &a)
{
    using S = tiles<T, WIDE>;
    const dim3 grid((unsigned)a.sequences, (unsigned)a.heads, blocks_for(a.longest_q, S::QUERIES));
    FC_LAUNCH((attention<T, WIDE, N>), grid, S::QUERY_THREADS, 6 * S::TILE * sizeof(T), a);
}

template <typename T, int WIDE, int N>
void launch_backward(const fci_attention_args &a, const float *delta)
{
    using S = tiles<T, WIDE>;
    if ((a.dk.at != nullptr || a.dv.at != nullptr) && a.longest_k > 0) {
        const dim3 grid((unsigned)a.sequences, (unsigned)a.heads, blocks_for(a.longest_k, S::ROWS));
        const size_t shared = 6 * S::TILE * sizeof(T) + 4 * S::ROWS * sizeof(float);
        FC_LAUNCH((attention_dkv<T, WIDE, N>), grid, S::THREADS, shared, a, delta);
    }
    if (a.dq.at != nullptr && a.longest_q > 0) {
        const dim3 grid((unsigned)a.sequences, (unsigned)a.heads,
                        blocks_for(a.longest_q, S::QUERIES));
        FC_LAUNCH((attention_dq<T, WIDE, N>), grid, S::QUERY_THREADS, 8 * S::TILE * sizeof(T), a,
                  delta);
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
        FC_BY_WIDTH(T, widest<T>(a.head_width, {a.y, a.dy}),
                    FC_LAUNCH((attention_delta<T, N>),
                              blocks_for(count, DELTA_THREADS / DELTA_LANES), DELTA_THREADS, 0,
                              (const T *)a.y, (const T *)a.dy, delta, count, (int)a.head_width));
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
