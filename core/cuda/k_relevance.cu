/* Relevance carried back through attention (core/kernel.h): not a matter of speed. A block a tile
 * of keys of one sequence goes through all heads and queries; a thread adds up its key's column in
 * a fixed order. What is read is not written in the same pass. */
#include "core/cuda/attention_tile.cuh"

namespace
{

/* Whether query `row` sees key `col`. */
__device__ __forceinline__ bool sees(const head &h, bool causal, int row, int col)
{
    return row < h.queries && col < h.keys && (!causal || col <= row);
}

template <typename T, int WIDE, int N>
__global__ void __launch_bounds__(tiles<T, WIDE>::THREADS)
    relevance(fci_attention_args a, const int64_t *__restrict__ query_of,
              const double *__restrict__ rows, double *__restrict__ out)
{
    using S = tiles<T, WIDE>;
    using loader = tile_loader<T, WIDE, N, S::ROWS, S::THREADS>;
    FC_DYNAMIC_SHARED(shared);
    float *e = reinterpret_cast<float *>(shared); /* (ROWS, ROWS) */
    T *q = reinterpret_cast<T *>(e + S::ROWS * S::ROWS), *k = q + S::TILE, *v = k + S::TILE,
      *dy = v + S::TILE;
    const head any = head_of(a, 0);
    const int key = (int)blockIdx.y * S::ROWS, warp_row = (int)threadIdx.x / WARP * 16,
              own = (int)threadIdx.x;
    if (key >= any.keys) {
        return;
    }
    const double *weights = rows + any.first_k + (query_of != nullptr ? query_of[blockIdx.x] : 0);
    double sum = 0;
    for (int index = 0; index < a.heads; index++) {
        const head h = head_of(a, index);
        const head_inputs<T> in = inputs_of<T>(a, h);
        __syncthreads();
        loader::load_now(k, in.k, key);
        loader::load_now(v, in.v, key);
        for (int query = 0; query < h.queries; query += S::ROWS) {
            __syncthreads();
            loader::load_now(q, in.q, query);
            loader::load_now(dy, in.dy, query);
            __syncthreads();
            float s[S::SCORE_PARTS][4], g[S::SCORE_PARTS][4];
            own_rows<T, WIDE>(q + warp_row * S::LD).scores(s, k);
            own_rows<T, WIDE>(dy + warp_row * S::LD).scores(g, v);
            for (int part = 0; part < S::SCORE_PARTS; part++) {
                for (int i = 0; i < 4; i++) {
                    const int inside = warp_row + lane_row() + i / 2 * 8, row = query + inside;
                    const int col = part * 8 + lane_col() + i % 2;
                    float value = 0;
                    if (sees(h, a.causal, row, key + col)) {
                        const float lse =
                            ((const float *)a.lse)[(h.first_q + row) * a.heads + index];
                        value = fmaxf(__expf(s[part][i] * h.scale - lse) * g[part][i], 0);
                    }
                    e[inside * S::ROWS + col] = value;
                }
            }
            __syncthreads();
            for (int r = 0; own < S::ROWS && r < S::ROWS && query + r < h.queries; r++) {
                sum += weights[query + r] / (double)a.heads * (double)e[r * S::ROWS + own];
            }
        }
    }
    if (own < S::ROWS && key + own < any.keys) {
        out[any.first_k + key + own] = sum;
    }
}

enum { THREADS = 128 };

template <typename S>
__global__ void add_rows(S *__restrict__ rows, const S *__restrict__ more, int64_t count)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < count) {
        rows[i] += more[i];
    }
}

template <typename T, int WIDE, int N>
void launch_relevance(const fci_attention_args &a, const int64_t *query, const double *rows,
                      double *out)
{
    using S = tiles<T, WIDE>;
    const dim3 grid((unsigned)a.sequences, blocks_for(a.longest_k, S::ROWS));
    const size_t shared = S::ROWS * S::ROWS * sizeof(float) + 4 * S::TILE * sizeof(T);
    FC_LAUNCH((relevance<T, WIDE, N>), grid, S::THREADS, shared, a, query, rows, out);
}

template <typename T>
void attention_relevance_fwd(const fci_attention_relevance_args &args, fc_arena *scratch)
{
    const fci_attention_args &a = *args.attention;
    if (a.rows_k == 0) {
        return;
    }
    double *out = scratch_array<double>(scratch, a.rows_k);
    FC_BY_HEAD_WIDTH(a.head_width, {
        if (is_wide<T>(a)) {
            launch_relevance<T, WIDE, 16 / sizeof(T)>(a, args.query, args.rows, out);
        } else {
            launch_relevance<T, WIDE, 1>(a, args.query, args.rows, out);
        }
    });
    FC_LAUNCH((add_rows<double>), blocks_for(a.rows_k, THREADS), THREADS, 0, args.rows, out,
              a.rows_k);
}

} // namespace

FC_CUDA_ENTRY(attention_relevance, fwd)
