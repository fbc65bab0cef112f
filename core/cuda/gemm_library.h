/* cuBLASLt as products use it, opened at run time. The library counts columns first: a row-major d
 * (m,n) is its (n,m), and d = a b is its d' = b' a', so a and b change places and nothing is
 * copied. */
#ifndef FC_CORE_CUDA_GEMM_LIBRARY_H
#define FC_CORE_CUDA_GEMM_LIBRARY_H

#include "core/cuda/gemm.h"
#include "core/status.h"

#include <cublasLt.h>

enum { FCI_LT_MOST = 8 }; /* algorithms that may be asked for at once */

/* A product as the library sees it. */
typedef struct fci_lt_product {
    const fci_cuda_gemm_args *args;
    cublasLtMatmulDescOpaque_t what;
    cublasLtMatrixLayoutOpaque_t a, b, d; /* a, b: the library's first and second */
} fci_lt_product;

/* What tells products apart beside sizes and addresses. */
typedef struct fci_lt_kind {
    int32_t type, d_type, a_transposed, b_transposed, has_add, has_bias, in_place, sums;
} fci_lt_kind;

FC_NODISCARD fc_status fci_lt_start(void);
void fci_lt_stop(void);
bool fci_lt_is_open(void);
/** What algorithms belong to, beside the device: they mean nothing to another version. */
size_t fci_lt_version(void);

fci_lt_kind fci_lt_kind_of(const fci_cuda_gemm_args *args);
/** All its addresses in one number: as many of the lowest bits are 0 as in the least aligned. */
uintptr_t fci_lt_addresses(const fci_cuda_gemm_args *args);
/** args stay the caller's while the product is used. */
void fci_lt_describe(fci_lt_product *p, const fci_cuda_gemm_args *args);
/** Up to `most` algorithms for addresses of this alignment, the one the library thinks fastest
 * first; returns how many, 0 where it has none. In-place reductions, whose order is not fixed, are
 * not among them. */
int fci_lt_suggest(fci_lt_product *p, int32_t alignment, int most, cublasLtMatmulAlgo_t *found);
/** Whether an algorithm that was suggested for another product, or read from somewhere, does this
 * one within the workspace. */
bool fci_lt_can(fci_lt_product *p, const cublasLtMatmulAlgo_t *algorithm);
/** The product into d: args->d, or in its place memory as large, which then also stands for an
 * `add` that is args->d. On the rank's stream. */
cublasStatus_t fci_lt_multiply(fci_lt_product *p, const cublasLtMatmulAlgo_t *algorithm, void *d);
/** Ends the job where a call failed: names it, the product and the library's reason. */
void fci_lt_check(cublasStatus_t status, const char *what, const fci_cuda_gemm_args *args);

#endif
