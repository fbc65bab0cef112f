#include "core/cuda/gemm_library.h"

#include "core/cuda/runtime.h"
#include "core/fatal.h"

#include <stdio.h>
#include <string.h>

enum { WORKSPACE_BYTES = 64 << 20 };

#define FUNCTIONS(X)                                                                               \
    X(cublasLtCreate)                                                                              \
    X(cublasLtDestroy)                                                                             \
    X(cublasLtGetVersion)                                                                          \
    X(cublasLtMatmul)                                                                              \
    X(cublasLtMatmulDescInit_internal)                                                             \
    X(cublasLtMatmulDescSetAttribute)                                                              \
    X(cublasLtMatrixLayoutInit_internal)                                                           \
    X(cublasLtMatmulPreferenceInit_internal)                                                       \
    X(cublasLtMatmulPreferenceSetAttribute)                                                        \
    X(cublasLtMatmulAlgoGetHeuristic)                                                              \
    X(cublasLtMatmulAlgoCheck)                                                                     \
    X(cublasLtGetStatusString)

static struct {
#define FUNCTION(name) __typeof__(&name) name;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    cublasLtHandle_t handle;
    void *workspace;
} lt;

fc_status fci_lt_start(void)
{
    char library[64];
    snprintf(library, sizeof library, "libcublasLt.so.%d", CUBLAS_VER_MAJOR);
#define FUNCTION(name)                                                                             \
    lt.name = (__typeof__(&name))fci_cuda_symbol(library, #name);                                  \
    if (lt.name == NULL) {                                                                         \
        return FC_FAIL(FC_RUNTIME,                                                                 \
                       "%s with %s was not found: install the CUDA toolkit's cuBLAS, set "         \
                       "LD_LIBRARY_PATH to it, or use device=cpu",                                 \
                       library, #name);                                                            \
    }
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    cublasStatus_t status = lt.cublasLtCreate(&lt.handle);
    if (status != CUBLAS_STATUS_SUCCESS) {
        return FC_FAIL(FC_RUNTIME, "%s does not start: %s", library,
                       lt.cublasLtGetStatusString(status));
    }
    lt.workspace = fci_cuda_alloc(WORKSPACE_BYTES);
    return FC_OK;
}

void fci_lt_stop(void)
{
    (void)lt.cublasLtDestroy(lt.handle);
    fci_cuda_free(lt.workspace);
    memset(&lt, 0, sizeof lt);
}

bool fci_lt_is_open(void)
{
    return lt.handle != NULL;
}

size_t fci_lt_version(void)
{
    return lt.cublasLtGetVersion();
}

void fci_lt_check(cublasStatus_t status, const char *what, const fci_cuda_gemm_args *g)
{
    if (status != CUBLAS_STATUS_SUCCESS) {
        fc_fatal(FC_FAIL(FC_RUNTIME, "%s of (%lld,%lld) by depth %lld: %s", what, (long long)g->m,
                         (long long)g->n, (long long)g->k, lt.cublasLtGetStatusString(status)));
    }
}

static cudaDataType_t type_of(fc_dtype type)
{
    FC_ASSERT(type != FC_F64);
    return type == FC_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static void set(fci_lt_product *p, cublasLtMatmulDescAttributes_t what, const void *value,
                size_t size)
{
    fci_lt_check(lt.cublasLtMatmulDescSetAttribute(&p->what, what, value, size), "product",
                 p->args);
}

fci_lt_kind fci_lt_kind_of(const fci_cuda_gemm_args *g)
{
    return (fci_lt_kind){.type = g->type,
                         .d_type = g->d_type,
                         .a_transposed = g->a_transposed,
                         .b_transposed = g->b_transposed,
                         .has_add = g->add != NULL,
                         .has_bias = g->bias != NULL,
                         .in_place = g->add == g->d,
                         .sums = (g->a_sums != NULL) + 2 * (g->b_sums != NULL)};
}

uintptr_t fci_lt_addresses(const fci_cuda_gemm_args *g)
{
    return (uintptr_t)g->a | (uintptr_t)g->b | (uintptr_t)g->d | (uintptr_t)g->add |
           (uintptr_t)g->bias | (uintptr_t)g->a_sums | (uintptr_t)g->b_sums;
}

void fci_lt_describe(fci_lt_product *p, const fci_cuda_gemm_args *g)
{
    p->args = g;
    fci_lt_check(lt.cublasLtMatmulDescInit_internal(&p->what, sizeof p->what, CUBLAS_COMPUTE_32F,
                                                    CUDA_R_32F),
                 "product", g);
    const cublasOperation_t first = g->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = g->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(p, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
    set(p, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second);
    if (g->bias != NULL) {
        const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        set(p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
        set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &g->bias, sizeof g->bias);
    }
    if (g->a_sums != NULL || g->b_sums != NULL) { /* of the library's second and first */
        const cublasLtEpilogue_t epilogue =
            g->a_sums != NULL ? CUBLASLT_EPILOGUE_BGRADB : CUBLASLT_EPILOGUE_BGRADA;
        float *const sums = g->a_sums != NULL ? g->a_sums : g->b_sums;
        set(p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
        set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &sums, sizeof sums);
    }
    const cudaDataType_t type = type_of(g->type);
    const uint64_t m = (uint64_t)g->m, n = (uint64_t)g->n, k = (uint64_t)g->k;
    fci_lt_check(lt.cublasLtMatrixLayoutInit_internal(&p->a, sizeof p->a, type,
                                                      g->b_transposed ? k : n,
                                                      g->b_transposed ? n : k, g->ldb),
                 "layout of b", g);
    fci_lt_check(lt.cublasLtMatrixLayoutInit_internal(&p->b, sizeof p->b, type,
                                                      g->a_transposed ? m : k,
                                                      g->a_transposed ? k : m, g->lda),
                 "layout of a", g);
    fci_lt_check(
        lt.cublasLtMatrixLayoutInit_internal(&p->d, sizeof p->d, type_of(g->d_type), n, m, g->ldd),
        "layout of d", g);
}

int fci_lt_suggest(fci_lt_product *p, int32_t alignment, int most, cublasLtMatmulAlgo_t *found)
{
    const fci_cuda_gemm_args *g = p->args;
    cublasLtMatmulPreferenceOpaque_t wish;
    fci_lt_check(lt.cublasLtMatmulPreferenceInit_internal(&wish, sizeof wish), "choice", g);
    const size_t workspace = WORKSPACE_BYTES;
    const uint32_t reductions =
        CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
    const uint32_t bytes = (uint32_t)alignment;
    const struct {
        cublasLtMatmulPreferenceAttributes_t what;
        const void *value;
        size_t size;
    } wishes[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
                  {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &bytes, sizeof bytes},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &bytes, sizeof bytes},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &bytes, sizeof bytes},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &bytes, sizeof bytes}};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        fci_lt_check(lt.cublasLtMatmulPreferenceSetAttribute(&wish, wishes[i].what, wishes[i].value,
                                                             wishes[i].size),
                     "choice", g);
    }
    cublasLtMatmulHeuristicResult_t results[FCI_LT_MOST];
    int count = 0;
    FC_ASSERT(most <= FCI_LT_MOST);
    cublasStatus_t status = lt.cublasLtMatmulAlgoGetHeuristic(
        lt.handle, &p->what, &p->a, &p->b, &p->d, &p->d, &wish, most, results, &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) {
        return 0;
    }
    fci_lt_check(status, "choice of an algorithm", g);
    int good = 0;
    for (int i = 0; i < count; i++) {
        if (results[i].state == CUBLAS_STATUS_SUCCESS) {
            found[good++] = results[i].algo;
        }
    }
    return good;
}

bool fci_lt_can(fci_lt_product *p, const cublasLtMatmulAlgo_t *algorithm)
{
    cublasLtMatmulHeuristicResult_t result;
    memset(&result, 0, sizeof result);
    return lt.cublasLtMatmulAlgoCheck(lt.handle, &p->what, &p->a, &p->b, &p->d, &p->d, algorithm,
                                      &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= WORKSPACE_BYTES;
}

cublasStatus_t fci_lt_multiply(fci_lt_product *p, const cublasLtMatmulAlgo_t *algorithm, void *d)
{
    const fci_cuda_gemm_args *g = p->args;
    const float beta = g->add != NULL ? 1 : 0;
    const void *add = g->add == NULL || g->add == g->d ? d : g->add;
    return lt.cublasLtMatmul(lt.handle, &p->what, &g->alpha, g->b, &p->a, g->a, &p->b, &beta, add,
                             &p->d, d, &p->d, algorithm, lt.workspace, WORKSPACE_BYTES,
                             fci_cuda_stream());
}
