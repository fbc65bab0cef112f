/* bf16 on the host, where it is stored and converted, never computed with: the upper half of a
 * float. */
#ifndef FC_CORE_BF16_H
#define FC_CORE_BF16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float fci_bf16_to_float(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

/** To nearest, ties to even; NaN stays one. */
static inline uint16_t fci_bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x)) {
        return 0x7FFF;
    }
    return (uint16_t)((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

#endif
