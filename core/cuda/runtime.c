#include "core/cuda/runtime.h"

#include "core/cuda/gemm.h"
#include "core/fatal.h"

#include <stdio.h>

#include <dlfcn.h>

/* The rank's device: set once, like the process context of MPI. */
static struct {
    int index;
    cudaStream_t stream;
    struct cudaDeviceProp properties;
    bool started;
} device;

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

fc_status fc_cuda_start(int index)
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

void fc_cuda_stop(void)
{
    if (device.started) {
        fci_cuda_gemm_stop();
        (void)cudaStreamDestroy(device.stream);
        device.started = false;
    }
}

const char *fc_cuda_device_name(void)
{
    return device.properties.name;
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
                         "or data.max_boxes, or set train.recompute: blocks",
                         device.index, device.properties.name, (double)bytes / 1048576,
                         (double)left / 1048576, (double)total / 1048576));
    }
    fci_cuda_check(error, "cudaMalloc");
    fci_cuda_check(cudaMemsetAsync(at, 0, bytes, device.stream), "cudaMemsetAsync");
    return at;
}

void fci_cuda_free(void *at)
{
    fci_cuda_check(cudaFree(at), "cudaFree");
}

void *fci_cuda_symbol(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL); /* counted: opening again is cheap */
    return handle == NULL ? NULL : dlsym(handle, name);
}
