/* Activations of the MLPs. */
#include "core/cpu/threads.h"

static const real INV_SQRT_2PI = (real)0.39894228040143267794;
static const real QUICK = (real)1.702;

void FC_FN(gelu_fwd)(const fci_gelu_args *a, fc_arena *scratch)
{
    (void)scratch;
    const real *restrict x = a->x;
    real *restrict y = a->y;
    if (a->quick) {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < a->count; i++) {
            y[i] = x[i] * fci_sigmoid(QUICK * x[i]);
        }
        return;
    }
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < a->count; i++) {
        real density;
        y[i] = x[i] * fci_normal(x[i], &density);
    }
}

static inline real slope(real x)
{
    real density;
    const real phi = fci_normal(x, &density);
    return fci_fma(x * INV_SQRT_2PI, density, phi);
}

static inline real quick_slope(real x)
{
    const real s = fci_sigmoid(QUICK * x);
    return s * (1 + QUICK * x * (1 - s));
}

/* dy and dx may be one buffer, so no restrict here. */
void FC_FN(gelu_bwd)(const fci_gelu_args *a, fc_arena *scratch)
{
    (void)scratch;
    const real *x = a->x, *dy = a->dy;
    real *dx = a->dx.at;
    if (dx == NULL) {
        return;
    }
    if (!a->dx.add) {
        if (a->quick) {
#pragma omp parallel for simd schedule(static)
            for (int64_t i = 0; i < a->count; i++) {
                dx[i] = dy[i] * quick_slope(x[i]);
            }
        } else {
#pragma omp parallel for simd schedule(static)
            for (int64_t i = 0; i < a->count; i++) {
                dx[i] = dy[i] * slope(x[i]);
            }
        }
    } else if (a->quick) {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < a->count; i++) {
            dx[i] = dx[i] + dy[i] * quick_slope(x[i]);
        }
    } else {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < a->count; i++) {
            dx[i] = dx[i] + dy[i] * slope(x[i]);
        }
    }
}
