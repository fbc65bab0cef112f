/* The byte-pair vocabulary file of CLIP in memory. */
#ifndef FC_DATA_VOCABULARY_H
#define FC_DATA_VOCABULARY_H

#include "core/status.h"

#include <stdint.h>

/* Token i is pool[start[i] .. start[i+1] - 1) followed by one byte that is 1 where the token ends a
 * word. */
typedef struct fci_vocabulary {
    int count; /* without start and end tokens */
    uint32_t *start;
    uint8_t *pool;
    int32_t byte_id[256]; /* id of a byte within a word; + 256: at its end */
    uint32_t merge_mask;  /* hash table of the merges, open addressing */
    struct fci_merge {
        uint64_t pair; /* left << 32 | right; UINT64_MAX: free */
        int32_t id;
    } * merges;
} fci_vocabulary;

/** Read the file, gzip'ed or not. FC_NOINPUT where it is missing, FC_DATA names a bad line. */
FC_NODISCARD fc_status fci_vocabulary_read(fci_vocabulary *v, const char *path);
void fci_vocabulary_free(fci_vocabulary *v);

static inline uint32_t fci_vocabulary_slot(uint64_t pair, uint32_t mask)
{
    return (uint32_t)((pair * 0x9e3779b97f4a7c15u) >> 40) & mask;
}

/** Id of the token that two neighbouring tokens merge into; -1: they do not. */
static inline int32_t fci_vocabulary_merge(const fci_vocabulary *v, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
    for (uint32_t i = fci_vocabulary_slot(pair, v->merge_mask);; i = (i + 1) & v->merge_mask) {
        if (v->merges[i].pair == pair) {
            return v->merges[i].id;
        }
        if (v->merges[i].pair == UINT64_MAX) {
            return -1;
        }
    }
}

#endif
