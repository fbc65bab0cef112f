/* Which of the library's suggestions is fastest, measured once a device and kept on disk. */
#ifndef FC_CORE_CUDA_GEMM_TUNE_H
#define FC_CORE_CUDA_GEMM_TUNE_H

#include "core/cuda/gemm_library.h"

/** Read what was measured before on a device of this model with this version of the library.
 * folder: where it is kept; NULL: for this process alone. */
void fci_gemm_tune_start(const char *folder);
void fci_gemm_tune_stop(void);
/** The algorithm for a product and the milliseconds that one of about its size took, measured now
 * where no product of about its size was before; false: the product is too small to be worth it,
 * there is no memory to measure in, or what is fastest for its like cannot do it. Results of
 * products are left alone. */
bool fci_gemm_tune_find(fci_lt_product *p, cublasLtMatmulAlgo_t *out, double *milliseconds);

#endif
