/* The CUDA backend as the program sees it, also where it was built without one
 * (core/cuda/absent.c): one device and one stream of work a rank. */
#ifndef FC_CORE_CUDA_CUDA_H
#define FC_CORE_CUDA_CUDA_H

#include "core/comm.h"
#include "core/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

bool fc_cuda_is_built(void);
/** Number of devices; 0 where there is no driver or no device. */
int fc_cuda_device_count(void);
/** Take device `index` for this rank: its context, stream and libraries. FC_RUNTIME: names the
 * device and CUDA's reason, or the library that is missing. */
FC_NODISCARD fc_status fc_cuda_open(const fc_backend **out, int index);
void fc_cuda_close(void);
/** Collectives of the ranks' devices through NCCL, whose library is opened now; without this call
 * what ranks exchange goes through the process's memory. Collective. FC_RUNTIME: the library that
 * is missing, or NCCL's reason. */
FC_NODISCARD fc_status fc_cuda_connect(fc_comm *comm);
/** on: large products take the fastest of several algorithms, which are timed once a device and
 * kept in `folder` (NULL: for this process alone; the first one that is given stays), and biases'
 * gradients come with products where that is quicker. The choice decides in which order numbers
 * are added up, so that a run's bits depend on what is kept: off, as after fc_cuda_open, where they
 * may not. */
void fc_cuda_tune_products(bool on, const char *folder);
/** "NVIDIA H100 80GB HBM3"; static. */
const char *fc_cuda_device_name(void);
/** The same number for the same device whatever it is called, another for every other. */
uint64_t fc_cuda_device_identity(void);
/** Seconds of one product of two square matrices of this side and type, the best of a few: what the
 * device can do. */
double fc_cuda_time_product(fc_dtype type, int64_t side);

/** Kernels for tapes of this type, FC_F32 or FC_BF16. As core/kernel.h says, with these
 * differences: addresses are the device's; calls return before the work is done, in the order of
 * the rank's stream; gains and biases of norms, class tokens, positions of pictures, rotary tables,
 * statistics (mean, rstd, norm, lse), scores, and all gradients of parameters are float in either
 * type. */
const fci_kernels *fci_kernels_cuda(fc_dtype dtype);

#ifdef __cplusplus
}
#endif

#endif
