/* Time and memory of this process, for measurements. */
#ifndef FC_CORE_CLOCK_H
#define FC_CORE_CLOCK_H

#include <stdint.h>

/** Seconds since some fixed moment; never goes back. */
double fc_clock_seconds(void);
/** Most memory this process ever held, in bytes. */
int64_t fc_peak_host_bytes(void);

#endif
