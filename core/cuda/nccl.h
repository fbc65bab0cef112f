/* Collectives between the ranks' devices through NCCL, whose library is opened at run time and
 * which is bootstrapped over MPI. */
#ifndef FC_CORE_CUDA_NCCL_H
#define FC_CORE_CUDA_NCCL_H

#include "core/backend.h"
#include "core/comm.h"

/** Open the library and connect all ranks. Collective; fails on all ranks where one lacks the
 * library. FC_RUNTIME. */
FC_NODISCARD fc_status fci_nccl_start(fc_comm *comm);
void fci_nccl_stop(void);
const fc_device_collectives *fci_nccl_collectives(void);

#endif
