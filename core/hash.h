/* FNV-1a, 64 bits: tells bytes apart; no protection against who means harm. */
#ifndef FC_CORE_HASH_H
#define FC_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/** The same number for the same bytes, on every machine. */
static inline uint64_t fc_hash_bytes(const void *bytes, size_t count)
{
    uint64_t h = 14695981039346656037ULL;
    for (size_t i = 0; i < count; i++) {
        h = (h ^ ((const unsigned char *)bytes)[i]) * 1099511628211ULL;
    }
    return h;
}

#endif
