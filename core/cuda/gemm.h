/* Matrix products on the device. Row-major, as core/cpu/gemm.h. */
#ifndef FC_CORE_CUDA_GEMM_H
#define FC_CORE_CUDA_GEMM_H

#include "core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/** d (m,n) = alpha op(a) op(b) + add + bias.
 *  a, b   `type`: a is (m,k) or, with a_transposed, stored as (k,m); b is (k,n) or stored as (n,k)
 *  add    (m,n) of d's type, rows ldd apart; may be d itself; NULL: nothing
 *  bias   (n) of d's type; NULL: none
 *  d      of d_type, FC_F32 or `type`; rows ldd apart
 *  a_sums (m) float, with a_transposed, or b_sums (n) float, without b_transposed: where the sums
 *         over k of op(a)'s rows or op(b)'s columns are written, a bias's gradient; NULL: not
 *         wanted. At most one, with d of FC_F32, no bias and alpha 1.
 *  return whether sums that are wanted were written: only tuned runs have them from the library,
 *         as it does not say in which order it adds, and only where that is quicker than adding
 *         them up apart. What the sums' memory holds otherwise is undefined.
 *  Sums are in float. On the rank's stream; failures end the job. The same arguments give the same
 *  bits, in runs that are not tuned also from run to run. */
typedef struct fci_cuda_gemm_args {
    fc_dtype type, d_type;
    bool a_transposed, b_transposed;
    int64_t m, n, k;
    float alpha;
    const void *a, *b;
    int64_t lda, ldb;
    const void *add, *bias;
    void *d;
    int64_t ldd;
    float *a_sums, *b_sums;
} fci_cuda_gemm_args;

bool fci_cuda_gemm(const fci_cuda_gemm_args *args);

/** Open the library (cuBLASLt) and its workspace; FC_RUNTIME: which name was not found. */
FC_NODISCARD fc_status fci_cuda_gemm_start(void);
void fci_cuda_gemm_stop(void);
/** on: time what the library suggests for large products, once a device, and take the fastest, and
 *  let it add up sums; otherwise, and at the start, take its first suggestion.
 *  folder  where the choice is kept, one file a device model and version of the library; the first
 *          one that is given stays; NULL: for this process alone */
void fci_cuda_gemm_tune(bool on, const char *folder);

#ifdef __cplusplus
}
#endif

#endif
