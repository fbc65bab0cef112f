/* The CPU as a backend: heap memory, copies, and core/cpu/. */
#include "core/backend.h"

#include "core/kernel.h"
#include "core/memory.h"

#include <string.h>

#include <malloc.h>
#include <stdatomic.h>

static _Atomic int64_t held, peak;

void fci_backend_cpu_count(int64_t bytes)
{
    const int64_t now = atomic_fetch_add(&held, bytes) + bytes;
    int64_t most = peak;
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {
    }
}

static int64_t held_now(void)
{
    return held;
}

static int64_t held_at_most(void)
{
    return peak;
}

static void *heap(size_t bytes)
{
    void *at = fc_alloc(bytes, 1);
    fci_backend_cpu_count((int64_t)malloc_usable_size(at));
    return at;
}

static void release(void *at)
{
    if (at != NULL) {
        fci_backend_cpu_count(-(int64_t)malloc_usable_size(at));
    }
    fc_free(&at);
}

/* Arrays without values may be NULL. */
static void move(void *to, const void *from, size_t bytes)
{
    if (bytes > 0) {
        memmove(to, from, bytes);
    }
}

static void fill(void *to, int byte, size_t bytes)
{
    enum { BLOCK = 1 << 20 };
#pragma omp parallel for schedule(static) if (bytes > BLOCK)
    for (size_t at = 0; at < bytes; at += BLOCK) {
        memset((char *)to + at, byte, bytes - at < BLOCK ? bytes - at : BLOCK);
    }
}

static void nothing(void)
{
}

static const fc_backend cpu = {
    .name = "cpu",
    .on_host = true,
    .kernels = fci_kernels_cpu,
    .alloc = heap,
    .free = release,
    .upload = move,
    .download = move,
    .copy = move,
    .fill = fill,
    .synchronize = nothing,
    .held = held_now,
    .peak = held_at_most,
};

const fc_backend *fc_backend_cpu(void)
{
    return &cpu;
}
