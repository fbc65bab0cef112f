/* The CUDA runtime as launchers and the backend use it: one device and one stream of work a rank,
 * libraries of the toolkit that are opened when a device is used, so that the program starts on
 * machines that have neither. */
#ifndef FC_CORE_CUDA_RUNTIME_H
#define FC_CORE_CUDA_RUNTIME_H

#include "core/status.h"

#include <stdint.h>

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Take device `index` for this rank: its context, stream and libraries. FC_RUNTIME: names the
 * device and CUDA's reason, or the library that is missing. */
FC_NODISCARD fc_status fci_cuda_start(int index);
void fci_cuda_stop(void);

/** Let the calling thread work on the rank's device: threads begin on the first one. */
void fci_cuda_use(void);
/** The stream that kernels of this rank run on. */
cudaStream_t fci_cuda_stream(void);
/** Ends the job with 71 where a call failed: names the call, the device and CUDA's reason. */
void fci_cuda_check(cudaError_t error, const char *what);
/** Device memory that outlives steps; zeroed. Ends the job with 71 where there is none left, saying
 * how much was asked for and how much is free. */
void *fci_cuda_alloc(size_t bytes);
void fci_cuda_free(void *at); /* NULL is fine */
/** Device memory for a moment that no plan knows of: NULL unless that much and some more is free,
 * so that nobody else goes short. Neither held nor peak count it, which are compared with plans. */
void *fci_cuda_borrow(size_t bytes);
/** Waits for the rank's stream. */
void fci_cuda_give_back(void *at);
/** Bytes taken by fci_cuda_alloc, what libraries take left out; the most at once. */
int64_t fci_cuda_held(void);
int64_t fci_cuda_peak(void);
/** Wait for a stream's work; ends the job with 71 where the wait tells of a failure. */
void fci_cuda_wait(cudaStream_t stream);
/** A function of a shared library, NULL where either is missing; `library` is tried by this name in
 * the loader's places. */
void *fci_cuda_symbol(const char *library, const char *name);

#ifdef __cplusplus
}
#endif

#endif
