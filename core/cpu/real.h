/* What a kernel file k_*.c is written in terms of: it is compiled twice, once for each `real`.
 *
 * The float functions are polynomials without branches or calls, so that loops over them become
 * vector code; the double ones are libm's, since doubles are there to be exact. */
#ifndef FC_CORE_CPU_REAL_H
#define FC_CORE_CPU_REAL_H

#include "core/cpu/gemm.h"
#include "core/kernel.h"

#include <math.h>
#include <string.h>

#if defined(FC_KERNEL_f32)
typedef float real;
#define FC_FN(name) fc_cpu_##name##_f32
#define fci_gemm fci_gemm_f32
#elif defined(FC_KERNEL_f64)
typedef double real;
#define FC_FN(name) fc_cpu_##name##_f64
#define fci_gemm fci_gemm_f64
#else
#error "compile with FC_KERNEL_f32 or FC_KERNEL_f64"
#endif

#define FC_OP_FORWARD(name) void FC_FN(name##_fwd)(const fci_##name##_args *, fc_arena *);
#define FC_OP(name)                                                                                \
    FC_OP_FORWARD(name)                                                                            \
    void FC_FN(name##_bwd)(const fci_##name##_args *, fc_arena *);
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD

/** `count` reals of scratch, 64-byte aligned. */
static inline real *fci_reals(fc_arena *scratch, int64_t count)
{
    return fc_arena_alloc(scratch, (size_t)count * sizeof(real));
}

#if defined(FC_KERNEL_f32)

/* C11 mode never contracts a*b+c by itself. */
#ifdef FP_FAST_FMAF
static inline float fci_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}
#else
static inline float fci_fma(float a, float b, float c)
{
    return a * b + c;
}
#endif

static inline float fci_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/** e^x within 2 ulp, subnormal results included; 0 at -infinity, infinity from 88.73, NaN stays. */
static inline float fci_exp(float x)
{
    const float round = 12582912.0F; /* 1.5 * 2^23: adding it leaves the nearest whole number */
    x = x < -104.0F ? -104.0F : x;
    x = x > 89.0F ? 89.0F : x;
    float shifted = fci_fma(x, 1.44269504F, round);
    float n = shifted - round;
    float r = fci_fma(n, -0.693145752F, x); /* ln 2 in two parts, the first with 16 bits */
    r = fci_fma(n, -1.42860677e-06F, r);
    float p = 1.98264606e-4F;
    p = fci_fma(p, r, 1.39461341e-3F);
    p = fci_fma(p, r, 8.33343063e-3F);
    p = fci_fma(p, r, 4.16662693e-2F);
    p = fci_fma(p, r, 1.66666657e-1F);
    p = fci_fma(p, r, 0.5F);
    p = fci_fma(p * r, r, r) + 1.0F;
    /* 2^n as a product of two, since n reaches from -150 to 128. */
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    uint32_t whole = bits - 0x4B400000U;
    uint32_t half = (uint32_t)((int32_t)whole >> 1);
    return p * fci_bits((half + 127U) << 23) * fci_bits((whole - half + 127U) << 23);
}

/** Standard normal distribution function Phi(x) to about 2e-7 relative, also in the lower tail;
 * *density = exp(-x^2/2).
 *
 * Phi(-|x|) = exp(-x^2/2) erfcx(z)/2 with z = |x|/sqrt(2), and (1+2z) erfcx(z) is smooth in t =
 * (z-2)/(z+2) over all z >= 0 (the substitution of Shepherd and Laframboise, Math. Comp. 36, 1981);
 * own fit of degree 9, 4e-8. */
static inline float fci_normal(float x, float *density)
{
    float half = -0.5F * x;
    float square = half * x;
    float rest = fci_fma(half, x, -square); /* what rounding took from the exponent */
    float e = fci_exp(square);
    e = square > -200.0F ? fci_fma(e, rest, e) : e;
    float z = fabsf(x) * 0.707106781F;
    z = z > 14.0F ? 14.0F : z;
    float t = (z - 2.0F) / (z + 2.0F);
    float p = -3.60382284e-4F;
    p = fci_fma(p, t, -1.16653868e-3F);
    p = fci_fma(p, t, 1.29515002e-3F);
    p = fci_fma(p, t, 8.57226923e-3F);
    p = fci_fma(p, t, -8.06363020e-3F);
    p = fci_fma(p, t, -5.41866198e-2F);
    p = fci_fma(p, t, 1.64057389e-1F);
    p = fci_fma(p, t, -1.66033149e-1F);
    p = fci_fma(p, t, -9.27641094e-2F);
    p = fci_fma(p, t, 1.27697837F);
    float tail = 0.5F * e * p / fci_fma(2.0F, z, 1.0F);
    *density = e;
    return x < 0 ? tail : 1.0F - tail;
}

static inline float fci_sqrt(float x)
{
    return sqrtf(x);
}

static inline float fci_log(float x)
{
    return logf(x);
}

#else

static inline double fci_fma(double a, double b, double c)
{
    return a * b + c;
}

static inline double fci_exp(double x)
{
    return exp(x);
}

static inline double fci_normal(double x, double *density)
{
    *density = exp(-0.5 * x * x);
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static inline double fci_sqrt(double x)
{
    return sqrt(x);
}

static inline double fci_log(double x)
{
    return log(x);
}

#endif

/** 1 / (1 + e^-x). */
static inline real fci_sigmoid(real x)
{
    return 1 / (1 + fci_exp(-x));
}

#endif
