/* The float functions kernels are built from, over their whole range. */
#define FC_KERNEL_f32
#include "core/cpu/real.h"
#include "tests/check.h"

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Distance in units of the last place of the exact value. */
static double ulps(float got, double want)
{
    const double unit = fmax(ldexp(1, ilogb(want) - 23), ldexp(1, -149));
    return fabs((double)got - want) / unit;
}

static void check_exp(void)
{
    double worst = 0;
    int64_t count = 0;
    for (uint32_t bits = 0; bits < 0x42B20000U; bits += 997) { /* 0 to 89, and below 0 to -105 */
        for (int sign = 0; sign < 2; sign++) {
            const float x = from_bits(bits | (sign != 0 ? 0x80000000U : 0));
            const double want = exp((double)x);
            if (want > 3.4028234e38) {
                FC_CHECK(fci_exp(x) == INFINITY || ulps(fci_exp(x), want) <= 2);
                continue;
            }
            const double error = ulps(fci_exp(x), want);
            worst = error <= worst ? worst : error; /* NaN becomes the worst */
            count++;
        }
    }
    for (float x = -89; x > -104; x -= 0.0137F) { /* subnormal results */
        const double error = ulps(fci_exp(x), exp((double)x));
        worst = error <= worst ? worst : error;
    }
    FC_CHECK(count > 1000000);
    FC_CHECK_NEAR(worst, 1, 1.0); /* at most 2 units */
    FC_CHECK(fci_exp(0) == 1);
    FC_CHECK(fci_exp(-INFINITY) == 0);
    FC_CHECK(fci_exp(-200) == 0);
    FC_CHECK(fci_exp(INFINITY) == INFINITY);
    FC_CHECK(fci_exp(100) == INFINITY);
    FC_CHECK(isnan(fci_exp(NAN)));
    FC_CHECK(isnan(fci_exp(-NAN)));
    FC_CHECK(fci_sigmoid(-INFINITY) == 0);
    FC_CHECK(fci_sigmoid(INFINITY) == 1);
    FC_CHECK(fci_sigmoid(-100) == 0 || fci_sigmoid(-100) < 1e-38F);
}

static void check_normal(void)
{
    double worst = 0, worst_density = 0, worst_tail = 0;
    for (double at = -13; at <= 13; at += 0.000317) {
        const float x = (float)at;
        float density;
        const float got = fci_normal(x, &density);
        const double exact = 0.5 * erfc(-(double)x * 0.70710678118654752440);
        const double error = fabs((double)got - exact) / exact;
        const double error_density = fabs((double)density / exp(-0.5 * (double)x * (double)x) - 1);
        if (x < -5) {
            worst_tail = error <= worst_tail ? worst_tail : error;
        } else {
            worst = error <= worst ? worst : error;
        }
        worst_density = error_density <= worst_density ? worst_density : error_density;
    }
    FC_CHECK_NEAR(worst, 0, 4e-7);
    FC_CHECK_NEAR(worst_tail, 0, 6e-7);
    FC_CHECK_NEAR(worst_density, 0, 3e-7);
    float density;
    FC_CHECK(fci_normal(INFINITY, &density) == 1 && density == 0);
    FC_CHECK(fci_normal(-INFINITY, &density) == 0 && density == 0);
    FC_CHECK(fci_normal(-30, &density) == 0 && density == 0);
    FC_CHECK(isnan(fci_normal(NAN, &density)) && isnan(density));
    FC_CHECK_NEAR(fci_normal(0, &density), 0.5, 1e-7);
    FC_CHECK(density == 1);
}

int main(void)
{
    check_exp();
    check_normal();
    return fc_check_end();
}
