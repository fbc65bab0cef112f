/* The counts of `fineclip prepare` (prepare_counts.def): nothing vanishes silently. */
#ifndef FC_DATA_PREPARE_COUNTS_H
#define FC_DATA_PREPARE_COUNTS_H

#include <stdint.h>

typedef enum {
#define FC_COUNT(name, line, role, text) FCI_COUNT_##name,
#include "data/prepare/prepare_counts.def"
#undef FC_COUNT
    FCI_COUNTS
} fci_count_name;

typedef struct fci_counts {
    int64_t of[FCI_COUNTS];
} fci_counts;

void fci_counts_add(fci_counts *sum, const fci_counts *more);
/** "pictures_listed" and so on. */
const char *fci_count_word(fci_count_name name);
/** Line `line` of the summary, e.g. "regions: 739 read, 731 written; dropped: 8 crowds": totals
 * always, the rest where it is not 0; NULL where all of it is 0. Heap. */
char *fci_counts_line(const fci_counts *counts, int line);
int fci_counts_lines(void);
/** All lines, through the log. */
void fci_counts_log(const fci_counts *counts);
/** Pictures that could not be used although nobody asked to leave them out. */
int64_t fci_counts_bad(const fci_counts *counts);

#endif
