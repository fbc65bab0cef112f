/* Counter-based random numbers (Philox 4x32-10; Salmon et al., SC 2011): the k-th number of a
 * stream depends on its key alone, never on ranks, threads or what was drawn before elsewhere. */
#ifndef FC_CORE_RNG_H
#define FC_CORE_RNG_H

#include <stdint.h>

/* What a stream is for; part of its key, so that uses never share numbers. */
typedef enum {
    FC_RNG_INIT,    /* a = hash of the parameter's name */
    FC_RNG_SHUFFLE, /* a = epoch */
    FC_RNG_SUBSET,  /* data.samples */
    FC_RNG_CAPTION, /* a = epoch, b = sample */
    FC_RNG_REGIONS, /* a = epoch, b = sample */
    FC_RNG_SCENE,   /* a = scene */
    FC_RNG_BENCH,
    FC_RNG_TEST,
    FC_RNG_CONCEPTS, /* a = step */
    FC_RNG_SHEET     /* which pictures a contact sheet shows */
} fc_rng_purpose;

typedef struct fc_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    int left; /* unread words of block */
} fc_rng;

/** Start the stream (seed, purpose, a, b). */
fc_rng fc_rng_stream(uint64_t seed, fc_rng_purpose purpose, uint64_t a, uint64_t b);
uint32_t fc_rng_u32(fc_rng *rng);
uint64_t fc_rng_u64(fc_rng *rng);
/** Uniform in [0, 1), 53 bits. */
double fc_rng_uniform(fc_rng *rng);
/** Uniform whole number in [0, n), n >= 1, without bias. */
uint64_t fc_rng_below(fc_rng *rng, uint64_t n);
/** Standard normal (Box-Muller, one value a call). */
double fc_rng_normal(fc_rng *rng);
/** Random order of 0..n-1 (Fisher-Yates). */
void fc_rng_permutation(fc_rng *rng, int64_t n, int64_t *order);
/** 64-bit FNV-1a hash of a string, for stream keys. */
uint64_t fc_rng_hash(const char *text);

#endif
