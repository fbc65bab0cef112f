/* The number of crops and of packed tokens changes with every step, so sizes are rounded up to a
 * few of them, and whichever product of about a size comes first is measured for all. What is kept
 * is an algorithm, whose order of additions is fixed: with the same file the next run computes the
 * same bits. Without it another algorithm may win, which is why runs that promise the same bits do
 * not come here. Ranks measure by themselves and may differ; what they exchange are gradients,
 * which all of them get the same sum of. */
#include "core/cuda/gemm_tune.h"

#include "core/cuda/cuda.h"
#include "core/cuda/gemm_cache.h"
#include "core/cuda/runtime.h"
#include "core/log.h"
#include "core/median.h"
#include "core/memory.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum { TRIES = 5 };
/* A product of fewer FLOPs takes microseconds. Samples are repeated to about the second number,
 * well above the resolution of events; the first suggestion stays unless another is faster by the
 * third. */
static const double LEAST_FLOPS = 2e9, SAMPLE_FLOPS = 2e10, MARGIN = 0.98;

/* Products that share an algorithm. */
typedef struct bucket {
    int64_t m, n, k; /* rounded up */
    int64_t alignment;
    fci_lt_kind kind;
} bucket;

typedef struct timed {
    cublasLtMatmulAlgo_t algorithm;
    double milliseconds;
} timed;

static struct {
    fci_gemm_cache *known, *hopeless; /* hopeless: there was no memory to measure in */
    char *path;
    bool said;
} tune;

void fci_gemm_tune_start(const char *folder)
{
    const char *device = fc_cuda_device_name();
    char *identity = fc_format("%s, cuBLASLt %zu", device, fci_lt_version());
    if (folder != NULL) {
        char *name = fc_strdup(identity);
        for (char *at = name; *at != '\0'; at++) {
            *at = (char)(isalnum((unsigned char)*at) ? *at : '-');
        }
        tune.path = fc_format("%s/products-%s", folder, name);
        fc_free(&name);
    }
    tune.known = fci_gemm_cache_open(tune.path, identity, sizeof(bucket), sizeof(timed));
    tune.hopeless = fci_gemm_cache_open(NULL, identity, sizeof(bucket), sizeof(char));
    fc_free(&identity);
}

void fci_gemm_tune_stop(void)
{
    fci_gemm_cache_close(&tune.known);
    fci_gemm_cache_close(&tune.hopeless);
    fc_free(&tune.path);
    tune.said = false;
}

/* Up to three significant bits: at most a quarter more. */
static int64_t rounded_up(int64_t x)
{
    int64_t unit = 1;
    while (x > 8 * unit) {
        unit *= 2;
    }
    return (x + unit - 1) / unit * unit;
}

/* Largest power of two up to 16, the widest access of a thread or a copy engine, that divides all
 * addresses and the distances between rows. */
static int32_t alignment_of(const fci_cuda_gemm_args *g)
{
    const int64_t width = (int64_t)fc_dtype_bytes(g->type);
    const uintptr_t bits = fci_lt_addresses(g) | (uintptr_t)(g->lda * width) |
                           (uintptr_t)(g->ldb * width) |
                           (uintptr_t)(g->ldd * (int64_t)fc_dtype_bytes(g->d_type)) | 16;
    return (int32_t)(bits & (~bits + 1));
}

static double flops_of(const fci_cuda_gemm_args *g)
{
    return 2.0 * (double)g->m * (double)g->n * (double)g->k;
}

/* Milliseconds of a product into d; infinite where it does not run. */
static double time_of(fci_lt_product *p, const cublasLtMatmulAlgo_t *algorithm, void *d,
                      cudaEvent_t begin, cudaEvent_t end)
{
    const int products = 1 + (int)(SAMPLE_FLOPS / flops_of(p->args));
    double sample[TRIES];
    for (int i = -1; i < TRIES; i++) { /* the first one warms up */
        float milliseconds;
        fci_cuda_check(cudaEventRecord(begin, fci_cuda_stream()), "cudaEventRecord");
        for (int k = 0; k < products; k++) {
            if (fci_lt_multiply(p, algorithm, d) != CUBLAS_STATUS_SUCCESS) {
                return INFINITY;
            }
        }
        fci_cuda_check(cudaEventRecord(end, fci_cuda_stream()), "cudaEventRecord");
        fci_cuda_check(cudaEventSynchronize(end), "cudaEventSynchronize");
        fci_cuda_check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
        if (i >= 0) {
            sample[i] = (double)milliseconds / products;
        }
    }
    return fc_median(sample, TRIES);
}

static bool pick(fci_lt_product *p, int32_t alignment, void *d, timed *out)
{
    cublasLtMatmulAlgo_t found[FCI_LT_MOST];
    double milliseconds[FCI_LT_MOST];
    const int count = fci_lt_suggest(p, alignment, FCI_LT_MOST, found);
    int best = 0;
    cudaEvent_t begin, end;
    fci_cuda_check(cudaEventCreate(&begin), "cudaEventCreate");
    fci_cuda_check(cudaEventCreate(&end), "cudaEventCreate");
    for (int i = 0; i < count; i++) {
        milliseconds[i] = time_of(p, &found[i], d, begin, end);
        best = milliseconds[i] < milliseconds[best] ? i : best;
    }
    fci_cuda_check(cudaEventDestroy(begin), "cudaEventDestroy");
    fci_cuda_check(cudaEventDestroy(end), "cudaEventDestroy");
    if (count == 0 || !isfinite(milliseconds[best])) {
        return false;
    }
    best = milliseconds[best] < MARGIN * milliseconds[0] ? best : 0;
    memset(out, 0, sizeof *out);
    *out = (timed){.algorithm = found[best], .milliseconds = milliseconds[best]};
    return true;
}

/* Into memory of its own: what a product adds to would grow with every try, and what it writes may
 * be read by another one. */
static bool measure(fci_lt_product *p, int32_t alignment, timed *out)
{
    const fci_cuda_gemm_args *g = p->args;
    const size_t bytes = (size_t)((g->m - 1) * g->ldd + g->n) * fc_dtype_bytes(g->d_type);
    void *d = fci_cuda_borrow(bytes);
    if (d == NULL) {
        return false;
    }
    if (!tune.said) {
        tune.said = true;
        fc_log_info("cuda: timing products, once; kept %s%s", tune.path != NULL ? "in " : "",
                    tune.path != NULL ? tune.path : "for this run alone");
    }
    const bool done = pick(p, alignment, d, out);
    fci_cuda_give_back(d);
    return done;
}

/* What was measured for the like of a product; NULL: nothing, and nothing could be. */
static const timed *measured(fci_lt_product *p)
{
    const fci_cuda_gemm_args *g = p->args;
    bucket key;
    memset(&key, 0, sizeof key); /* padding takes part in the comparison */
    key = (bucket){.m = rounded_up(g->m),
                   .n = rounded_up(g->n),
                   .k = rounded_up(g->k),
                   .alignment = alignment_of(g),
                   .kind = fci_lt_kind_of(g)};
    const timed *t = fci_gemm_cache_find(tune.known, &key);
    if (t == NULL && fci_gemm_cache_find(tune.hopeless, &key) == NULL) {
        timed now;
        if (measure(p, (int32_t)key.alignment, &now)) {
            fci_gemm_cache_put(tune.known, &key, &now);
            t = fci_gemm_cache_find(tune.known, &key);
        } else {
            fci_gemm_cache_put(tune.hopeless, &key, "");
        }
    }
    return t;
}

bool fci_gemm_tune_find(fci_lt_product *p, cublasLtMatmulAlgo_t *out, double *milliseconds)
{
    if (flops_of(p->args) < LEAST_FLOPS) {
        return false;
    }
    const timed *t = measured(p);
    if (t == NULL || !fci_lt_can(p, &t->algorithm)) {
        return false;
    }
    *out = t->algorithm;
    *milliseconds = t->milliseconds;
    return true;
}
