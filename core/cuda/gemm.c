/* Matrix products through cuBLASLt, opened at run time.
 *
 * The library counts columns first: a row-major d (m,n) is its (n,m), and d = a b is its d' = b'
 * a', so a and b change places and nothing is copied. What it recommends for a shape is asked for
 * once and kept; in-place reductions, whose order is not fixed, are never accepted. */
#include "core/cuda/gemm.h"

#include "core/cuda/runtime.h"
#include "core/fatal.h"
#include "core/memory.h"

#include <string.h>

#include <cublasLt.h>

enum { WORKSPACE_BYTES = 64 << 20, SLOTS = 1024 };

#define FUNCTIONS(X)                                                                               \
    X(cublasLtCreate)                                                                              \
    X(cublasLtDestroy)                                                                             \
    X(cublasLtMatmul)                                                                              \
    X(cublasLtMatmulDescInit_internal)                                                             \
    X(cublasLtMatmulDescSetAttribute)                                                              \
    X(cublasLtMatrixLayoutInit_internal)                                                           \
    X(cublasLtMatmulPreferenceInit_internal)                                                       \
    X(cublasLtMatmulPreferenceSetAttribute)                                                        \
    X(cublasLtMatmulAlgoGetHeuristic)                                                              \
    X(cublasLtGetStatusString)

/* What tells products apart for the choice of an algorithm. */
typedef struct shape {
    int64_t m, n, k, lda, ldb, ldd;
    int32_t type, d_type, a_transposed, b_transposed, has_add, has_bias, in_place, alignment;
} shape;

typedef struct slot {
    bool used;
    shape key;
    cublasLtMatmulAlgo_t algorithm;
} slot;

static struct {
#define FUNCTION(name) __typeof__(&name) name;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    cublasLtHandle_t handle;
    void *workspace;
    slot *slots;
    int count;
} lt;

fc_status fci_cuda_gemm_start(void)
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
    lt.slots = fc_alloc(SLOTS, sizeof *lt.slots);
    return FC_OK;
}

void fci_cuda_gemm_stop(void)
{
    if (lt.handle != NULL) {
        (void)lt.cublasLtDestroy(lt.handle);
        fci_cuda_free(lt.workspace);
        fc_free(&lt.slots);
        memset(&lt, 0, sizeof lt);
    }
}

static void check(cublasStatus_t status, const char *what, const fci_cuda_gemm_args *g)
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

/* Largest power of two up to 256 that divides all addresses. */
static int32_t alignment_of(const fci_cuda_gemm_args *g)
{
    uintptr_t bits = (uintptr_t)g->a | (uintptr_t)g->b | (uintptr_t)g->d | (uintptr_t)g->add |
                     (uintptr_t)g->bias | 256;
    return (int32_t)(bits & (~bits + 1));
}

/* A product as the library sees it. */
typedef struct product {
    cublasLtMatmulDescOpaque_t what;
    cublasLtMatrixLayoutOpaque_t a, b, d; /* a, b: the library's first and second */
} product;

static void describe(product *p, const fci_cuda_gemm_args *g)
{
    check(lt.cublasLtMatmulDescInit_internal(&p->what, sizeof p->what, CUBLAS_COMPUTE_32F,
                                             CUDA_R_32F),
          "product", g);
    cublasOperation_t first = g->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t second = g->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(lt.cublasLtMatmulDescSetAttribute(&p->what, CUBLASLT_MATMUL_DESC_TRANSA, &first,
                                            sizeof first),
          "product", g);
    check(lt.cublasLtMatmulDescSetAttribute(&p->what, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                                            sizeof second),
          "product", g);
    if (g->bias != NULL) {
        cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        check(lt.cublasLtMatmulDescSetAttribute(&p->what, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                                sizeof epilogue),
              "bias", g);
        check(lt.cublasLtMatmulDescSetAttribute(&p->what, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &g->bias, sizeof g->bias),
              "bias", g);
    }
    cudaDataType_t type = type_of(g->type);
    uint64_t m = (uint64_t)g->m, n = (uint64_t)g->n, k = (uint64_t)g->k;
    check(lt.cublasLtMatrixLayoutInit_internal(&p->a, sizeof p->a, type, g->b_transposed ? k : n,
                                               g->b_transposed ? n : k, g->ldb),
          "layout of b", g);
    check(lt.cublasLtMatrixLayoutInit_internal(&p->b, sizeof p->b, type, g->a_transposed ? m : k,
                                               g->a_transposed ? k : m, g->lda),
          "layout of a", g);
    check(
        lt.cublasLtMatrixLayoutInit_internal(&p->d, sizeof p->d, type_of(g->d_type), n, m, g->ldd),
        "layout of d", g);
}

static cublasLtMatmulAlgo_t ask(product *p, const fci_cuda_gemm_args *g, int32_t alignment)
{
    cublasLtMatmulPreferenceOpaque_t wish;
    check(lt.cublasLtMatmulPreferenceInit_internal(&wish, sizeof wish), "choice", g);
    size_t workspace = WORKSPACE_BYTES;
    uint32_t reductions =
        CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
    uint32_t bytes = (uint32_t)alignment;
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
        check(lt.cublasLtMatmulPreferenceSetAttribute(&wish, wishes[i].what, wishes[i].value,
                                                      wishes[i].size),
              "choice", g);
    }
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    check(lt.cublasLtMatmulAlgoGetHeuristic(lt.handle, &p->what, &p->a, &p->b, &p->d, &p->d, &wish,
                                            1, &found, &count),
          "choice of an algorithm", g);
    if (count == 0) {
        check(CUBLAS_STATUS_NOT_SUPPORTED, "choice of an algorithm", g);
    }
    return found.algo;
}

static uint64_t hash(const shape *key)
{
    const unsigned char *bytes = (const unsigned char *)key;
    uint64_t h = 1469598103934665603ULL; /* FNV-1a */
    for (size_t i = 0; i < sizeof *key; i++) {
        h = (h ^ bytes[i]) * 1099511628211ULL;
    }
    return h;
}

/* The algorithm for a shape: asked for once. When the table is full it starts anew. */
static const cublasLtMatmulAlgo_t *algorithm(product *p, const fci_cuda_gemm_args *g)
{
    shape key;
    memset(&key, 0, sizeof key); /* padding takes part in the comparison */
    key = (shape){.m = g->m,
                  .n = g->n,
                  .k = g->k,
                  .lda = g->lda,
                  .ldb = g->ldb,
                  .ldd = g->ldd,
                  .type = g->type,
                  .d_type = g->d_type,
                  .a_transposed = g->a_transposed,
                  .b_transposed = g->b_transposed,
                  .has_add = g->add != NULL,
                  .has_bias = g->bias != NULL,
                  .in_place = g->add == g->d,
                  .alignment = alignment_of(g)};
    if (lt.count > SLOTS / 2) {
        memset(lt.slots, 0, SLOTS * sizeof *lt.slots);
        lt.count = 0;
    }
    uint64_t at = hash(&key) % SLOTS;
    while (lt.slots[at].used && memcmp(&lt.slots[at].key, &key, sizeof key) != 0) {
        at = (at + 1) % SLOTS;
    }
    slot *s = &lt.slots[at];
    if (!s->used) {
        *s = (slot){.used = true, .key = key, .algorithm = ask(p, g, key.alignment)};
        lt.count++;
    }
    return &s->algorithm;
}

/* A product over a depth of 0: what is added, or zeros. */
static void no_product(const fci_cuda_gemm_args *g)
{
    FC_ASSERT(g->bias == NULL && (g->add == NULL || g->add == g->d));
    if (g->add == NULL) {
        size_t width = fc_dtype_bytes(g->d_type);
        fci_cuda_check(cudaMemset2DAsync(g->d, (size_t)g->ldd * width, 0, (size_t)g->n * width,
                                         (size_t)g->m, fci_cuda_stream()),
                       "cudaMemset2DAsync");
    }
}

void fci_cuda_gemm(const fci_cuda_gemm_args *g)
{
    if (g->m == 0 || g->n == 0) {
        return;
    }
    if (g->k == 0) {
        no_product(g);
        return;
    }
    product p;
    describe(&p, g);
    const float beta = g->add != NULL ? 1 : 0;
    check(lt.cublasLtMatmul(lt.handle, &p.what, &g->alpha, g->b, &p.a, g->a, &p.b, &beta,
                            g->add != NULL ? g->add : g->d, &p.d, g->d, &p.d, algorithm(&p, g),
                            lt.workspace, WORKSPACE_BYTES, fci_cuda_stream()),
          "product", g);
}
