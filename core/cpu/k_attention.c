/* Attention over packed sequences, one (sequence, head) at a time.
 *
 * A thread copies its head's queries and keys to contiguous scratch, rotating them on the way, and
 * works on tiles of queries: scores of a tile, their softmax and the product with v stay in the
 * second-level cache, and no score matrix ever reaches memory. The way back recomputes the scores
 * from the saved log sum of exponentials. A thread alone writes what belongs to its (sequence,
 * head), in an order that does not depend on the others. */
#include "core/cpu/threads.h"

enum {
    LANES = 16,             /* score rows are padded to whole vectors */
    TILE_BYTES = 512 << 10, /* of scores and their gradients: half of a usual second-level cache */
    MIN_TILE = 16
};

static int64_t padded(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* Values from one row of scores to the next. */
static int64_t score_stride(int64_t keys)
{
    return keys > 0 ? padded(keys) : LANES;
}

static int64_t tile_rows(int64_t queries, int64_t keys)
{
    int64_t fit = TILE_BYTES / (2 * (int64_t)sizeof(real) * score_stride(keys));
    fit = fit < MIN_TILE ? MIN_TILE : fit;
    if (queries <= fit) {
        return queries;
    }
    int64_t tiles = (queries + fit - 1) / fit; /* of nearly equal size */
    return (queries + tiles - 1) / tiles;
}

typedef struct span {
    int64_t queries, keys; /* longest sequence */
    int64_t scores;        /* values of the largest score tile */
} span;

static span longest(const fci_attention_args *a)
{
    span s = {0};
    for (int64_t i = 0; i < a->sequences; i++) {
        int64_t queries = a->q_offsets[i + 1] - a->q_offsets[i];
        int64_t keys = a->k_offsets[i + 1] - a->k_offsets[i];
        int64_t scores = tile_rows(queries, keys) * score_stride(keys);
        s.queries = queries > s.queries ? queries : s.queries;
        s.keys = keys > s.keys ? keys : s.keys;
        s.scores = scores > s.scores ? scores : s.scores;
    }
    return s;
}

/* Copy `rows` rows of one head into contiguous memory, times scale; rows from 1 on are rotated
 * where there are tables. */
static void load_head(real *restrict to, const real *restrict from, int64_t stride, int64_t rows,
                      int64_t width, real scale, const real *restrict cosines,
                      const real *restrict sines)
{
    for (int64_t r = 0; r < rows; r++, to += width, from += stride) {
        if (cosines == NULL || r == 0) {
#pragma omp simd
            for (int64_t j = 0; j < width; j++) {
                to[j] = from[j] * scale;
            }
            continue;
        }
        const real *restrict c = cosines + (r - 1) * (width / 2);
        const real *restrict s = sines + (r - 1) * (width / 2);
#pragma omp simd
        for (int64_t j = 0; j < width / 2; j++) {
            const real x = from[2 * j] * scale, y = from[2 * j + 1] * scale;
            to[2 * j] = x * c[j] - y * s[j];
            to[2 * j + 1] = y * c[j] + x * s[j];
        }
    }
}

/* The way back of load_head for `rows` rows that begin at row `first` of their sequence. */
static void store_head(real *restrict to, bool add, const real *restrict from, int64_t stride,
                       int64_t first, int64_t rows, int64_t width, real scale,
                       const real *restrict cosines, const real *restrict sines)
{
    for (int64_t r = first; r < first + rows; r++, to += stride, from += width) {
        if (!add) {
            memset(to, 0, (size_t)width * sizeof(real));
        }
        if (cosines == NULL || r == 0) {
#pragma omp simd
            for (int64_t j = 0; j < width; j++) {
                to[j] += from[j] * scale;
            }
            continue;
        }
        const real *restrict c = cosines + (r - 1) * (width / 2);
        const real *restrict s = sines + (r - 1) * (width / 2);
#pragma omp simd
        for (int64_t j = 0; j < width / 2; j++) {
            const real x = from[2 * j] * scale, y = from[2 * j + 1] * scale;
            to[2 * j] += x * c[j] + y * s[j];
            to[2 * j + 1] += y * c[j] - x * s[j];
        }
    }
}

/* One head of one sequence, its queries (scaled) and keys in scratch. */
typedef struct head {
    const fci_attention_args *a;
    int64_t first_q, first_k; /* rows of q and of k, v where the sequence begins */
    int64_t queries, keys;
    int64_t index, column, tile;
    real scale;
    real *q, *k;  /* (queries, width), (keys, width) */
    real *scores; /* (tile, score_stride(keys)) */
    real *slopes; /* the same; back only */
    real *row;    /* (tile) a number a query */
    real *dq;     /* (tile, width); back only */
    real *dk;     /* (keys, width); back only */
} head;

static const real *cosines(const fci_attention_args *a, bool rotated)
{
    return rotated ? a->rope_cos : NULL;
}

static int64_t scratch_reals(const fci_attention_args *a, span s, bool back)
{
    const int64_t one = padded((s.queries + s.keys) * a->head_width) + s.scores + padded(s.queries);
    return back ? 2 * one : one;
}

/* Lay a head's arrays out in a thread's scratch and load its queries and keys. */
static head open_head(const fci_attention_args *a, int64_t task, span most, real *scratch)
{
    const int64_t s = task / a->heads, width = a->head_width;
    head h = {.a = a,
              .first_q = a->q_offsets[s],
              .first_k = a->k_offsets[s],
              .queries = a->q_offsets[s + 1] - a->q_offsets[s],
              .keys = a->k_offsets[s + 1] - a->k_offsets[s],
              .index = task % a->heads,
              .scale = 1 / fci_sqrt((real)width)};
    h.column = h.index * width;
    h.tile = tile_rows(h.queries, h.keys);
    h.scores = scratch;
    h.row = h.scores + most.scores;
    h.q = h.row + padded(most.queries);
    h.k = h.q + h.queries * width;
    h.slopes = h.q + padded((most.queries + most.keys) * width);
    h.dq = h.slopes + most.scores;
    h.dk = h.dq + h.queries * width;
    load_head(h.q, (const real *)a->q + h.first_q * a->q_stride + h.column, a->q_stride, h.queries,
              width, h.scale, cosines(a, a->rope_q), a->rope_sin);
    load_head(h.k, (const real *)a->k + h.first_k * a->k_stride + h.column, a->k_stride, h.keys,
              width, 1, a->rope_cos, a->rope_sin);
    return h;
}

/* Keys that queries [0, end) see. */
static int64_t visible(const head *h, int64_t end)
{
    return h->a->causal && end < h->keys ? end : h->keys;
}

/* Scores become exponentials, those beyond `valid` 0: up to `keys`, and to the end of the last
 * whole vector. Returns their maximum as score; *sum of the exponentials relative to it. */
static real exponentials(real *restrict s, int64_t valid, int64_t keys, real *sum)
{
    const int64_t whole = padded(valid);
    real tops[LANES], sums[LANES] = {0}, top = -INFINITY;
    for (int64_t j = valid; j < whole; j++) {
        s[j] = -INFINITY;
    }
    for (int l = 0; l < LANES; l++) {
        tops[l] = -INFINITY;
    }
    for (int64_t j = 0; j < whole; j += LANES) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            tops[l] = s[j + l] > tops[l] ? s[j + l] : tops[l];
        }
    }
    for (int l = 0; l < LANES; l++) {
        top = tops[l] > top ? tops[l] : top;
    }
    for (int64_t j = 0; j < whole; j += LANES) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            s[j + l] = fci_exp(s[j + l] - top);
            sums[l] += s[j + l];
        }
    }
    *sum = 0;
    for (int l = 0; l < LANES; l++) {
        *sum += sums[l];
    }
    for (int64_t j = whole; j < keys; j++) {
        s[j] = 0;
    }
    return top;
}

static void forward(const head *h)
{
    const fci_attention_args *a = h->a;
    const int64_t width = a->head_width, stride = width * a->heads, ld = score_stride(h->keys);
    const real *v = (const real *)a->v + h->first_k * a->k_stride + h->column;
    for (int64_t begin = 0; begin < h->queries; begin += h->tile) {
        const int64_t rows = h->queries - begin < h->tile ? h->queries - begin : h->tile;
        const int64_t keys = visible(h, begin + rows);
        real *y = (real *)a->y + (h->first_q + begin) * stride + h->column;
        real *lse =
            a->lse == NULL ? NULL : (real *)a->lse + (h->first_q + begin) * a->heads + h->index;
        fci_gemm(false, true, rows, keys, width, 1, h->q + begin * width, width, h->k, width, 0,
                 h->scores, ld);
        for (int64_t r = 0; r < rows; r++) {
            real sum;
            const real top =
                exponentials(h->scores + r * ld, visible(h, begin + r + 1), keys, &sum);
            h->row[r] = sum == 0 ? 0 : 1 / sum; /* no keys: zeros */
            if (lse != NULL) {
                lse[r * a->heads] = top + fci_log(sum);
            }
        }
        /* Dividing the result by the sums is less work than dividing the exponentials. */
        fci_gemm(false, false, rows, width, keys, 1, h->scores, ld, v, a->k_stride, 0, y, stride);
        for (int64_t r = 0; r < rows; r++) {
#pragma omp simd
            for (int64_t j = 0; j < width; j++) {
                y[r * stride + j] *= h->row[r];
            }
        }
    }
}

void FC_FN(attention_fwd)(const fci_attention_args *a, fc_arena *scratch)
{
    const span most = longest(a);
    const int64_t size = scratch_reals(a, most, false);
    real *all = fci_reals(scratch, size * omp_get_max_threads());
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < a->sequences * a->heads; task++) {
        const head h = open_head(a, task, most, all + size * omp_get_thread_num());
        forward(&h);
    }
}

/* Probabilities p from scores s, and the scores' gradient ds from that of the probabilities, in
 * place: ds = p (dp - delta), delta = <dy, y>. */
static void row_back(real *restrict s, real *restrict ds, int64_t valid, int64_t keys, real lse,
                     real delta)
{
#pragma omp simd
    for (int64_t j = 0; j < valid; j++) {
        s[j] = fci_exp(s[j] - lse);
        ds[j] = s[j] * (ds[j] - delta);
    }
    for (int64_t j = valid; j < keys; j++) {
        s[j] = 0;
        ds[j] = 0;
    }
}

static real dot(const real *restrict x, const real *restrict y, int64_t n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        sum = fci_fma(x[j], y[j], sum);
    }
    return sum;
}

static void backward(const head *h)
{
    const fci_attention_args *a = h->a;
    const int64_t width = a->head_width, stride = width * a->heads, ld = score_stride(h->keys);
    const int64_t kv_at = h->first_k * a->k_stride + h->column;
    real *dv = a->dv.at == NULL ? NULL : (real *)a->dv.at + kv_at;
    for (int64_t r = 0; dv != NULL && !a->dv.add && r < h->keys; r++) {
        memset(dv + r * a->k_stride, 0, (size_t)width * sizeof(real));
    }
    memset(h->dk, 0, (size_t)(h->keys * width) * sizeof(real));
    for (int64_t begin = 0; begin < h->queries; begin += h->tile) {
        const int64_t rows = h->queries - begin < h->tile ? h->queries - begin : h->tile;
        const int64_t keys = visible(h, begin + rows), at = (h->first_q + begin) * stride;
        const real *q = h->q + begin * width;
        const real *y = (const real *)a->y + at + h->column;
        const real *dy = (const real *)a->dy + at + h->column;
        const real *lse = (const real *)a->lse + (h->first_q + begin) * a->heads + h->index;
        fci_gemm(false, true, rows, keys, width, 1, q, width, h->k, width, 0, h->scores, ld);
        fci_gemm(false, true, rows, keys, width, 1, dy, stride, (const real *)a->v + kv_at,
                 a->k_stride, 0, h->slopes, ld);
        for (int64_t r = 0; r < rows; r++) {
            row_back(h->scores + r * ld, h->slopes + r * ld, visible(h, begin + r + 1), keys,
                     lse[r * a->heads], dot(dy + r * stride, y + r * stride, width));
        }
        if (dv != NULL) {
            fci_gemm(true, false, keys, width, rows, 1, h->scores, ld, dy, stride, 1, dv,
                     a->k_stride);
        }
        if (a->dq.at != NULL) {
            fci_gemm(false, false, rows, width, keys, 1, h->slopes, ld, h->k, width, 0, h->dq,
                     width);
            store_head((real *)a->dq.at + (h->first_q + begin) * a->q_stride + h->column, a->dq.add,
                       h->dq, a->q_stride, begin, rows, width, h->scale, cosines(a, a->rope_q),
                       a->rope_sin);
        }
        if (a->dk.at != NULL) { /* q holds the scale already */
            fci_gemm(true, false, keys, width, rows, 1, h->slopes, ld, q, width, 1, h->dk, width);
        }
    }
    if (a->dk.at != NULL) {
        store_head((real *)a->dk.at + kv_at, a->dk.add, h->dk, a->k_stride, 0, h->keys, width, 1,
                   a->rope_cos, a->rope_sin);
    }
}

void FC_FN(attention_bwd)(const fci_attention_args *a, fc_arena *scratch)
{
    const span most = longest(a);
    const int64_t size = scratch_reals(a, most, true);
    real *all = fci_reals(scratch, size * omp_get_max_threads());
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < a->sequences * a->heads; task++) {
        const head h = open_head(a, task, most, all + size * omp_get_thread_num());
        backward(&h);
    }
}

/* One head's part of a sequence: out[key] += share rows[query] max(0, A G). */
static void add_relevance(const head *h, const double *rows, double share, double *restrict out)
{
    const fci_attention_args *a = h->a;
    const int64_t width = a->head_width, stride = width * a->heads, ld = score_stride(h->keys);
    const real *v = (const real *)a->v + h->first_k * a->k_stride + h->column;
    for (int64_t begin = 0; begin < h->queries; begin += h->tile) {
        const int64_t n = h->queries - begin < h->tile ? h->queries - begin : h->tile;
        const int64_t keys = visible(h, begin + n), at = (h->first_q + begin) * stride;
        const real *lse = (const real *)a->lse + (h->first_q + begin) * a->heads + h->index;
        fci_gemm(false, true, n, keys, width, 1, h->q + begin * width, width, h->k, width, 0,
                 h->scores, ld);
        fci_gemm(false, true, n, keys, width, 1, (const real *)a->dy + at + h->column, stride, v,
                 a->k_stride, 0, h->slopes, ld);
        for (int64_t r = 0; r < n; r++) {
            const real *restrict s = h->scores + r * ld, *restrict g = h->slopes + r * ld;
            const double weight = share * rows[begin + r];
            const int64_t valid = visible(h, begin + r + 1);
            for (int64_t j = 0; j < valid; j++) {
                const real e = fci_exp(s[j] - lse[r * a->heads]) * g[j];
                out[j] += weight * (double)(e > 0 ? e : 0);
            }
        }
    }
}

void FC_FN(attention_relevance_fwd)(const fci_attention_relevance_args *args, fc_arena *scratch)
{
    const fci_attention_args *a = args->attention;
    const span most = longest(a);
    const int64_t size = scratch_reals(a, most, true);
    const int64_t numbers = padded(most.queries + most.keys);
    real *all = fci_reals(scratch, size * omp_get_max_threads());
    double *sums =
        fc_arena_alloc(scratch, (size_t)(numbers * omp_get_max_threads()) * sizeof *sums);
#pragma omp parallel for schedule(dynamic)
    for (int64_t s = 0; s < a->sequences; s++) {
        double *in = sums + numbers * omp_get_thread_num(), *out = in + most.queries;
        const int64_t queries = a->q_offsets[s + 1] - a->q_offsets[s];
        const int64_t keys = a->k_offsets[s + 1] - a->k_offsets[s];
        double *rows = args->rows + a->k_offsets[s];
        memcpy(in, rows + (args->query != NULL ? args->query[s] : 0), (size_t)queries * sizeof *in);
        memset(out, 0, (size_t)keys * sizeof *out);
        for (int64_t h = 0; h < a->heads; h++) {
            const head one =
                open_head(a, s * a->heads + h, most, all + size * omp_get_thread_num());
            add_relevance(&one, in, 1.0 / a->heads, out);
        }
        for (int64_t k = 0; k < keys; k++) {
            rows[k] += out[k];
        }
    }
}
