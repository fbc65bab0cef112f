/* Between plan_build.c, which collects, plan_join.c, which joins, and plan_write.c, which writes.
 */
#ifndef FC_DATA_PLAN_BUILD_PARTS_H
#define FC_DATA_PLAN_BUILD_PARTS_H

#include "data/prepare/plan_build.h"
#include "data/prepare/spill.h"
#include "data/store/content_hash.h"

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

/* Pictures with their annotations on the way from plan_join.c to plan_write.c. */
typedef struct fci_gathering {
    fci_plan_builder *b;
    const fci_record *next; /* of by_position */
    fci_bytes record, group;
    fci_plan_image image;
    FILE *drafts;           /* pictures with annotations, without sentences of regions */
    fci_spill *region_keys; /* packed i64 draft, i64 region */
    uint64_t last_sample[2];
    int64_t drafted;
} fci_gathering;

/* Temporary files of records: u64 bytes, then the record. */
FC_NODISCARD fc_status fci_next_record(const fci_plan_builder *b, FILE *file, fci_bytes *out);
FC_NODISCARD fc_status fci_put_record(const fci_plan_builder *b, FILE *file,
                                      const fci_bytes *record);
FC_NODISCARD fc_status fci_rewind_file(const fci_plan_builder *b, FILE *file);
/** FC_RUNTIME about one of them. */
fc_status fci_plan_trouble(const fci_plan_builder *b);

bool fci_same_key(const fci_record *r, const uint64_t key[2]);
bool fci_key_before(const fci_record *r, const uint64_t key[2]);

/** Sentences find their regions, and the plan is written. */
FC_NODISCARD fc_status fci_write_plan(fci_gathering *g, const char *path,
                                      const uint8_t *fingerprint);

#endif
