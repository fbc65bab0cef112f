/* The CUDA device as a backend: everything in the order of the rank's one stream. */
#include "core/bf16.h"
#include "core/cuda/cuda.h"
#include "core/cuda/gemm.h"
#include "core/cuda/lanes.h"
#include "core/cuda/nccl.h"
#include "core/cuda/runtime.h"
#include "core/cuda/staging.h"
#include "core/rng.h"

#include <math.h>

static void download(void *to, const void *from, size_t bytes)
{
    if (bytes > 0) {
        fci_cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, fci_cuda_stream()),
                       "copying from the device");
        fci_cuda_wait(fci_cuda_stream());
    }
}

static void copy(void *to, const void *from, size_t bytes)
{
    if (bytes > 0) {
        fci_cuda_check(
            cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, fci_cuda_stream()),
            "copying on the device");
    }
}

static void fill(void *to, int byte, size_t bytes)
{
    if (bytes > 0) {
        fci_cuda_check(cudaMemsetAsync(to, byte, bytes, fci_cuda_stream()), "cudaMemsetAsync");
    }
}

static void synchronize(void)
{
    fci_cuda_wait(fci_cuda_stream());
}

static fc_backend cuda = {
    .name = "cuda",
    .kernels = fci_kernels_cuda,
    .alloc = fci_cuda_alloc,
    .free = fci_cuda_free,
    .upload = fci_staging_upload,
    .download = download,
    .copy = copy,
    .fill = fill,
    .synchronize = synchronize,
    .held = fci_cuda_held,
    .peak = fci_cuda_peak,
    .lanes = &fci_lanes,
};

fc_status fc_cuda_open(const fc_backend **out, int index)
{
    *out = NULL;
    fc_status status = fci_cuda_start(index);
    if (status != FC_OK) {
        fci_cuda_stop();
        return status;
    }
    fci_lanes_start();
    fci_staging_start();
    *out = &cuda;
    return FC_OK;
}

void fc_cuda_close(void)
{
    fci_nccl_stop();
    cuda.collectives = NULL;
    fci_lanes_stop();
    fci_staging_stop();
    fci_cuda_stop();
}

fc_status fc_cuda_connect(fc_comm *comm)
{
    FC_TRY(fci_nccl_start(comm));
    cuda.collectives = fci_nccl_collectives();
    return FC_OK;
}

void fc_cuda_tune_products(bool on, const char *folder)
{
    fci_cuda_gemm_tune(on, folder);
}

/* Random values, as training has them: with equal ones fewer bits flip, a device draws less power
 * and runs faster than it ever does. A block of them is repeated. */
static void draw_operand(void *to, fc_dtype type, int64_t side, uint64_t stream)
{
    enum { BLOCK = 1 << 16 };
    static float single[BLOCK];
    static uint16_t half[BLOCK];
    fc_rng rng = fc_rng_stream(0, FC_RNG_BENCH, stream, 0);
    for (int i = 0; i < BLOCK; i++) {
        single[i] = (float)fc_rng_normal(&rng);
        half[i] = fci_bf16_of(single[i]);
    }
    const size_t width = fc_dtype_bytes(type), all = (size_t)(side * side) * width;
    const size_t block = all < BLOCK * width ? all : BLOCK * width;
    fci_staging_upload(to, type == FC_BF16 ? (const void *)half : single, block);
    for (size_t done = block; done < all; done *= 2) {
        copy((char *)to + done, to, all - done < done ? all - done : done);
    }
}

double fc_cuda_time_product(fc_dtype type, int64_t side)
{
    enum { TRIES = 5, PRODUCTS = 4 };
    const size_t bytes = (size_t)(side * side) * fc_dtype_bytes(type);
    void *at[3];
    for (int i = 0; i < 3; i++) {
        at[i] = fci_cuda_alloc(bytes);
    }
    draw_operand(at[0], type, side, 1);
    draw_operand(at[1], type, side, 2);
    const fci_cuda_gemm_args g = {.type = type,
                                  .d_type = type,
                                  .m = side,
                                  .n = side,
                                  .k = side,
                                  .alpha = 1,
                                  .a = at[0],
                                  .lda = side,
                                  .b = at[1],
                                  .ldb = side,
                                  .d = at[2],
                                  .ldd = side};
    cudaEvent_t begin, end;
    fci_cuda_check(cudaEventCreate(&begin), "cudaEventCreate");
    fci_cuda_check(cudaEventCreate(&end), "cudaEventCreate");
    double best = INFINITY;
    for (int i = -1; i < TRIES; i++) { /* the first asks the library for its way */
        float milliseconds;
        fci_cuda_check(cudaEventRecord(begin, fci_cuda_stream()), "cudaEventRecord");
        for (int k = 0; k < PRODUCTS; k++) {
            fci_cuda_gemm(&g);
        }
        fci_cuda_check(cudaEventRecord(end, fci_cuda_stream()), "cudaEventRecord");
        fci_cuda_check(cudaEventSynchronize(end), "cudaEventSynchronize");
        fci_cuda_check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
        best = i >= 0 ? fmin(best, (double)milliseconds / 1e3 / PRODUCTS) : best;
    }
    fci_cuda_check(cudaEventDestroy(begin), "cudaEventDestroy");
    fci_cuda_check(cudaEventDestroy(end), "cudaEventDestroy");
    for (int i = 0; i < 3; i++) {
        fci_cuda_free(at[i]);
    }
    return best;
}
