/* The optimiser's arithmetic (Loshchilov & Hutter 2019; METHOD.md section 6). */
#include "core/cpu/real.h"

enum { BLOCK = 1 << 14 }; /* values a thread takes at once; also fixes the order of sums */

static void update(const fci_adamw_args *a, const fci_adamw_run *r)
{
    const real decay = (real)(1.0 - a->lr * r->weight_decay), beta1 = (real)a->beta1,
               beta2 = (real)a->beta2;
    const real grad_scale = (real)a->grad_scale, eps = (real)a->eps;
    const real step = (real)(a->lr / r->correction1), root = (real)(1.0 / sqrt(r->correction2));
    real *restrict p = r->p, *restrict m = r->m, *restrict v = r->v;
    const real *restrict g = r->grad;
    const real least = (real)r->least, most = (real)r->most;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < r->count; i++) {
        real grad = g[i] * grad_scale;
        m[i] = beta1 * m[i] + (1 - beta1) * grad;
        v[i] = beta2 * v[i] + (1 - beta2) * grad * grad;
        const real x = p[i] * decay - step * m[i] / (fci_sqrt(v[i]) * root + eps);
        p[i] = x < least ? least : x > most ? most : x;
    }
}

void FC_FN(adamw_fwd)(const fci_adamw_args *a, fc_arena *scratch)
{
    (void)scratch;
    for (int i = 0; i < a->runs; i++) {
        update(a, &a->run[i]);
    }
}

static double squares(const fci_array *a, fc_arena *scratch)
{
    int64_t blocks = (a->count + BLOCK - 1) / BLOCK;
    fc_arena_mark mark = fc_arena_save(scratch);
    double *parts = fc_arena_alloc(scratch, (size_t)blocks * sizeof *parts);
    const real *x = a->x;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t end = (b + 1) * BLOCK < a->count ? (b + 1) * BLOCK : a->count;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = b * BLOCK; i < end; i++) {
            sum += (double)x[i] * (double)x[i];
        }
        parts[b] = sum;
    }
    double total = 0;
    for (int64_t b = 0; b < blocks; b++) {
        total += parts[b];
    }
    fc_arena_rewind(scratch, mark);
    return total;
}

void FC_FN(square_sum_fwd)(const fci_square_sum_args *a, fc_arena *scratch)
{
    for (int i = 0; i < a->arrays; i++) {
        a->sums[i] = squares(&a->array[i], scratch);
    }
}
