/* `fineclip prepare`: pictures, annotations and captions -> a store (FORMATS.md section 4, recipe).
 */
#ifndef FC_DATA_PREPARE_H
#define FC_DATA_PREPARE_H

#include "core/yaml.h"

/* Who runs a recipe, and who is told about it. */
typedef struct fc_prepare_watch {
    int rank, ranks;                      /* of a job; 0 of 0: alone */
    fc_status (*agree)(fc_status status); /* the same outcome on every rank; NULL: alone */
    bool (*stop)(void);                   /* true: leave the rest for the next run; may be NULL */
    /* progress of `what` ("prepare", "write"): pictures; may be NULL */
    void (*step)(void *ctx, const char *what, int64_t done, int64_t total);
    void *ctx;
} fc_prepare_watch;

/** Run a recipe whose overrides are already applied. source: coco | folder | shards | retrieval |
 * karpathy | synthetic. Paths are relative to the working directory, those of inputs to the
 * recipe's `root` where it has one. Ends with a summary through the log, which is also the
 * attributes of /summary in the store. An interrupted run is gone on with by running the same
 * recipe again (README.md of this folder). Collective: all ranks, which share the folders of the
 * recipe. Errors  FC_USAGE: unknown or wrong keys, before any work; FC_NOINPUT: a file is missing;
 * FC_DATA: bad annotations, or more than max_bad_fraction of the pictures missing or damaged;
 * FC_INTERRUPTED: stopped. Cost    memory: a few sorts of 32 MiB, then a block of pictures a rank.
 * Threads: OpenMP over pictures. */
FC_NODISCARD fc_status fc_prepare(const fc_yaml *recipe, const fc_prepare_watch *watch);

#endif
