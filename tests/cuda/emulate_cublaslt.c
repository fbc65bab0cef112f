/* Stands in for cuBLASLt where there is no device: the functions that core/cuda/gemm.c opens, by
 * what the library's header and its page on cublasLtMatmul say of them, in plain loops over
 * emulated memory. Whatever they call invalid or unsupported is refused, and `refused` says why. */
#include "tests/cuda/emulate_cublaslt.h"

#include <stdio.h>
#include <string.h>

#include <cublasLt.h>

/* Of the program that opens the library (tests/cuda/emulate_runtime.cc). */
void emulate_open_memory(void);
void emulate_close_memory(void);
int emulate_is_device(const void *at, size_t bytes);
void emulate_advance_clock(double milliseconds);

#define EXPORTED __attribute__((visibility("default")))

EXPORTED extern emulate_lt_state emulate_lt;
emulate_lt_state emulate_lt = {.suggestions = 1, .version = CUBLAS_VERSION};

enum { DESC = 0x4445, LAYOUT = 0x4C41, PREFERENCE = 0x5052, ALGORITHM = 0x414C, HANDLE = 0x4841 };

struct cublasLtContext {
    int magic;
};
static struct cublasLtContext the_handle;

/* What lies in the opaque structs. */
typedef struct desc {
    uint32_t magic, compute, scale, epilogue;
    int32_t transposed[2];
    const void *bias;
} desc;
typedef struct layout {
    uint32_t magic, type;
    uint64_t rows, cols;
    int64_t ld;
} layout;
typedef struct preference {
    uint32_t magic, reductions;
    uint64_t workspace;
    uint32_t alignment[4]; /* a, b, c, d */
} preference;
typedef struct algorithm {
    uint32_t magic;
    int32_t index;
    uint64_t workspace;
    uint32_t alignment[5]; /* a, b, c, d, bias */
    uint16_t type, d_type;
    uint32_t epilogue;
    uint16_t transposed[2];
    uint64_t sum; /* of the bytes before */
} algorithm;

_Static_assert(sizeof(desc) <= sizeof(cublasLtMatmulDescOpaque_t), "desc");
_Static_assert(sizeof(layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "layout");
_Static_assert(sizeof(preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t), "preference");
_Static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "algorithm");

static cublasStatus_t refuse(cublasStatus_t status, const char *why)
{
    snprintf(emulate_lt.refused, sizeof emulate_lt.refused, "%s", why);
    return status;
}

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return refuse(CUBLAS_STATUS_INVALID_VALUE, #condition);                                \
        }                                                                                          \
    } while (0)
#define SUPPORT(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return refuse(CUBLAS_STATUS_NOT_SUPPORTED, #condition);                                \
        }                                                                                          \
    } while (0)
#define PASS(call)                                                                                 \
    do {                                                                                           \
        cublasStatus_t status_ = (call);                                                           \
        if (status_ != CUBLAS_STATUS_SUCCESS) {                                                    \
            return status_;                                                                        \
        }                                                                                          \
    } while (0)

/* ---- Handle and descriptors ---- */

EXPORTED cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    NEED(handle != NULL);
    if (emulate_lt.fail_create) {
        return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "as the test asked for");
    }
    the_handle.magic = HANDLE;
    *handle = &the_handle;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    NEED(handle == &the_handle && handle->magic == HANDLE);
    handle->magic = 0;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORTED size_t cublasLtGetVersion(void)
{
    return emulate_lt.version;
}

EXPORTED const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS           ? "success"
           : status == CUBLAS_STATUS_NOT_SUPPORTED   ? "not supported"
           : status == CUBLAS_STATUS_NOT_INITIALIZED ? "not initialized"
           : status == CUBLAS_STATUS_INVALID_VALUE   ? "invalid value"
                                                     : "failed";
}

EXPORTED cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t to, size_t size,
                                                        cublasComputeType_t compute,
                                                        cudaDataType_t scale)
{
    NEED(to != NULL && size >= sizeof *to);
    memset(to, 0, sizeof *to);
    *(desc *)to = (desc){.magic = DESC,
                         .compute = (uint32_t)compute,
                         .scale = (uint32_t)scale,
                         .epilogue = CUBLASLT_EPILOGUE_DEFAULT,
                         .transposed = {CUBLAS_OP_N, CUBLAS_OP_N}};
    return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t to,
                                                       cublasLtMatmulDescAttributes_t what,
                                                       const void *value, size_t size)
{
    desc *d = (desc *)to;
    NEED(d != NULL && d->magic == DESC && value != NULL);
    switch (what) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
    case CUBLASLT_MATMUL_DESC_TRANSB:
        NEED(size == sizeof(int32_t));
        memcpy(&d->transposed[what == CUBLASLT_MATMUL_DESC_TRANSB], value, size);
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        NEED(size == sizeof d->epilogue);
        memcpy(&d->epilogue, value, size);
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        NEED(size == sizeof d->bias);
        memcpy(&d->bias, value, size);
        return CUBLAS_STATUS_SUCCESS;
    default:
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "an attribute the stand-in does not know");
    }
}

EXPORTED cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t to, size_t size,
                                                          cudaDataType type, uint64_t rows,
                                                          uint64_t cols, int64_t ld)
{
    NEED(to != NULL && size >= sizeof *to);
    memset(to, 0, sizeof *to);
    *(layout *)to = (layout){LAYOUT, (uint32_t)type, rows, cols, ld};
    return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t to,
                                                              size_t size)
{
    NEED(to != NULL && size >= sizeof *to);
    memset(to, 0, sizeof *to);
    *(preference *)to = (preference){.magic = PREFERENCE,
                                     .reductions = CUBLASLT_REDUCTION_SCHEME_MASK,
                                     .alignment = {256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t to, cublasLtMatmulPreferenceAttributes_t what, const void *value,
    size_t size)
{
    preference *p = (preference *)to;
    NEED(p != NULL && p->magic == PREFERENCE && value != NULL);
    void *field = NULL;
    size_t width = sizeof(uint32_t);
    switch (what) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        field = &p->workspace;
        width = sizeof p->workspace;
        break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        field = &p->reductions;
        break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        field = &p->alignment[what - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];
        break;
    default:
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "a preference the stand-in does not know");
    }
    NEED(size == width);
    memcpy(field, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- What may be multiplied ---- */

static size_t width_of(uint32_t type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

static bool has_sums(const desc *d)
{
    return d->epilogue == CUBLASLT_EPILOGUE_BGRADA || d->epilogue == CUBLASLT_EPILOGUE_BGRADB;
}

static bool has_bias_pointer(const desc *d)
{
    return d->epilogue == CUBLASLT_EPILOGUE_BIAS || has_sums(d);
}

static uint32_t alignment_of(const void *at)
{
    const uintptr_t bits = (uintptr_t)at | 16;
    return (uint32_t)(bits & (~bits + 1));
}

typedef struct problem {
    const desc *what;
    const layout *a, *b, *c, *d;
    uint64_t m, n, k;
} problem;

static cublasStatus_t check_layout(const layout *l)
{
    NEED(l != NULL && l->magic == LAYOUT);
    SUPPORT(l->type == CUDA_R_32F || l->type == CUDA_R_16BF);
    NEED(l->rows > 0 && l->cols > 0 && l->ld >= (int64_t)l->rows);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check_epilogue(const problem *p)
{
    const desc *what = p->what;
    SUPPORT(what->epilogue == CUBLASLT_EPILOGUE_DEFAULT || has_bias_pointer(what));
    if (!has_bias_pointer(what)) {
        NEED(what->bias == NULL);
        return CUBLAS_STATUS_SUCCESS;
    }
    NEED(what->bias != NULL && (uintptr_t)what->bias % width_of(p->d->type) == 0);
    SUPPORT(what->epilogue != CUBLASLT_EPILOGUE_BGRADA || what->transposed[0] == CUBLAS_OP_N);
    SUPPORT(what->epilogue != CUBLASLT_EPILOGUE_BGRADB || what->transposed[1] == CUBLAS_OP_T);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t read_problem(problem *p, cublasLtHandle_t handle, cublasLtMatmulDesc_t what,
                                   cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                   cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d)
{
    *p = (problem){(const desc *)what,
                   (const layout *)a,
                   (const layout *)b,
                   (const layout *)c,
                   (const layout *)d,
                   0,
                   0,
                   0};
    NEED(handle != NULL && handle->magic == HANDLE);
    NEED(p->what != NULL && p->what->magic == DESC);
    PASS(check_layout(p->a));
    PASS(check_layout(p->b));
    PASS(check_layout(p->c));
    PASS(check_layout(p->d));
    SUPPORT(p->what->compute == CUBLAS_COMPUTE_32F && p->what->scale == CUDA_R_32F);
    for (int i = 0; i < 2; i++) {
        NEED(p->what->transposed[i] == CUBLAS_OP_N || p->what->transposed[i] == CUBLAS_OP_T);
    }
    const bool a_transposed = p->what->transposed[0] == CUBLAS_OP_T;
    const bool b_transposed = p->what->transposed[1] == CUBLAS_OP_T;
    p->m = a_transposed ? p->a->cols : p->a->rows;
    p->k = a_transposed ? p->a->rows : p->a->cols;
    p->n = b_transposed ? p->b->rows : p->b->cols;
    NEED((b_transposed ? p->b->cols : p->b->rows) == p->k);
    NEED(p->d->rows == p->m && p->d->cols == p->n);
    NEED(p->c->rows == p->m && p->c->cols == p->n);
    /* The table on the library's page: what A, B, C and D may be together. */
    SUPPORT(p->a->type == p->b->type && p->c->type == p->d->type);
    SUPPORT(p->d->type == CUDA_R_32F || p->a->type == p->d->type);
    return check_epilogue(p);
}

/* ---- Algorithms ---- */

static uint64_t sum_of(const algorithm *x)
{
    const unsigned char *bytes = (const unsigned char *)x;
    uint64_t sum = 14695981039346656037ULL;
    for (size_t i = 0; i < offsetof(algorithm, sum); i++) {
        sum = (sum ^ bytes[i]) * 1099511628211ULL;
    }
    return sum;
}

static cublasStatus_t check_algorithm(const problem *p, const algorithm *x)
{
    NEED(x != NULL && x->magic == ALGORITHM && x->sum == sum_of(x));
    NEED(x->index >= 0 && x->index < EMULATE_LT_MOST);
    NEED(x->type == p->a->type && x->d_type == p->d->type && x->epilogue == p->what->epilogue);
    NEED(x->transposed[0] == p->what->transposed[0] && x->transposed[1] == p->what->transposed[1]);
    SUPPORT(alignment_of(p->what->bias) >= x->alignment[4]);
    const int64_t multiple = emulate_lt.depth_multiple[x->index];
    SUPPORT(multiple == 0 || p->k % (uint64_t)multiple == 0);
    return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t handle, cublasLtMatmulDesc_t what, cublasLtMatrixLayout_t a,
    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
    cublasLtMatmulPreference_t wish, int most, cublasLtMatmulHeuristicResult_t found[], int *count)
{
    problem p;
    const preference *w = (const preference *)wish;
    emulate_lt.queries++;
    NEED(most > 0 && found != NULL && count != NULL);
    NEED(w != NULL && w->magic == PREFERENCE);
    *count = 0;
    PASS(read_problem(&p, handle, what, a, b, c, d));
    SUPPORT(!emulate_lt.no_sums || !has_sums(p.what));
    NEED((w->reductions & CUBLASLT_REDUCTION_SCHEME_INPLACE) == 0); /* of this program alone */
    for (int i = 0; i < emulate_lt.suggestions && *count < most; i++) {
        algorithm x = {.magic = ALGORITHM,
                       .index = i,
                       .workspace = emulate_lt.workspace[i],
                       .type = (uint16_t)p.a->type,
                       .d_type = (uint16_t)p.d->type,
                       .epilogue = p.what->epilogue};
        memcpy(x.alignment, w->alignment, sizeof w->alignment);
        x.alignment[4] = has_bias_pointer(p.what) ? alignment_of(p.what->bias) : 1;
        x.transposed[0] = (uint16_t)p.what->transposed[0];
        x.transposed[1] = (uint16_t)p.what->transposed[1];
        x.sum = sum_of(&x);
        if (x.workspace > w->workspace || check_algorithm(&p, &x) != CUBLAS_STATUS_SUCCESS) {
            continue;
        }
        cublasLtMatmulHeuristicResult_t *to = &found[(*count)++];
        memset(to, 0, sizeof *to);
        memcpy(&to->algo, &x, sizeof x);
        to->workspaceSize = x.workspace;
        to->state = CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t what,
                                                cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                const cublasLtMatmulAlgo_t *algo,
                                                cublasLtMatmulHeuristicResult_t *result)
{
    problem p;
    emulate_lt.checks++;
    NEED(result != NULL);
    PASS(read_problem(&p, handle, what, a, b, c, d));
    PASS(check_algorithm(&p, (const algorithm *)algo));
    result->workspaceSize = emulate_lt.workspace[((const algorithm *)algo)->index];
    result->state = CUBLAS_STATUS_SUCCESS;
    result->wavesCount = 1;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- The product ---- */

static double get(const void *base, uint32_t type, uint64_t at)
{
    if (type == CUDA_R_32F) {
        return (double)((const float *)base)[at];
    }
    const uint32_t bits = (uint32_t)((const uint16_t *)base)[at] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

static void put(void *base, uint32_t type, uint64_t at, double value)
{
    const float x = (float)value;
    if (type == CUDA_R_32F) {
        ((float *)base)[at] = x;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x == x) { /* to nearest, ties to even; NaN keeps its upper half */
        bits += 0x7FFF + (bits >> 16 & 1);
    }
    ((uint16_t *)base)[at] = (uint16_t)(bits >> 16);
}

/* Element (row, depth) of op(A), or (depth, col) of op(B) with the two changed places. */
static double operand(const void *base, const layout *l, bool depth_is_column, uint64_t line,
                      uint64_t depth)
{
    return get(base, l->type,
               depth_is_column ? depth * (uint64_t)l->ld + line : line * (uint64_t)l->ld + depth);
}

static void multiply(const problem *p, float alpha, const void *a, const void *b, float beta,
                     const void *c, void *d)
{
    const bool a_along = p->what->transposed[0] == CUBLAS_OP_N;
    const bool b_along = p->what->transposed[1] == CUBLAS_OP_T;
    const uint64_t most = emulate_lt.corner_only ? 4 : UINT64_MAX;
    for (uint64_t j = 0; j < p->n && j < most; j++) {
        for (uint64_t i = 0; i < p->m && i < most; i++) {
            double sum = 0;
            for (uint64_t l = 0; l < p->k; l++) {
                sum += operand(a, p->a, a_along, i, l) * operand(b, p->b, b_along, j, l);
            }
            double y = (double)alpha * sum;
            if (beta != 0) {
                y += (double)beta * get(c, p->c->type, j * (uint64_t)p->c->ld + i);
            }
            if (p->what->epilogue == CUBLASLT_EPILOGUE_BIAS) {
                y += get(p->what->bias, p->d->type, i);
            }
            put(d, p->d->type, j * (uint64_t)p->d->ld + i, y);
        }
    }
}

/* The sums of A's rows or of B's columns over the depth: written, never added. */
static void put_sums(const problem *p, const void *a, const void *b)
{
    const bool of_a = p->what->epilogue == CUBLASLT_EPILOGUE_BGRADA;
    const uint64_t count = of_a ? p->m : p->n, most = emulate_lt.corner_only ? 4 : count;
    for (uint64_t i = 0; i < count && i < most; i++) {
        double sum = 0;
        for (uint64_t l = 0; l < p->k; l++) {
            sum += of_a ? operand(a, p->a, true, i, l) : operand(b, p->b, true, i, l);
        }
        put((void *)(uintptr_t)p->what->bias, p->d->type, i, sum);
    }
}

static size_t bytes_of(const layout *l)
{
    return ((l->cols - 1) * (uint64_t)l->ld + l->rows) * width_of(l->type);
}

static bool in_device(const void *at, size_t bytes)
{
    return emulate_is_device(at, 1) == 1 && emulate_is_device((const char *)at + bytes - 1, 1) == 1;
}

static cublasStatus_t check_memory(const problem *p, const algorithm *x, const void *a,
                                   const void *b, const void *c, bool reads_c, const void *d)
{
    const void *at[] = {a, b, c, d};
    const layout *of[] = {p->a, p->b, p->c, p->d};
    for (int i = 0; i < 4; i++) {
        if (i != 2 || reads_c) {
            NEED(at[i] != NULL && (uintptr_t)at[i] % x->alignment[i] == 0);
            NEED(in_device(at[i], bytes_of(of[i])));
        }
    }
    NEED(!reads_c || c != d || p->c->ld == p->d->ld);
    const char *from = d, *to = from + bytes_of(p->d);
    NEED((const char *)a + bytes_of(p->a) <= from || (const char *)a >= to);
    NEED((const char *)b + bytes_of(p->b) <= from || (const char *)b >= to);
    if (has_bias_pointer(p->what)) {
        const bool by_column = p->what->epilogue == CUBLASLT_EPILOGUE_BGRADB;
        NEED(in_device(p->what->bias, (by_column ? p->n : p->m) * width_of(p->d->type)));
    }
    return CUBLAS_STATUS_SUCCESS;
}

EXPORTED cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t what,
                                       const void *alpha, const void *a,
                                       cublasLtMatrixLayout_t a_layout, const void *b,
                                       cublasLtMatrixLayout_t b_layout, const void *beta,
                                       const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                                       cublasLtMatrixLayout_t d_layout,
                                       const cublasLtMatmulAlgo_t *algo, void *workspace,
                                       size_t workspace_bytes, cudaStream_t stream)
{
    problem p;
    const algorithm *x = (const algorithm *)algo;
    NEED(alpha != NULL && beta != NULL && stream != NULL);
    NEED(emulate_is_device(alpha, 4) == 0 && emulate_is_device(beta, 4) == 0);
    PASS(read_problem(&p, handle, what, a_layout, b_layout, c_layout, d_layout));
    PASS(check_algorithm(&p, x));
    float scale, keep;
    memcpy(&scale, alpha, sizeof scale);
    memcpy(&keep, beta, sizeof keep);
    PASS(check_memory(&p, x, a, b, c, keep != 0, d));
    NEED((uintptr_t)workspace % 256 == 0 && (workspace != NULL || workspace_bytes == 0));
    NEED(workspace_bytes >= emulate_lt.workspace[x->index]);
    NEED(workspace_bytes == 0 || in_device(workspace, workspace_bytes));
    if (emulate_lt.fail_product || emulate_lt.milliseconds[x->index] < 0) {
        return refuse(CUBLAS_STATUS_EXECUTION_FAILED, "as the test asked for");
    }
    emulate_open_memory();
    if (workspace_bytes > 0) { /* whatever lies there is lost */
        memset(workspace, 0xFF, emulate_lt.workspace[x->index]);
    }
    multiply(&p, scale, a, b, keep, c, d);
    if (has_sums(p.what)) {
        put_sums(&p, a, b);
    }
    emulate_close_memory();
    double milliseconds = emulate_lt.milliseconds[x->index];
    milliseconds += has_sums(p.what) ? emulate_lt.sums_milliseconds : 0;
    milliseconds += emulate_lt.used[x->index] == emulate_lt.odd_product
                        ? emulate_lt.odd_milliseconds[x->index]
                        : 0;
    emulate_advance_clock(milliseconds);
    emulate_lt.products++;
    emulate_lt.last = x->index;
    emulate_lt.used[x->index]++;
    return CUBLAS_STATUS_SUCCESS;
}
