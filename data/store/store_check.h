/* Reading all of a store and saying everything that is wrong with it (FORMATS.md section 4):
 * offsets, sizes, attributes, boxes, scores, categories, tokens, sentences, pictures, crops,
 * hashes.
 *
 * A store is cut into blocks. Threads take blocks, ranks every parts-th one; findings carry their
 * place in the store, so that what is reported depends on neither. */
#ifndef FC_DATA_STORE_CHECK_H
#define FC_DATA_STORE_CHECK_H

#include "core/status.h"
#include "data/store/findings.h"

typedef struct fc_store_check_options {
    int part, parts; /* this process' share: 0 of 1 is all */
    int threads;     /* >= 1, the caller's included */
    /* Called in the caller's thread with this share's progress; may be NULL. */
    void (*progress)(void *ctx, int64_t done, int64_t total);
    void *ctx;
} fc_store_check_options;

/** Check a file that may not even open as a store: wrong offsets, sizes and categories, which
 *  fc_store_open refuses, are findings too.
 *  found  its limit set; in order on return. Each line names what, item, file and dataset
 *  Errors as fc_store_open where datasets are missing or of another type or shape, and where memory
 *         or threads are not to be had
 *  Cost   every byte is read once, every picture decoded; scratch: some MiB a thread */
FC_NODISCARD fc_status fc_store_check(fc_findings *found, const char *path,
                                      const fc_store_check_options *options);

#endif
