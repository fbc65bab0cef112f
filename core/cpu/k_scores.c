/* Inner products whose value depends on the two rows alone, not on where they stand: equal rows
 * give equal scores, so that ties are ties (METHOD.md section 7). A blocked matrix product does not
 * promise that at its edges. */
#include "core/cpu/real.h"

enum { LANES = 16, COLUMNS = 4 };

/* Four columns at once share the loads of a; every product keeps the same lanes and the same order.
 */
static void dot4(const real *a, const real *b, int64_t width, real *y)
{
    real sum[COLUMNS][LANES] = {{0}};
    int64_t whole = width / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        for (int c = 0; c < COLUMNS; c++) {
#pragma omp simd
            for (int l = 0; l < LANES; l++) {
                sum[c][l] = fci_fma(a[i + l], b[c * width + i + l], sum[c][l]);
            }
        }
    }
    for (int c = 0; c < COLUMNS; c++) {
        real total = 0;
        for (int l = 0; l < LANES; l++) {
            total += sum[c][l];
        }
        for (int64_t i = whole; i < width; i++) {
            total = fci_fma(a[i], b[c * width + i], total);
        }
        y[c] = total;
    }
}

void FC_FN(scores_fwd)(const fci_scores_args *s, fc_arena *scratch)
{
    const real *a = s->a, *b = s->b;
    real *y = s->y;
    int64_t width = s->width, groups = s->cols / COLUMNS * COLUMNS;
    /* The last columns, padded to a whole group. */
    fc_arena_mark mark = fc_arena_save(scratch);
    real *rest = fci_reals(scratch, COLUMNS * width);
    memset(rest, 0, (size_t)(COLUMNS * width) * sizeof *rest);
    memcpy(rest, b + groups * width, (size_t)((s->cols - groups) * width) * sizeof *rest);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < s->rows; r++) {
        for (int64_t c = 0; c < groups; c += COLUMNS) {
            dot4(a + r * width, b + c * width, width, y + r * s->cols + c);
        }
        if (groups < s->cols) {
            real last[COLUMNS];
            dot4(a + r * width, rest, width, last);
            memcpy(y + r * s->cols + groups, last, (size_t)(s->cols - groups) * sizeof *last);
        }
    }
    fc_arena_rewind(scratch, mark);
}
