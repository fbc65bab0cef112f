/* Moving rows: gather, concatenation, addition. */
#include "core/cpu/threads.h"

enum { LINE = 16 }; /* columns in a thread's smallest share: whole cache lines */

static void add_row(real *restrict y, const real *restrict x, int64_t n)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        y[j] += x[j];
    }
}

void FC_FN(gather_rows_fwd)(const fci_gather_rows_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->count; i++) {
        memcpy((real *)a->y + i * n, (const real *)a->x + a->index[i] * n,
               (size_t)n * sizeof(real));
    }
}

/* Threads share the columns, since several rows may go to one. */
void FC_FN(gather_rows_bwd)(const fci_gather_rows_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols;
    real *dx = a->dx.at;
    if (dx == NULL) {
        return;
    }
#pragma omp parallel
    {
        int64_t begin, end;
        fci_share(n, LINE, &begin, &end);
        for (int64_t i = 0; !a->dx.add && i < a->rows && begin < end; i++) {
            memset(dx + i * n + begin, 0, (size_t)(end - begin) * sizeof(real));
        }
        for (int64_t i = 0; i < a->count; i++) {
            add_row(dx + a->index[i] * n + begin, (const real *)a->dy + i * n + begin, end - begin);
        }
    }
}

static void copy_or_add(fci_out to, const real *restrict x, int64_t count)
{
    real *restrict y = to.at;
    if (y == NULL) {
        return;
    }
    if (to.add) {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < count; i++) {
            y[i] += x[i];
        }
    } else {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < count; i++) {
            y[i] = x[i];
        }
    }
}

void FC_FN(concat_rows_fwd)(const fci_concat_rows_args *a, fc_arena *scratch)
{
    (void)scratch;
    copy_or_add((fci_out){.at = a->y}, a->a, a->count_a);
    copy_or_add((fci_out){.at = (real *)a->y + a->count_a}, a->b, a->count_b);
}

void FC_FN(concat_rows_bwd)(const fci_concat_rows_args *a, fc_arena *scratch)
{
    (void)scratch;
    copy_or_add(a->da, a->dy, a->count_a);
    copy_or_add(a->db, (const real *)a->dy + a->count_a, a->count_b);
}

void FC_FN(add_fwd)(const fci_add_args *a, fc_arena *scratch)
{
    (void)scratch;
    copy_or_add(a->y, a->x, a->count);
}
