/* Between coco.c, which reads annotation files, and its parts. */
#ifndef FC_DATA_COCO_PARTS_H
#define FC_DATA_COCO_PARTS_H

#include "data/coco.h"

#include <stddef.h>

/* A growing array of T in two fields: FCI_GROW(c->image, c->images, room) makes room for one more.
 */
#define FCI_GROW(array, count, room)                                                               \
    do {                                                                                           \
        if ((count) == (room)) {                                                                   \
            (room) = 2 * (room) + 64;                                                              \
            (array) = fc_realloc((array), (size_t)(room), sizeof *(array));                        \
        }                                                                                          \
    } while (0)

/* Index from 64-bit hashes to positions; several positions may share a hash: walk with
 * fci_index_next. */
typedef struct fci_index {
    int64_t *position; /* -1: free */
    uint64_t *hash;
    size_t mask;
} fci_index;

void fci_index_init(fci_index *x, int64_t count);
void fci_index_free(fci_index *x);
void fci_index_add(fci_index *x, uint64_t hash, int64_t position);
/** Next position under a hash, -1 at the end; *at starts as hash and belongs to the walk. */
int64_t fci_index_next(const fci_index *x, uint64_t hash, uint64_t *at);
uint64_t fci_hash_integer(uint64_t value);
uint64_t fci_hash_bytes(const void *bytes, size_t count);

/** Sentences of regions by the published key, FILE_X_Y_W_H.jpg with numbers truncated towards zero;
 * c is complete. */
FC_NODISCARD fc_status fci_coco_read_region_captions(fci_coco *c, uint64_t *text_count,
                                                     uint64_t *text_room, const char *path);
/** Append a string to c->text; returns where it begins. */
uint64_t fci_coco_keep_text(fci_coco *c, uint64_t *text_count, uint64_t *text_room,
                            const char *string, size_t bytes);

#endif
