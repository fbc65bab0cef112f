#include "core/cuda/runtime.h"

#include "core/cuda/cuda.h"
#include "core/cuda/gemm.h"
#include "core/fatal.h"
#include "core/hash.h"
#include "core/memory.h"

#include <stdio.h>

typedef struct block {
    void *at;
    size_t bytes;
} block;

/* The rank's device: set once, like the process context of MPI. */
static struct {
    int index;
    cudaStream_t stream;
    struct cudaDeviceProp properties;
    bool started;
    block *blocks; /* what is allocated now */
    int block_count;
    size_t held, peak;
} device;

bool fc_cuda_is_built(void)
{
    return true;
}

int fc_cuda_device_count(void)
{
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        (void)cudaGetLastError(); /* no driver, no device: not an error here */
        return 0;
    }
    return count;
}

static fc_status fails(cudaError_t error, const char *what, int index)
{
    (void)cudaGetLastError();
    return FC_FAIL(FC_RUNTIME, "cuda device %d: %s: %s", index, what, cudaGetErrorString(error));
}

fc_status fci_cuda_start(int index)
{
    FC_ASSERT(!device.started);
    device.index = index;
    cudaError_t error = cudaSetDevice(index);
    if (error != cudaSuccess) {
        return fails(error, "cannot be used", index);
    }
    error = cudaGetDeviceProperties(&device.properties, index);
    if (error != cudaSuccess) {
        return fails(error, "does not say what it is", index);
    }
    if (device.properties.major < 8) {
        return FC_FAIL(
            FC_RUNTIME,
            "cuda device %d (%s) has compute capability %d.%d; fineclip needs 8.0 or newer: use "
            "device=cpu",
            index, device.properties.name, device.properties.major, device.properties.minor);
    }
    error = cudaStreamCreateWithFlags(&device.stream, cudaStreamNonBlocking);
    if (error != cudaSuccess) {
        return fails(error, "gives no stream", index);
    }
    device.started = true;
    return fci_cuda_gemm_start();
}

void fci_cuda_stop(void)
{
    if (device.started) {
        fci_cuda_gemm_stop();
        (void)cudaStreamDestroy(device.stream);
        device.started = false;
        fc_free(&device.blocks);
        device.block_count = 0;
    }
}

const char *fc_cuda_device_name(void)
{
    return device.properties.name;
}

uint64_t fc_cuda_device_identity(void)
{
    return fc_hash_bytes(device.properties.uuid.bytes, sizeof device.properties.uuid.bytes);
}

int64_t fci_cuda_held(void)
{
    return (int64_t)device.held;
}

int64_t fci_cuda_peak(void)
{
    return (int64_t)device.peak;
}

void fci_cuda_use(void)
{
    fci_cuda_check(cudaSetDevice(device.index), "cudaSetDevice");
}

cudaStream_t fci_cuda_stream(void)
{
    return device.stream;
}

void fci_cuda_check(cudaError_t error, const char *what)
{
    if (error != cudaSuccess) {
        fc_fatal(fails(error, what, device.index));
    }
}

void *fci_cuda_alloc(size_t bytes)
{
    void *at = NULL;
    cudaError_t error = cudaMalloc(&at, bytes > 0 ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
        size_t left = 0, total = 0;
        (void)cudaGetLastError();
        (void)cudaMemGetInfo(&left, &total);
        fc_fatal(FC_FAIL(FC_RUNTIME,
                         "cuda device %d (%s): no %.1f MiB left, %.1f of %.1f MiB are free: lower "
                         "train.batch_size "
                         "or data.max_boxes, or set train.memory_budget",
                         device.index, device.properties.name, (double)bytes / 1048576,
                         (double)left / 1048576, (double)total / 1048576));
    }
    fci_cuda_check(error, "cudaMalloc");
    fci_cuda_check(cudaMemsetAsync(at, 0, bytes, device.stream), "cudaMemsetAsync");
    device.blocks =
        fc_realloc(device.blocks, (size_t)device.block_count + 1, sizeof *device.blocks);
    device.blocks[device.block_count++] = (block){at, bytes};
    device.held += bytes;
    device.peak = device.held > device.peak ? device.held : device.peak;
    return at;
}

void fci_cuda_free(void *at)
{
    for (int i = 0; i < device.block_count; i++) {
        if (device.blocks[i].at == at) {
            device.held -= device.blocks[i].bytes;
            device.blocks[i] = device.blocks[--device.block_count];
            fci_cuda_check(cudaFree(at), "cudaFree");
            return;
        }
    }
    FC_ASSERT(at == NULL);
}

/* What others may still ask for: NCCL for its buffers, the driver for kernels on their first call.
 */
static const size_t LEFT_FOR_OTHERS = (size_t)512 << 20;

void *fci_cuda_borrow(size_t bytes)
{
    void *at = NULL;
    size_t left = 0, total = 0;
    fci_cuda_check(cudaMemGetInfo(&left, &total), "cudaMemGetInfo");
    if (left < LEFT_FOR_OTHERS || bytes > left - LEFT_FOR_OTHERS) {
        return NULL;
    }
    if (cudaMalloc(&at, bytes) != cudaSuccess) { /* free, but not in one piece */
        (void)cudaGetLastError();
        return NULL;
    }
    fci_cuda_check(cudaMemsetAsync(at, 0, bytes, device.stream), "cudaMemsetAsync");
    return at;
}

void fci_cuda_give_back(void *at)
{
    fci_cuda_wait(device.stream);
    fci_cuda_check(cudaFree(at), "cudaFree");
}

void fci_cuda_wait(cudaStream_t stream)
{
    fci_cuda_check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}
