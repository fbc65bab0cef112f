/* Copies to the device from pinned memory on a stream of their own (core/backend.h). */
#include "core/cuda/lanes.h"

#include "core/cuda/runtime.h"

static struct {
    cudaStream_t stream;
    cudaEvent_t done[FC_LANES];
    bool recorded[FC_LANES];
} lanes;

void fci_lanes_start(void)
{
    fci_cuda_check(cudaStreamCreateWithFlags(&lanes.stream, cudaStreamNonBlocking),
                   "cudaStreamCreate");
    for (int i = 0; i < FC_LANES; i++) {
        fci_cuda_check(cudaEventCreateWithFlags(&lanes.done[i], cudaEventDisableTiming),
                       "cudaEventCreate");
        lanes.recorded[i] = false;
    }
}

void fci_lanes_stop(void)
{
    for (int i = 0; lanes.stream != NULL && i < FC_LANES; i++) {
        (void)cudaEventDestroy(lanes.done[i]);
    }
    if (lanes.stream != NULL) {
        (void)cudaStreamDestroy(lanes.stream);
        lanes.stream = NULL;
    }
}

static void *alloc(size_t bytes)
{
    void *at = NULL;
    fci_cuda_check(cudaMallocHost(&at, bytes > 0 ? bytes : 1), "pinned memory for batches");
    return at;
}

static void release(void *at)
{
    if (at != NULL) {
        fci_cuda_check(cudaFreeHost(at), "cudaFreeHost");
    }
}

static void start(int lane, void *to, const void *from, size_t bytes)
{
    fci_cuda_use();
    if (bytes > 0) {
        fci_cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, lanes.stream),
                       "copying a batch");
    }
    fci_cuda_check(cudaEventRecord(lanes.done[lane], lanes.stream), "cudaEventRecord");
    lanes.recorded[lane] = true;
}

static void follow(int lane)
{
    if (lanes.recorded[lane]) {
        fci_cuda_check(cudaStreamWaitEvent(fci_cuda_stream(), lanes.done[lane], 0),
                       "cudaStreamWaitEvent");
    }
}

const fc_device_lanes fci_lanes = {
    .alloc = alloc,
    .free = release,
    .start = start,
    .follow = follow,
};
