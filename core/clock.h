/* Time and memory of this process, for measurements. */
#ifndef FC_CORE_CLOCK_H
#define FC_CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/** Seconds since some fixed moment; never goes back. */
double fc_clock_seconds(void);
/** Most memory this process ever held, or held since fc_peak_host_reset, in bytes. */
int64_t fc_peak_host_bytes(void);
/** Count from what is held now, for the next of several runs; false where the system cannot. */
bool fc_peak_host_reset(void);

#endif
