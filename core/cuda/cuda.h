/* The CUDA backend as the engine sees it. */
#ifndef FC_CORE_CUDA_CUDA_H
#define FC_CORE_CUDA_CUDA_H

#include "core/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

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
