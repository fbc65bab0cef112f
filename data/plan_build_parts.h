/* Between plan_build.c, which collects, and plan_join.c, which joins and writes. */
#ifndef FC_DATA_PLAN_BUILD_PARTS_H
#define FC_DATA_PLAN_BUILD_PARTS_H

#include "data/content_hash.h"
#include "data/plan_build.h"
#include "data/spill.h"

#include <stdio.h>

typedef enum { FCI_MASK, FCI_CAPTION, FCI_REGION } fci_annotation_kind;

struct fci_plan_builder {
    fci_plan_options options;
    FILE *pictures; /* u64 bytes and a packed fci_plan_image without annotations, in order */
    int64_t images;
    bool derived, numeric; /* ids come from names; all names are numbers */
    uint64_t sequence;     /* of annotations */
    /* annotations: packed i64 sequence, i64 kind, and what the kind has */
    fci_spill *by_id, *by_name, *by_position;
    fci_spill *region_captions; /* by key: packed text */
    fci_plan_category *category;
    int64_t categories, category_room;
    bool has_scores, stuff_only;
    fci_counts counts;
    fci_bytes scratch;
};

void fci_key_of(const void *bytes, size_t count, uint64_t key[2]);
/** Of a picture's name without its suffix. */
void fci_key_of_name(const char *name, uint64_t key[2]);

#endif
