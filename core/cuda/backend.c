/* The CUDA device as a backend: everything in the order of the rank's one stream. */
#include "core/cuda/cuda.h"
#include "core/cuda/gemm.h"
#include "core/cuda/lanes.h"
#include "core/cuda/nccl.h"
#include "core/cuda/runtime.h"

#include <math.h>

/* From pageable memory the call returns once the bytes are staged, so that `from` may change.
 * Threads that draw weights come here, too. */
static void upload(void *to, const void *from, size_t bytes)
{
    fci_cuda_use();
    if (bytes > 0) {
        fci_cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, fci_cuda_stream()),
                       "copying to the device");
    }
}

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
    .upload = upload,
    .download = download,
    .copy = copy,
    .fill = fill,
    .synchronize = synchronize,
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
    *out = &cuda;
    return FC_OK;
}

void fc_cuda_close(void)
{
    fci_nccl_stop();
    cuda.collectives = NULL;
    fci_lanes_stop();
    fci_cuda_stop();
}

fc_status fc_cuda_connect(fc_comm *comm)
{
    FC_TRY(fci_nccl_start(comm));
    cuda.collectives = fci_nccl_collectives();
    return FC_OK;
}

double fc_cuda_time_product(fc_dtype type, int64_t side)
{
    enum { TRIES = 5, PRODUCTS = 4 };
    const size_t bytes = (size_t)(side * side) * fc_dtype_bytes(type);
    void *at[3];
    for (int i = 0; i < 3; i++) {
        at[i] = fci_cuda_alloc(bytes);
    }
    /* A pattern of bits that is a number near 1 in both types: zeros would draw less power. */
    fill(at[0], 0x3F, bytes);
    fill(at[1], 0x3F, bytes);
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
