/* What the parts of `fineclip inspect` share. All output goes to stdout. */
#ifndef FC_LAUNCH_INSPECT_H
#define FC_LAUNCH_INSPECT_H

#include "core/status.h"

#include <stdint.h>

typedef struct fci_inspect_options {
    const char *path;
    bool check; /* read everything and list what is wrong */
    bool all;   /* every tensor, not one line for each kind */
} fci_inspect_options;

/** Each prints its kind of file. FC_DATA: damaged, or --check found something. */
FC_NODISCARD fc_status fci_inspect_store(const fci_inspect_options *options);
FC_NODISCARD fc_status fci_inspect_results(const fci_inspect_options *options);
FC_NODISCARD fc_status fci_inspect_weights(const fci_inspect_options *options);

/** Everything that is wrong with a store, at most 100 lines of it on stdout. Collective: every rank
 * checks its share. FC_DATA: there were findings. */
FC_NODISCARD fc_status fci_inspect_check(const char *path);

/** "12,345,678" and "1.5 GiB"; static buffers, 8 in turn. */
const char *fci_text_count(int64_t count);
const char *fci_text_bytes(int64_t bytes);
/** Values as a line of so many columns at most, means of neighbours where there are more; NaN is a
 * blank. Heap. */
char *fci_text_sparkline(const double *values, int64_t count, int columns);
/** A text on one line of so many columns at most, "..." at its end where it was longer; control
 * characters are blanks. Heap. */
char *fci_text_clipped(const char *text, int columns);

#endif
