/* Relevance carried back through attention against plain loops: ragged sequences longer than a tile
 * of queries, causal or not, queries from elsewhere, two attentions in a row, in float and in
 * double. Rotary positions and whole towers: tests/models/test_relevance.c. */
#include "core/memory.h"
#include "core/op.h"
#include "core/rng.h"
#include "tests/check.h"

#include <math.h>
#include <string.h>

enum { HEADS = 3, WIDTH = 8, D = HEADS * WIDTH, SEQUENCES = 3, ROWS = 1 + 330 + 19 };
static const int64_t offsets[SEQUENCES + 1] = {0, 1, 331, ROWS};
static const int64_t first_rows[SEQUENCES + 1] = {0, 1, 2, 3}; /* one query a sequence */

/* The same numbers, exact in float, for both types. */
static double *draw(int64_t n, uint64_t which)
{
    double *x = fc_alloc((size_t)n, sizeof *x);
    fc_rng rng = fc_rng_stream(23, FC_RNG_TEST, which, 0);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (double)(float)fc_rng_normal(&rng);
    }
    return x;
}

static fc_tensor *input(fc_tape *tape, const double *x, int64_t rows, int64_t cols)
{
    fc_tensor *t = fc_tape_matrix(tape, rows, cols, false);
    for (int64_t i = 0; i < rows * cols; i++) {
        if (t->dtype == FC_F64) {
            ((double *)t->data)[i] = x[i];
        } else {
            ((float *)t->data)[i] = (float)x[i];
        }
    }
    return t;
}

static void seed(fc_tape *tape, fc_tensor *y, const double *dy)
{
    fc_tape_seed(tape, y, input(tape, dy, y->rows, y->cols)->data);
}

/* rows (keys) += sum over queries of in[query] E[query], for one sequence; q, k, v, dy with strides
 * ld; first query and key of the sequence. */
static void plain(const double *q, int64_t q_ld, const double *k, const double *v, int64_t ld,
                  const double *dy, int64_t queries, int64_t keys, bool causal, const double *in,
                  double *rows)
{
    double *a = fc_alloc((size_t)keys, sizeof *a);
    for (int h = 0; h < HEADS; h++) {
        for (int64_t i = 0; i < queries; i++) {
            int64_t seen = causal ? i + 1 : keys;
            double sum = 0;
            for (int64_t j = 0; j < seen; j++) {
                double score = 0;
                for (int c = h * WIDTH; c < (h + 1) * WIDTH; c++) {
                    score += q[i * q_ld + c] * k[j * ld + c];
                }
                a[j] = exp(score / sqrt(WIDTH));
                sum += a[j];
            }
            for (int64_t j = 0; j < seen; j++) {
                double g = 0;
                for (int c = h * WIDTH; c < (h + 1) * WIDTH; c++) {
                    g += dy[i * D + c] * v[j * ld + c];
                }
                rows[j] += in[i] / HEADS * fmax(0, a[j] / sum * g);
            }
        }
    }
    fc_free(&a);
}

static void compare(const char *what, fc_dtype dtype, const double *got, const double *want)
{
    const double error = fc_check_rel_l2(got, want, ROWS);
    fc_check_true(error <= (dtype == FC_F64 ? 1e-13 : 1e-5), __FILE__, __LINE__,
                  "%s in %s is off by %g", what, dtype == FC_F64 ? "double" : "float", error);
}

/* Rows that begin with weights everywhere, not as a unit row: every query counts. */
static void check_self(fc_dtype dtype, bool causal, int left)
{
    double *qkv = draw(ROWS * 3 * D, 1), *dy = draw(ROWS * D, 2), *start = draw(ROWS, 3);
    double got[ROWS], want[ROWS], in[ROWS];
    fc_tape *tape = fc_tape_create(dtype);
    fc_relevance r = {SEQUENCES, offsets, first_rows, got, left};
    const fc_attention_spec spec = {
        .heads = HEADS, .sequences = SEQUENCES, .q_offsets = offsets, .causal = causal};
    memcpy(got, start, sizeof got);
    memcpy(want, start, sizeof want);
    fc_tape_set_relevance(tape, &r);
    fc_tensor *y = fc_attention(tape, input(tape, qkv, ROWS, 3 * D), &spec);
    FC_CHECK(y->needs_grad);
    seed(tape, y, dy);
    FC_CHECK_OK(fc_backward(tape, 1, &y, NULL));
    FC_CHECK_INT(r.left, left > 0 ? left - 1 : 0);
    memcpy(in, start, sizeof in);
    for (int s = 0; s < SEQUENCES && left > 0; s++) {
        const int64_t at = offsets[s], n = offsets[s + 1] - at;
        const double *q = qkv + at * 3 * D;
        plain(q, 3 * D, q + D, q + 2 * D, 3 * D, dy + at * D, n, n, causal, in + at, want + at);
    }
    compare(causal ? "causal attention" : "attention", dtype, got, want);
    fc_tape_destroy(&tape);
    fc_free(&qkv);
    fc_free(&dy);
    fc_free(&start);
}

/* One query a sequence, which stands for its last key. */
static void check_cross(fc_dtype dtype)
{
    double *q = draw(SEQUENCES * D, 4), *k = draw(ROWS * D, 5), *v = draw(ROWS * D, 6);
    double *dy = draw(SEQUENCES * D, 7), *start = draw(ROWS, 8), got[ROWS], want[ROWS];
    int64_t query[SEQUENCES];
    fc_tape *tape = fc_tape_create(dtype);
    fc_relevance r = {SEQUENCES, offsets, query, got, 5};
    const fc_attention_spec spec = {
        .heads = HEADS, .sequences = SEQUENCES, .q_offsets = first_rows, .k_offsets = offsets};
    memcpy(got, start, sizeof got);
    memcpy(want, start, sizeof want);
    for (int s = 0; s < SEQUENCES; s++) {
        const int64_t at = offsets[s], n = offsets[s + 1] - at;
        query[s] = n - 1;
        plain(q + s * D, D, k + at * D, v + at * D, D, dy + s * D, 1, n, false, start + at + n - 1,
              want + at);
    }
    fc_tape_set_relevance(tape, &r);
    fc_tensor *y = fc_attention_cross(tape, input(tape, q, SEQUENCES, D), input(tape, k, ROWS, D),
                                      input(tape, v, ROWS, D), &spec);
    seed(tape, y, dy);
    FC_CHECK_OK(fc_backward(tape, 1, &y, NULL));
    compare("attention of class tokens", dtype, got, want);
    fc_tape_destroy(&tape);
    fc_free(&q);
    fc_free(&k);
    fc_free(&v);
    fc_free(&dy);
    fc_free(&start);
}

int main(void)
{
    for (fc_dtype dtype = FC_F32; dtype <= FC_F64; dtype++) {
        check_self(dtype, false, 1);
        check_self(dtype, true, 2);
        check_self(dtype, false, 0);
        check_cross(dtype);
    }
    return fc_check_end();
}
