/* Rows read by their place in the file, without HDF5's process-wide lock: loader threads read at
 * once, also where the disk is slow, and a read costs what a pread costs. */
#ifndef FC_DATA_HDF5_DIRECT_H
#define FC_DATA_HDF5_DIRECT_H

#include "data/store/hdf5_util.h"

/** Prepare an open dataset for it (the lock is held). Datasets that are not plain integers, stored
 * in the file as they are, keep being read through HDF5: filters, external or virtual storage,
 * another byte order, memory types other than u8 and i32. */
void fci_h5_direct_open(fci_h5_dataset *d, hid_t file);
/** As fci_h5_read, but takes the lock itself where it needs it; any thread.
 *  Errors FC_RUNTIME where the file cannot be read or ends too early; those of fci_h5_read */
FC_NODISCARD fc_status fci_h5_read_direct(const fci_h5_dataset *d, int64_t first, int64_t count,
                                          void *out);
void fci_h5_direct_close(fci_h5_dataset *d);

#endif
