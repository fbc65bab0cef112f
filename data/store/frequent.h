/* The most frequent captions of a store, in memory that does not grow with it. */
#ifndef FC_DATA_FREQUENT_H
#define FC_DATA_FREQUENT_H

#include "data/store/store.h"

typedef struct fc_frequent_row {
    int64_t item, count; /* the first item of its kind; how many there are */
} fc_frequent_row;

/** The rows of tokens that occur most often, at least twice, most frequent first; fewer than `most`
 *  where fewer are sure to be the most frequent. Counts are exact: a summary of at most 65,536 rows
 *  (Misra and Gries 1982) finds candidates, and where it had to drop any a second pass counts.
 *  out    (most)
 *  filled rows found
 *  Errors as fc_store_tokens
 *  Cost   one or two passes over the tokens, 8 MiB */
FC_NODISCARD fc_status fc_frequent_rows(fc_store *s, fc_token_set set, int most,
                                        fc_frequent_row *out, int *filled);

#endif
