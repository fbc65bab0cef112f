/* Tar archives: reading their members' heads one after another (ustar, with the long names of pax
 * and GNU), and writing plain ustar. Members' bytes are read by offset, so nothing is unpacked. */
#ifndef FC_DATA_TAR_H
#define FC_DATA_TAR_H

#include "core/status.h"
#include "data/prepare/pack.h"

#include <stdio.h>

typedef struct fci_tar {
    FILE *file;
    const char *path;   /* borrowed */
    int64_t size, next; /* of the file; of the next head in it */
    char *name;         /* of the present member; owned */
    int64_t offset, bytes;
    bool cut; /* the archive ends too early, or goes on with something else */
} fci_tar;

/** FC_NOINPUT: no such file; FC_DATA: it does not begin as a tar archive does. */
FC_NODISCARD fc_status fci_tar_open(fci_tar *out, const char *path);
void fci_tar_close(fci_tar *tar);
/** Step to the next plain file; *found is false at the end. What comes behind damage is not found,
 * and cut is set. A member may reach past the end of the file. */
FC_NODISCARD fc_status fci_tar_next(fci_tar *tar, bool *found);

/** The present member's bytes with a zero byte behind them, heap; NULL where the file ends before.
 * FC_DATA: more than `most` bytes. */
FC_NODISCARD fc_status fci_tar_text(fci_tar *tar, int64_t most, char **out);

/** Append a member; FC_DATA where its name has more than 100 bytes. Times and owners are 0, so that
 * equal contents make equal files. */
FC_NODISCARD fc_status fci_tar_pack(fci_bytes *to, const char *name, const void *data,
                                    size_t bytes);
/** The two empty blocks at the end. */
void fci_tar_pack_end(fci_bytes *to);

#endif
