/* What the parts of `fineclip inspect` share. All output goes to stdout. */
#ifndef FC_LAUNCH_INSPECT_H
#define FC_LAUNCH_INSPECT_H

#include "data/store/store.h"

typedef struct fci_inspect_options {
    const char *path, *second; /* second: NULL where one file was named */
    bool check;                /* read everything and list what is wrong */
    bool all;          /* every tensor or shared picture, not a line for each kind or the first */
    const char *sheet; /* file to draw pictures of a store into; NULL: none */
    const char *pictures; /* "12,7,100": these; NULL: chosen by seed */
    int64_t count, seed;  /* count 0: the default */
} fci_inspect_options;

/** Each prints its kind of file. FC_DATA: damaged, or --check found something. */
FC_NODISCARD fc_status fci_inspect_store(const fci_inspect_options *options);
FC_NODISCARD fc_status fci_inspect_results(const fci_inspect_options *options);
FC_NODISCARD fc_status fci_inspect_weights(const fci_inspect_options *options);
/** Draw pictures of a store with boxes, captions and crops into a PNG file. */
FC_NODISCARD fc_status fci_inspect_sheet(const fci_inspect_options *options);
/** Pictures that two stores share, by name. FC_DATA: one cannot be compared, or --check and there
 * are any. */
FC_NODISCARD fc_status fci_inspect_overlap(const fci_inspect_options *options);

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
/** The sentence of an item, or its ids where the store keeps no sentences ("ids 320 1125 539 ...");
 * heap. */
FC_NODISCARD fc_status fci_text_of_item(fc_store *s, fc_token_set set, int64_t item, char **out);

#endif
