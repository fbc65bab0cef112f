/* Between plan.c, which reads plans, and plan_build.c, which writes them.
 *
 * A file is: pictures one after another (fci_plan_image_pack), their offsets (u64, images + 1), the
 * head (packed: categories, counts, numbers) and an fci_plan_tail. */
#ifndef FC_DATA_PLAN_FILE_H
#define FC_DATA_PLAN_FILE_H

#include "data/store/content_hash.h"

#define FCI_PLAN_MAGIC UINT64_C(0x31306e616c706366) /* changes with the layout */

typedef struct fci_plan_tail {
    uint64_t offsets_at, head_at, head_bytes;
    uint8_t fingerprint[FC_HASH_BYTES];
    uint64_t magic;
} fci_plan_tail;

#endif
