#include "core/arena.h"

#include "core/fatal.h"
#include "core/memory.h"

#include <stdint.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64 };
static const size_t MIN_CHUNK = (size_t)32 << 20;

typedef struct chunk {
    char *base;
    size_t bytes, used;
} chunk;

struct fc_arena {
    const fc_backend *backend;
    chunk *chunks;
    int count, current;
    size_t in_use_before; /* bytes used in chunks before the current one */
    size_t peak;
};

fc_arena *fc_arena_create_on(const fc_backend *backend)
{
    fc_arena *a = fc_alloc(1, sizeof *a);
    a->backend = backend;
    return a;
}

fc_arena *fc_arena_create(void)
{
    return fc_arena_create_on(fc_backend_cpu());
}

size_t fc_arena_room(size_t bytes)
{
    const size_t page = (size_t)2 << 20;
    bytes = bytes > MIN_CHUNK ? bytes : MIN_CHUNK;
    return (bytes + page - 1) / page * page;
}

static bool is_cpu(const fc_arena *a)
{
    return a->backend == fc_backend_cpu();
}

static chunk map_chunk(const fc_arena *a, size_t bytes)
{
    bytes = fc_arena_room(bytes);
    if (!is_cpu(a)) {
        return (chunk){.base = a->backend->alloc(bytes), .bytes = bytes};
    }
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        fc_fatal(FC_FAIL(FC_NOMEM,
                         "no memory for a step: %zu MiB more are needed; use a smaller "
                         "train.batch_size, train.accumulate or train.memory_budget",
                         bytes >> 20));
    }
    /* Large pages save most of the cost of touching step memory; where there are none this does
     * nothing. */
    (void)madvise(base, bytes, MADV_HUGEPAGE);
    fci_backend_cpu_count((int64_t)bytes);
    return (chunk){.base = base, .bytes = bytes};
}

/* Give back chunks [first, count). */
static void unmap_from(fc_arena *a, int first)
{
    for (int i = first; i < a->count; i++) {
        if (is_cpu(a)) {
            munmap(a->chunks[i].base, a->chunks[i].bytes);
            fci_backend_cpu_count(-(int64_t)a->chunks[i].bytes);
        } else {
            a->backend->free(a->chunks[i].base);
        }
    }
    a->count = first;
}

void fc_arena_destroy(fc_arena **a)
{
    if (*a != NULL) {
        unmap_from(*a, 0);
        fc_free(&(*a)->chunks);
        fc_free(a);
    }
}

static void next_chunk(fc_arena *a, size_t bytes)
{
    if (a->count > 0) {
        a->in_use_before += a->chunks[a->current].used;
        a->current++;
    }
    if (a->current < a->count && a->chunks[a->current].bytes < bytes) {
        /* The chunks above the current one are empty: make room for a larger one. */
        unmap_from(a, a->current);
    }
    if (a->current == a->count) {
        a->chunks = fc_realloc(a->chunks, (size_t)a->count + 1, sizeof *a->chunks);
        a->chunks[a->count++] = map_chunk(a, bytes);
    }
    a->chunks[a->current].used = 0;
}

void *fc_arena_alloc(fc_arena *a, size_t bytes)
{
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes == 0) {
        bytes = ALIGNMENT;
    }
    if (a->count == 0 || a->chunks[a->current].bytes - a->chunks[a->current].used < bytes) {
        next_chunk(a, bytes);
    }
    chunk *c = &a->chunks[a->current];
    void *p = c->base + c->used;
    c->used += bytes;
    if (a->in_use_before + c->used > a->peak) {
        a->peak = a->in_use_before + c->used;
    }
    return p;
}

fc_arena_mark fc_arena_save(const fc_arena *a)
{
    return (fc_arena_mark){.chunk = a->current,
                           .used = a->count > 0 ? a->chunks[a->current].used : 0};
}

void fc_arena_rewind(fc_arena *a, fc_arena_mark mark)
{
    if (a->count == 0) {
        return;
    }
    FC_ASSERT(mark.chunk <= a->current);
    while (a->current > mark.chunk) {
        a->chunks[a->current].used = 0;
        a->current--;
        a->in_use_before -= a->chunks[a->current].used;
    }
    FC_ASSERT(mark.used <= a->chunks[a->current].used);
    a->chunks[a->current].used = mark.used;
}

static void begin_anew(fc_arena *a)
{
    a->current = 0;
    a->in_use_before = 0;
    for (int i = 0; i < a->count; i++) {
        a->chunks[i].used = 0;
    }
}

void fc_arena_reset(fc_arena *a)
{
#ifndef NDEBUG
    for (int i = 0; i < a->count; i++) {
        a->backend->fill(a->chunks[i].base, 0xFF,
                         a->chunks[i].used); /* all ones is a NaN in every real type */
    }
#endif
    begin_anew(a);
    if (a->count > 1) {
        fc_arena_reserve(a, a->peak);
    }
}

void fc_arena_reserve(fc_arena *a, size_t bytes)
{
    if (bytes == 0 || (a->count == 1 && a->chunks[0].bytes >= bytes)) {
        return;
    }
    fc_arena_release(a);
    a->chunks = fc_realloc(a->chunks, 1, sizeof *a->chunks);
    a->chunks[a->count++] = map_chunk(a, bytes);
}

void fc_arena_release(fc_arena *a)
{
    unmap_from(a, 0);
    begin_anew(a);
}

size_t fc_arena_peak(const fc_arena *a)
{
    return a->peak;
}
