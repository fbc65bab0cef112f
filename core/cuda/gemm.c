/* Matrix products through cuBLASLt. Which algorithm does a shape is settled once and kept: the
 * library's first suggestion, or the one that measuring found. */
#include "core/cuda/gemm.h"

#include "core/cuda/gemm_library.h"
#include "core/cuda/gemm_tune.h"
#include "core/cuda/runtime.h"
#include "core/fatal.h"
#include "core/hash.h"
#include "core/memory.h"

#include <string.h>

enum { SLOTS = 1024 };

/* What tells products apart for the choice of an algorithm. */
typedef struct shape {
    int64_t m, n, k, lda, ldb, ldd, alignment;
    fci_lt_kind kind;
} shape;

typedef struct slot {
    bool used, plain; /* plain: better without the sums that are asked for */
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
    const uintptr_t bits = fci_lt_addresses(g) | 256;
    return (int32_t)(bits & (~bits + 1));
}

static bool wants_sums(const fci_cuda_gemm_args *g)
{
    return g->a_sums != NULL || g->b_sums != NULL;
}

static fci_cuda_gemm_args without_sums(const fci_cuda_gemm_args *g)
{
    fci_cuda_gemm_args plain = *g;
    plain.a_sums = plain.b_sums = NULL;
    return plain;
}

/* Whether a product with sums, of so many milliseconds, takes longer than one without and reading
 * the operand once more at the best rate a device has. */
static bool sums_are_dear(const fci_cuda_gemm_args *g, double milliseconds)
{
    static const double BYTES_A_MILLISECOND = 3e9;
    const fci_cuda_gemm_args plain = without_sums(g);
    cublasLtMatmulAlgo_t its;
    fci_lt_product p;
    double alone;
    const double bytes =
        (double)(g->a_sums != NULL ? g->m : g->n) * (double)g->k * (double)fc_dtype_bytes(g->type);
    fci_lt_describe(&p, &plain);
    return fci_gemm_tune_find(&p, &its, &alone) &&
           milliseconds > alone + bytes / BYTES_A_MILLISECOND;
}

static void choose(slot *s, fci_lt_product *p)
{
    double milliseconds;
    if (gemm.tuned && fci_gemm_tune_find(p, &s->algorithm, &milliseconds)) {
        s->plain = wants_sums(p->args) && sums_are_dear(p->args, milliseconds);
    } else if (fci_lt_suggest(p, (int32_t)s->key.alignment, 1, &s->algorithm) == 0) {
        s->plain = wants_sums(p->args);
        if (!s->plain) {
            fci_lt_check(CUBLAS_STATUS_NOT_SUPPORTED, "choice of an algorithm", p->args);
        }
    }
}

/* The algorithm for a shape: chosen once. When the table is full it starts anew. */
static const slot *slot_of(fci_lt_product *p)
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
                  .alignment = alignment_of(g),
                  .kind = fci_lt_kind_of(g)};
    if (gemm.count > SLOTS / 2) {
        forget();
    }
    uint64_t at = fc_hash_bytes(&key, sizeof key) % SLOTS;
    while (gemm.slots[at].used && memcmp(&gemm.slots[at].key, &key, sizeof key) != 0) {
        at = (at + 1) % SLOTS;
    }
    slot *s = &gemm.slots[at];
    if (!s->used) {
        *s = (slot){.used = true, .key = key};
        choose(s, p);
        gemm.count++;
    }
    return s;
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

bool fci_cuda_gemm(const fci_cuda_gemm_args *args)
{
    const bool wanted = wants_sums(args);
    FC_ASSERT(!wanted || (args->d_type == FC_F32 && args->bias == NULL && args->alpha == 1));
    FC_ASSERT(args->a_sums == NULL || (args->a_transposed && args->b_sums == NULL));
    FC_ASSERT(args->b_sums == NULL || !args->b_transposed);
    const fci_cuda_gemm_args plain = without_sums(args);
    const fci_cuda_gemm_args *g = gemm.tuned ? args : &plain;
    if (g->m == 0 || g->n == 0) {
        return !wanted;
    }
    if (g->k == 0) {
        no_product(g);
        return !wanted;
    }
    fci_lt_product p;
    fci_lt_describe(&p, g);
    const slot *s = slot_of(&p);
    if (s->plain) {
        g = &plain;
        fci_lt_describe(&p, g);
        s = slot_of(&p);
    }
    fci_lt_check(fci_lt_multiply(&p, &s->algorithm, g->d), "product", g);
    return !wanted || wants_sums(g);
}
