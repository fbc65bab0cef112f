/* `fineclip prepare`: pictures, annotations and captions -> a store (FORMATS.md section 4, recipe).
 */
#ifndef FC_DATA_PREPARE_H
#define FC_DATA_PREPARE_H

#include "core/yaml.h"

/* Told about progress; may be NULL. */
typedef struct fc_prepare_watch {
    void (*step)(void *ctx, int64_t done, int64_t total); /* pictures */
    void *ctx;
} fc_prepare_watch;

/** Run a recipe whose overrides are already applied. source: coco | synthetic. Paths are relative
 * to the working directory, those of images and annotations to the recipe's `root` where it has
 * one. Ends with a summary through the log: pictures listed, written, dropped by reason; regions
 * likewise; captions cut. Ranks   rank 0 works, the others return at once. Errors  FC_USAGE:
 * unknown or wrong keys, before any work; FC_NOINPUT: a file is missing; FC_DATA: bad annotations,
 * or more than max_bad_fraction of the pictures missing or damaged. Cost    memory: annotations
 * without polygons, and a window of pictures. Threads: OpenMP over pictures. */
FC_NODISCARD fc_status fc_prepare(const fc_yaml *recipe, const fc_prepare_watch *watch);

#endif
