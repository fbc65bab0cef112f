/* Rows of one rank against all columns of the global batch, in tiles (losses/contrastive.c has the
 * mathematics). */

#include "core/cpu/real.h"

/* Rows a tile: as many as keep a tile of scores near 4 MiB. */
static int64_t tile_rows(const fci_contrastive_args *a)
{
    int64_t rows = ((int64_t)4 << 20) / (int64_t)sizeof(real) / (a->cols > 0 ? a->cols : 1);
    return rows < 16 ? 16 : rows > 256 ? 256 : rows;
}

static void scores(const fci_contrastive_args *a, int64_t row, int64_t rows, real *s)
{
    fci_gemm(false, true, rows, a->cols, a->width, (real)a->scale,
             (const real *)a->own + row * a->width, a->width, a->all, a->width, 0, s, a->cols);
}

void FC_FN(contrastive_fwd)(const fci_contrastive_args *a, fc_arena *scratch)
{
    fc_arena_mark mark = fc_arena_save(scratch);
    int64_t tile = tile_rows(a);
    real *s = fc_arena_alloc(scratch, (size_t)(tile * a->cols) * sizeof *s);
    double *losses = fc_arena_alloc(scratch, (size_t)tile * sizeof *losses);
    double total = 0;
    for (int64_t row = 0; row < a->rows; row += tile) {
        int64_t rows = a->rows - row < tile ? a->rows - row : tile;
        scores(a, row, rows, s);
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            const real *line = s + r * a->cols;
            real largest = line[0];
            for (int64_t j = 1; j < a->cols; j++) {
                largest = line[j] > largest ? line[j] : largest;
            }
            double sum = 0;
            for (int64_t j = 0; j < a->cols; j++) {
                sum += (double)fci_exp(line[j] - largest);
            }
            real lse = largest + (real)log(sum);
            ((real *)a->lse_own)[row + r] = lse;
            losses[r] = (double)lse - (double)line[a->first + row + r];
        }
        for (int64_t r = 0; r < rows;
             r++) { /* in order, so that the sum does not depend on threads */
            total += losses[r];
        }
    }
    *a->loss_sum = total;
    fc_arena_rewind(scratch, mark);
}

void FC_FN(contrastive_bwd)(const fci_contrastive_args *a, fc_arena *scratch)
{
    fc_arena_mark mark = fc_arena_save(scratch);
    int64_t tile = tile_rows(a);
    real *s = fc_arena_alloc(scratch, (size_t)(tile * a->cols) * sizeof *s);
    double *parts = fc_arena_alloc(scratch, (size_t)tile * sizeof *parts);
    const real *lse_own = a->lse_own, *lse_other = a->lse_other;
    int64_t other_end = a->other_first + a->other_count;
    double total = 0;
    for (int64_t row = 0; row < a->rows; row += tile) {
        int64_t rows = a->rows - row < tile ? a->rows - row : tile;
        scores(a, row, rows, s);
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            real *line = s + r * a->cols;
            int64_t own = a->first + row + r;
            real lse = lse_own[row + r], diagonal = line[own];
            double sum = -(double)diagonal;
            for (int64_t j = 0; j < a->cols; j++) {
                real p = fci_exp(line[j] - lse);
                real q = j >= a->other_first && j < other_end ? fci_exp(line[j] - lse_other[j]) : 0;
                sum += (double)p * (double)line[j];
                line[j] = p + q;
            }
            line[own] -= 2;
            parts[r] = sum;
        }
        for (int64_t r = 0; r < rows; r++) {
            total += parts[r];
        }
        if (a->grad != NULL) {
            fci_gemm(false, false, rows, a->width, a->cols, (real)(a->factor * a->scale), s,
                     a->cols, a->all, a->width, 1, (real *)a->grad + row * a->width, a->width);
        }
    }
    *a->scale_grad = total;
    fc_arena_rewind(scratch, mark);
}
