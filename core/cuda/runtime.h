/* What every launcher needs of the CUDA runtime. */
#ifndef FC_CORE_CUDA_RUNTIME_H
#define FC_CORE_CUDA_RUNTIME_H

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The stream that kernels of this rank run on. */
cudaStream_t fci_cuda_stream(void);
/** Ends the job with 71 where a call failed: names the call, the device and CUDA's reason. */
void fci_cuda_check(cudaError_t error, const char *what);

#ifdef __cplusplus
}
#endif

#endif
