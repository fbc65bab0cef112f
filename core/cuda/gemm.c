/* Matrix products through cuBLASLt. Which algorithm does a shape is settled once and kept: the
 * library's first suggestion, or the one that measuring found. */
#include "core/cuda/gemm.h"

#include "core/cuda/gemm_library.h"
#include "core/cuda/gemm_tune.h"
#include "core/cuda/runtime.h"
#include "core/fatal.h"
#include "core/memory.h"

#include <string.h>

enum { SLOTS = 1024 };

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
    slot *slots;
    int count;
    bool tuned, tune_started;
} gemm;

fc_status fci_cuda_gemm_start(void)
{
    FC_TRY(fci_lt_start());
    gemm.slots = fc_alloc(SLOTS, sizeof *gemm.slots);
    return FC_OK;
}

void fci_cuda_gemm_stop(void)
{
    if (fci_lt_is_open()) {
        fci_gemm_tune_stop();
        fci_lt_stop();
        fc_free(&gemm.slots);
        memset(&gemm, 0, sizeof gemm);
    }
}

static void forget(void)
{
    memset(gemm.slots, 0, SLOTS * sizeof *gemm.slots);
    gemm.count = 0;
}

void fci_cuda_gemm_tune(bool on, const char *folder)
{
    if (on && !gemm.tune_started) {
        fci_gemm_tune_start(folder);
        gemm.tune_started = true;
    }
    if (on != gemm.tuned) {
        gemm.tuned = on;
        forget();
    }
}

/* Largest power of two up to 256 that divides all addresses. */
static int32_t alignment_of(const fci_cuda_gemm_args *g)
{
    uintptr_t bits = (uintptr_t)g->a | (uintptr_t)g->b | (uintptr_t)g->d | (uintptr_t)g->add |
                     (uintptr_t)g->bias | 256;
    return (int32_t)(bits & (~bits + 1));
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

static cublasLtMatmulAlgo_t choose(fci_lt_product *p, int32_t alignment)
{
    cublasLtMatmulAlgo_t found;
    if ((!gemm.tuned || !fci_gemm_tune_find(p, &found)) &&
        fci_lt_suggest(p, alignment, 1, &found) == 0) {
        fci_lt_check(CUBLAS_STATUS_NOT_SUPPORTED, "choice of an algorithm", p->args);
    }
    return found;
}

/* The algorithm for a shape: chosen once. When the table is full it starts anew. */
static const cublasLtMatmulAlgo_t *algorithm(fci_lt_product *p)
{
    const fci_cuda_gemm_args *g = p->args;
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
    if (gemm.count > SLOTS / 2) {
        forget();
    }
    uint64_t at = hash(&key) % SLOTS;
    while (gemm.slots[at].used && memcmp(&gemm.slots[at].key, &key, sizeof key) != 0) {
        at = (at + 1) % SLOTS;
    }
    slot *s = &gemm.slots[at];
    if (!s->used) {
        *s = (slot){.used = true, .key = key, .algorithm = choose(p, key.alignment)};
        gemm.count++;
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
    fci_lt_product p;
    fci_lt_describe(&p, g);
    fci_lt_check(fci_lt_multiply(&p, algorithm(&p), g->d), "product", g);
}
