/* Losses over pairs of rows: cosine distance, and binary cross-entropy of cosines. Values are
 * doubles in either type. */
#include "core/cpu/real.h"

void FC_FN(cosine_distance_fwd)(const fci_cosine_distance_args *a, fc_arena *scratch)
{
    (void)scratch;
    const real *x = a->a, *y = a->b;
    double sum = 0;
    for (int64_t r = 0; r < a->rows; r++) {
        double dot = 0;
        for (int64_t i = r * a->cols; i < (r + 1) * a->cols; i++) {
            dot += (double)x[i] * (double)y[i];
        }
        sum += 1.0 - dot;
    }
    *a->sum = sum;
}

void FC_FN(cosine_distance_bwd)(const fci_cosine_distance_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t count = a->rows * a->cols;
    const real factor = (real)a->factor, *other = a->b;
    real *grad = a->da.at;
    if (!a->da.add && count > 0) {
        memset(grad, 0, (size_t)count * sizeof *grad);
    }
    for (int64_t i = 0; i < count; i++) {
        grad[i] += factor * other[i];
    }
}

void FC_FN(sigmoid_loss_fwd)(const fci_sigmoid_loss_args *a, fc_arena *scratch)
{
    (void)scratch;
    const real *cosines = a->cosines;
    double sum = 0;
    for (int64_t r = 0; r < a->rows; r++) {
        double row = 0;
        for (int64_t k = 0; k < a->cols; k++) {
            double l = a->scale * (double)cosines[r * a->cols + k];
            row += fmax(l, 0) - (k == a->own[r] ? l : 0) + log1p(exp(-fabs(l)));
        }
        sum += row;
    }
    *a->sum = sum;
}

void FC_FN(sigmoid_loss_bwd)(const fci_sigmoid_loss_args *a, fc_arena *scratch)
{
    (void)scratch;
    const real *cosines = a->cosines;
    real *grad = a->dcosines;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < a->rows; r++) {
        for (int64_t k = 0; k < a->cols; k++) {
            double l = a->scale * (double)cosines[r * a->cols + k];
            double g = a->factor * (1 / (1 + exp(-l)) - (k == a->own[r] ? 1 : 0));
            grad[r * a->cols + k] = (real)g;
        }
    }
}
