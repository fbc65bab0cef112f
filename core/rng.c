#include "core/rng.h"

#include "core/hash.h"

#include <math.h>
#include <string.h>

static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * x0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * x2;
        uint32_t y0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0;
        uint32_t y2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x1 = (uint32_t)p1;
        x3 = (uint32_t)p0;
        x0 = y0;
        x2 = y2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = x0;
    out[1] = x1;
    out[2] = x2;
    out[3] = x3;
}

/* SplitMix64's finaliser: spreads structured keys over all bits. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

fc_rng fc_rng_stream(uint64_t seed, fc_rng_purpose purpose, uint64_t a, uint64_t b)
{
    uint64_t key = mix(mix(seed) ^ (uint64_t)purpose);
    uint64_t high =
        mix(mix(key ^ a) ^ b); /* upper half of the counter: the streams of a key cannot overlap */
    return (fc_rng){.key = {(uint32_t)key, (uint32_t)(key >> 32)},
                    .counter = {0, 0, (uint32_t)high, (uint32_t)(high >> 32)}};
}

uint32_t fc_rng_u32(fc_rng *rng)
{
    if (rng->left == 0) {
        philox(rng->counter, rng->key, rng->block);
        rng->left = 4;
        if (++rng->counter[0] == 0) {
            rng->counter[1]++;
        }
    }
    return rng->block[--rng->left];
}

uint64_t fc_rng_u64(fc_rng *rng)
{
    uint64_t high = fc_rng_u32(rng);
    return high << 32 | fc_rng_u32(rng);
}

double fc_rng_uniform(fc_rng *rng)
{
    return (double)(fc_rng_u64(rng) >> 11) * 0x1p-53;
}

uint64_t fc_rng_below(fc_rng *rng, uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n; /* drawing again above it removes the bias */
    uint64_t x = fc_rng_u64(rng);
    while (x >= limit) {
        x = fc_rng_u64(rng);
    }
    return x % n;
}

double fc_rng_normal(fc_rng *rng)
{
    double u = 1.0 - fc_rng_uniform(rng);
    double v = fc_rng_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void fc_rng_permutation(fc_rng *rng, int64_t n, int64_t *order)
{
    for (int64_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)fc_rng_below(rng, (uint64_t)i + 1);
        int64_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

uint64_t fc_rng_hash(const char *text)
{
    return fc_hash_bytes(text, strlen(text));
}
