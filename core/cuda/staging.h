/* Copies to the device from memory that may change as soon as the call returns. */
#ifndef FC_CORE_CUDA_STAGING_H
#define FC_CORE_CUDA_STAGING_H

#include <stddef.h>

void fci_staging_start(void);
/** After the device has been waited for. */
void fci_staging_stop(void);
/** On the rank's stream; from any thread. */
void fci_staging_upload(void *to, const void *from, size_t bytes);

#endif
