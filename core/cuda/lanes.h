/* Copies beside the work: the CUDA backend's fc_device_lanes. */
#ifndef FC_CORE_CUDA_LANES_H
#define FC_CORE_CUDA_LANES_H

#include "core/backend.h"

void fci_lanes_start(void);
void fci_lanes_stop(void);
extern const fc_device_lanes fci_lanes;

#endif
