/* Small histograms, side by side. */
#ifndef FC_LAUNCH_INSPECT_HISTOGRAM_H
#define FC_LAUNCH_INSPECT_HISTOGRAM_H

#include <stdint.h>

enum { FCI_MOST_BUCKETS = 12 };

typedef struct fci_histogram {
    const char *title;
    int buckets;
    /* (buckets - 1) largest value of each bucket but the last, which takes all above. */
    int64_t top[FCI_MOST_BUCKETS];
    int64_t count[FCI_MOST_BUCKETS];
} fci_histogram;

/** Count a value (>= 0). */
void fci_histogram_add(fci_histogram *h, int64_t value);
/** On stdout, each 23 columns wide, without what is empty at either end; one without any value is
 * left out. */
void fci_histograms_print(const fci_histogram *h, int count);

#endif
