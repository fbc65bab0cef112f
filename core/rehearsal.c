#include "core/rehearsal.h"

#include "core/fatal.h"
#include "core/kernel.h"

#include <string.h>
#include <sys/mman.h>

#include <stdatomic.h>

#define FC_OP_FORWARD(name)                                                                        \
    static void name##_nothing(const fci_##name##_args *args, fc_arena *scratch)                   \
    {                                                                                              \
        (void)args;                                                                                \
        (void)scratch;                                                                             \
    }
#define FC_OP(name) FC_OP_FORWARD(name)
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD

static const fci_kernels nothing = {
#define FC_OP_FORWARD(name) .name##_fwd = name##_nothing,
#define FC_OP(name) FC_OP_FORWARD(name).name##_bwd = name##_nothing,
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD
};

static const fci_kernels *kernels(fc_dtype dtype)
{
    (void)dtype;
    return &nothing;
}

/* In front of what alloc returns. */
enum { HEAD = 4096 };

static _Atomic int64_t held, peak;

/* Pages nobody writes cost nothing, and those that are read are all the same one of zeros. */
static void *reserve(size_t bytes)
{
    size_t *head = mmap(NULL, HEAD + bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (head == MAP_FAILED) {
        fc_fatal(FC_FAIL(FC_NOMEM,
                         "no address space to predict a step's memory: %zu MiB more are needed "
                         "(ulimit -v?)",
                         bytes >> 20));
    }
    *head = bytes;
    held += (int64_t)bytes;
    peak = held > peak ? held : peak;
    return (char *)head + HEAD;
}

static void release(void *at)
{
    if (at != NULL) {
        size_t *head = (void *)((char *)at - HEAD);
        held -= (int64_t)*head;
        munmap(head, HEAD + *head);
    }
}

static void write_host(void *to, const void *from, size_t bytes)
{
    if (bytes > 0) { /* arrays without values may be NULL */
        memcpy(to, from, bytes);
    }
}

static void write_nothing(void *to, const void *from, size_t bytes)
{
    (void)to;
    (void)from;
    (void)bytes;
}

static void read_zeros(void *to, const void *from, size_t bytes)
{
    (void)from;
    if (bytes > 0) {
        memset(to, 0, bytes);
    }
}

static void fill_nothing(void *to, int byte, size_t bytes)
{
    (void)to;
    (void)byte;
    (void)bytes;
}

static void wait_for_nothing(void)
{
}

static int64_t held_now(void)
{
    return held;
}

static int64_t held_at_most(void)
{
    return peak;
}

static void copy_nothing(int lane, void *to, const void *from, size_t bytes)
{
    (void)lane;
    write_nothing(to, from, bytes);
}

static void follow_nothing(int lane)
{
    (void)lane;
}

static const fc_device_lanes lanes = {
    .alloc = reserve, .free = release, .start = copy_nothing, .follow = follow_nothing};

static const fc_backend rehearsals[] = {
    [false] = {.name = "rehearsal",
               .kernels = kernels,
               .alloc = reserve,
               .free = release,
               .upload = write_nothing,
               .download = read_zeros,
               .copy = write_nothing,
               .fill = fill_nothing,
               .synchronize = wait_for_nothing,
               .held = held_now,
               .peak = held_at_most,
               .lanes = &lanes},
    [true] = {.name = "rehearsal",
              .on_host = true, /* uploads are lists that ops read */
              .kernels = kernels,
              .alloc = reserve,
              .free = release,
              .upload = write_host,
              .download = read_zeros,
              .copy = write_nothing,
              .fill = fill_nothing,
              .synchronize = wait_for_nothing,
              .held = held_now,
              .peak = held_at_most},
};

const fc_backend *fc_rehearsal(bool on_host)
{
    return &rehearsals[on_host];
}
