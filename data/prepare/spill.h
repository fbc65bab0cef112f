/* Records in the order of their keys, whatever their number: what does not fit into memory is
 * sorted in runs on disk, and the runs are merged while reading (an external merge sort). Records
 * of equal keys come in the order in which they were added, so that the outcome is the same
 * wherever the runs end. The temporary file has no name, so that nothing of it is left however the
 * program ends. */
#ifndef FC_DATA_SPILL_H
#define FC_DATA_SPILL_H

#include "core/status.h"

#include <stdint.h>

typedef struct fci_spill fci_spill;

typedef struct fci_record {
    uint64_t key[2];
    const uint8_t *data; /* borrowed until the next call */
    size_t bytes;
} fci_record;

/** folder: where the file goes if one is needed. memory: bytes to sort at a time. */
void fci_spill_create(fci_spill **out, const char *folder, size_t memory);
void fci_spill_destroy(fci_spill **s);
/** FC_RUNTIME: the disk. Everything is copied. */
FC_NODISCARD fc_status fci_spill_add(fci_spill *s, uint64_t high, uint64_t low, const void *data,
                                     size_t bytes);
/** The next record in order, or NULL at the end in *out. The first call ends the adding. */
FC_NODISCARD fc_status fci_spill_next(fci_spill *s, const fci_record **out);
int64_t fci_spill_count(const fci_spill *s);

#endif
