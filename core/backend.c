/* The CPU as a backend: heap memory, copies, and core/cpu/. */
#include "core/backend.h"

#include "core/kernel.h"
#include "core/memory.h"

#include <string.h>

static void *heap(size_t bytes)
{
    return fc_alloc(bytes, 1);
}

static void release(void *at)
{
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
};

const fc_backend *fc_backend_cpu(void)
{
    return &cpu;
}
