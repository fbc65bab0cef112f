#include "tests/cuda/toolkit/cuda_runtime.h"

#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

struct emulate_stream {
    int id;
};
struct emulate_event {
    std::chrono::steady_clock::time_point at;
    bool recorded;
};

namespace
{

const size_t PAGE = 4096, LARGE_PAGE = (size_t)2 << 20, DEVICE_BYTES = (size_t)8 << 30;

struct range {
    char *at;
    size_t bytes;
    char *mapped; /* with pages around it that are never opened */
    size_t mapped_bytes;
};

std::mutex lock;
std::vector<range> ranges; /* under lock, as all below */
size_t held;
int open_count;
bool strict;                               /* a device was set: kernels get its addresses alone */
bool by_hand;                              /* the clock of events is a test's */
std::chrono::steady_clock::time_point now; /* on it */
int current_device;

void protect(int how)
{
    for (const range &r : ranges) {
        mprotect(r.at, r.bytes, how);
    }
}

/* Memory open while this lives. */
struct opened {
    opened()
    {
        emulate_open_memory();
    }
    ~opened()
    {
        emulate_close_memory();
    }
};

[[noreturn]] void refuse(const char *what, const void *at, size_t bytes)
{
    std::fprintf(stderr, "emulate: %s: %zu bytes at %p are on the wrong side\n", what, bytes, at);
    std::abort();
}

} // namespace

void emulate_open_memory(void)
{
    std::lock_guard<std::mutex> guard(lock);
    if (open_count++ == 0) {
        protect(PROT_READ | PROT_WRITE);
    }
}

void emulate_close_memory(void)
{
    std::lock_guard<std::mutex> guard(lock);
    if (--open_count == 0) {
        protect(PROT_NONE);
    }
}

int emulate_is_device(const void *at, size_t bytes)
{
    std::lock_guard<std::mutex> guard(lock);
    const char *begin = static_cast<const char *>(at);
    for (const range &r : ranges) {
        if (begin < r.at + r.bytes && r.at < begin + bytes) {
            return 1;
        }
    }
    return 0;
}

/* Words that look like addresses of the process. */
void emulate_check_addresses(const void *argument, size_t bytes)
{
    const uint64_t least = (uint64_t)0x5000 << 32, most = (uint64_t)0x8000 << 32;
    for (size_t at = 0; strict && at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
        uint64_t word;
        std::memcpy(&word, static_cast<const char *>(argument) + at, sizeof word);
        const void *address = reinterpret_cast<const void *>((uintptr_t)word);
        if (word >= least && word < most && emulate_is_device(address, 1) == 0) {
            refuse("a kernel's argument", address, 1);
        }
    }
}

cudaError_t cudaGetDeviceCount(int *count)
{
    const char *text = std::getenv("FINECLIP_EMULATED_DEVICES");
    *count = text != nullptr ? std::atoi(text) : 1;
    return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int device)
{
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || device < 0 || device >= count) {
        return cudaErrorInvalidDevice;
    }
    current_device = device;
    strict = true;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device)
{
    *out = cudaDeviceProp();
    std::snprintf(out->name, sizeof out->name, "emulated device %d", device);
    out->uuid.bytes[0] = (char)(1 + device);
    out->major = 9;
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorNotReady:
        return "device not ready";
    default:
        return "invalid argument";
    }
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

/* The end of what was asked for is the end of its pages as far as alignment allows: a step too far
 * crashes. */
cudaError_t cudaMalloc(void **at, size_t bytes)
{
    std::lock_guard<std::mutex> guard(lock);
    /* Large pages are opened and closed at a fraction of the cost. */
    const size_t page = bytes >= LARGE_PAGE / 4 ? LARGE_PAGE : PAGE;
    const size_t room = (bytes + page - 1) / page * page, mapped = room + 3 * page;
    if (room > DEVICE_BYTES || held > DEVICE_BYTES - room) {
        return cudaErrorMemoryAllocation;
    }
    char *base = static_cast<char *>(
        mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (base == MAP_FAILED) {
        return cudaErrorMemoryAllocation;
    }
    char *first = base + page + (page - ((uintptr_t)base % page)) % page;
    madvise(first, room, MADV_HUGEPAGE);
    ranges.push_back({first, room, base, mapped});
    held += room;
    if (open_count > 0) {
        mprotect(first, room, PROT_READ | PROT_WRITE);
    }
    *at = first + (room - bytes) / 256 * 256;
    return cudaSuccess;
}

cudaError_t cudaFree(void *at)
{
    std::lock_guard<std::mutex> guard(lock);
    for (size_t i = 0; i < ranges.size(); i++) {
        if (at >= ranges[i].at && at < ranges[i].at + ranges[i].bytes) {
            munmap(ranges[i].mapped, ranges[i].mapped_bytes);
            held -= ranges[i].bytes;
            ranges[i] = ranges.back();
            ranges.pop_back();
            return cudaSuccess;
        }
    }
    return at == nullptr ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMallocHost(void **at, size_t bytes)
{
    *at = std::malloc(bytes);
    return *at != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *at)
{
    std::free(at);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    std::lock_guard<std::mutex> guard(lock);
    *total = DEVICE_BYTES;
    *left = DEVICE_BYTES - held;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t)
{
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    if ((emulate_is_device(to, bytes) != 0) != to_device) {
        refuse("copying to", to, bytes);
    }
    if ((emulate_is_device(from, bytes) != 0) != from_device) {
        refuse("copying from", from, bytes);
    }
    const char *a = static_cast<const char *>(to), *b = static_cast<const char *>(from);
    if (a < b + bytes && b < a + bytes) {
        refuse("copying onto itself", to, bytes);
    }
    const opened memory;
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int byte, size_t bytes, cudaStream_t)
{
    if (emulate_is_device(to, bytes) == 0) {
        refuse("filling", to, bytes);
    }
    const opened memory;
    std::memset(to, byte, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemset2DAsync(void *to, size_t pitch, int byte, size_t width, size_t height,
                              cudaStream_t)
{
    if (width > pitch) {
        return cudaErrorInvalidValue;
    }
    if (emulate_is_device(to, (height - 1) * pitch + width) == 0) {
        refuse("filling", to, width);
    }
    const opened memory;
    for (size_t i = 0; i < height; i++) {
        std::memset(static_cast<char *>(to) + i * pitch, byte, width);
    }
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    *stream = new emulate_stream();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return stream != nullptr ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    return stream != nullptr && event->recorded ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    *event = new emulate_event();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    return cudaEventCreate(event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    event->at = by_hand ? now : std::chrono::steady_clock::now();
    event->recorded = true;
    return stream != nullptr ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return event->recorded ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return cudaEventQuery(event);
}

void emulate_advance_clock(double milliseconds)
{
    by_hand = true;
    now += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
        std::chrono::duration<double, std::milli>(milliseconds));
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end)
{
    *milliseconds = std::chrono::duration<float, std::milli>(end->at - begin->at).count();
    return cudaSuccess;
}
