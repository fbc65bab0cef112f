/* Pictures that two stores share, told by the hashes of their sources' bytes: resized or encoded
 * anew, a picture is still the same one. */
#ifndef FC_DATA_OVERLAP_H
#define FC_DATA_OVERLAP_H

#include "data/store/store.h"

typedef struct fc_shared_picture {
    int64_t a, b; /* index in either store; b: the first of its kind */
} fc_shared_picture;

typedef struct fc_overlap {
    int64_t of_a, of_b;      /* pictures of either store that the other one has, too */
    int64_t listed;          /* of those of a, in their order */
    fc_shared_picture *list; /* (listed) */
} fc_overlap;

/** What two stores share; at most `most` pictures are listed.
 *  Errors FC_DATA a store has no hashes; FC_NOMEM
 *  Cost   24 bytes a picture of the smaller store; one look-up a picture of both */
FC_NODISCARD fc_status fc_overlap_find(fc_overlap *out, const fc_store *a, const fc_store *b,
                                       int64_t most);
void fc_overlap_free(fc_overlap *o);

/** Pictures of a store that an earlier one of it equals; FC_DATA where it has no hashes. */
FC_NODISCARD fc_status fc_overlap_repeated(const fc_store *s, int64_t *out);

#endif
