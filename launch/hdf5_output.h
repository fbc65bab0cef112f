/* HDF5 files that a verb writes: whole or absent, chunk by chunk where they are large. Every call
 * stands under fci_h5_lock where it says so; errors are FC_RUNTIME. */
#ifndef FC_LAUNCH_HDF5_OUTPUT_H
#define FC_LAUNCH_HDF5_OUTPUT_H

#include "data/store/hdf5_util.h"

typedef struct fci_h5_output {
    hid_t file;
    char *path, *partial; /* heap; `partial` is what messages call it while it is written */
} fci_h5_output;

/** Start PATH.partial; its folder is made where it is missing. Takes the lock itself. */
FC_NODISCARD fc_status fci_h5_output_begin(fci_h5_output *out, const char *path);
/** Close and rename. Takes the lock itself; ends the object either way. */
FC_NODISCARD fc_status fci_h5_output_commit(fci_h5_output *out);
/** Drop what was written; nothing after commit. Takes the lock itself. */
void fci_h5_output_abandon(fci_h5_output *out);

/** A dataset of `dims`, with the groups on its way; chunk_rows > 0: stored in chunks of so many of
 * its first axis. The caller closes it. Under the lock. */
FC_NODISCARD fc_status fci_h5_make(hid_t *dataset, const fci_h5_output *out, const char *path,
                                   hid_t stored, int rank, const hsize_t *dims, int64_t chunk_rows);
/** Rows [first, first + count) of its first axis from `values` of memory type `type`. Under the
 * lock. */
FC_NODISCARD fc_status fci_h5_put(hid_t dataset, const fci_h5_output *out, int64_t first,
                                  int64_t count, hid_t type, const void *values);
/** Make, write whole and close; counts of 0 are fine. Under the lock. */
FC_NODISCARD fc_status fci_h5_write(const fci_h5_output *out, const char *path, hid_t stored,
                                    hid_t type, int rank, const hsize_t *dims, const void *values);
/** The same for strings of variable length. */
FC_NODISCARD fc_status fci_h5_write_strings(const fci_h5_output *out, const char *path,
                                            int64_t count, const char *const *values);
/** IEEE half precision, in the file and in memory; the caller closes it. */
hid_t fci_h5_half_type(void);
/** Nearest half, ties to even: HDF5's own conversion loses the carry into the exponent. */
uint16_t fci_h5_half(float value);

#endif
