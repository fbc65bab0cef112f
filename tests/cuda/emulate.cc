#include "tests/cuda/emulate.h"

#include "tests/cuda/toolkit/cuda_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <ucontext.h>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

/* Contexts change several times faster than by swapcontext, which asks the kernel for signal masks;
 * the address sanitizer must see swapcontext. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define FAST_SWITCH 1
/* Keep the stack and what a call must leave as it was; go on with another stack. */
extern "C" void emulate_switch(void **from, void *to);
__asm__(".text\n"
        ".type emulate_switch, @function\n"
        "emulate_switch:\n"
        "pushq %rbp\n"
        "pushq %rbx\n"
        "pushq %r12\n"
        "pushq %r13\n"
        "pushq %r14\n"
        "pushq %r15\n"
        "movq %rsp, (%rdi)\n"
        "movq %rsi, %rsp\n"
        "popq %r15\n"
        "popq %r14\n"
        "popq %r13\n"
        "popq %r12\n"
        "popq %rbx\n"
        "popq %rbp\n"
        "ret\n"
        ".size emulate_switch, .-emulate_switch\n");
#else
#define FAST_SWITCH 0
#endif

namespace
{

enum { LANES = 32, STACK_BYTES = 64 * 1024 };

/* What a fiber waits for: `*arrived` to pass the generation it saw. */
struct gate {
    unsigned generation = 0;
    int arrived = 0;
    int truth = 0, last_truth = 0; /* of __syncthreads_or */
};

struct warp_state {
    gate at;
    uint64_t slot[2][LANES];
    float fragments[2][LANES][12]; /* of emulate_mma: a's eight values, b's four */
};

/* A stack that runs one thread of the block after another, until one has to wait: then another
 * fiber goes on with the rest. So a kernel without barriers needs one, and no switches. */
struct fiber {
    ucontext_t context;
    void *at = nullptr; /* its stack where it left */
    std::unique_ptr<char[]> stack;
    bool waiting = false;
    int thread = 0;
};

struct pending_copy {
    int thread;
    void *to;
    const void *from;
    int bytes;
};

struct block_state {
    std::vector<std::unique_ptr<fiber>> fibers;
    std::vector<warp_state> warps;
    gate all;
    std::vector<uint64_t> shared;
    std::vector<pending_copy> copies;
    ucontext_t scheduler_context;
    void *scheduler = nullptr;
    fiber *running = nullptr;
    int current = 0, next = 0, threads = 0, alive = 0; /* next: threads begun */
    const std::function<void()> *body = nullptr;
};

block_state block;
emulate_direction direction = EMULATE_RISING;
uint64_t progress; /* counts gates passed and threads ended: no change in a round is a deadlock */

void take_turn(int thread)
{
    block.current = thread;
    threadIdx = {(unsigned)thread, 0, 0};
}

#if FAST_SWITCH
void enter(fiber &f)
{
    emulate_switch(&block.scheduler, f.at);
}

void leave(fiber &f)
{
    emulate_switch(&f.at, block.scheduler);
}
#else
void enter(fiber &f)
{
    swapcontext(&block.scheduler_context, &f.context);
}

void leave(fiber &f)
{
    swapcontext(&f.context, &block.scheduler_context);
}
#endif

/* A fiber lives on from block to block. */
void run_fiber()
{
    fiber &f = *block.running;
    for (;;) {
        while (block.next < block.threads) {
            const int turn = block.next++;
            f.thread = direction == EMULATE_RISING ? turn : block.threads - 1 - turn;
            take_turn(f.thread);
            (*block.body)();
            block.alive--;
            progress++;
        }
        f.waiting = false;
        leave(f);
    }
}

void run(fiber &f)
{
    block.running = &f;
    take_turn(f.thread);
    enter(f);
}

void give_way()
{
    fiber &f = *block.running;
    f.waiting = true;
    leave(f);
}

/* Wait until `members` threads have come to the gate. */
void pass(gate &g, int members)
{
    const unsigned seen = g.generation;
    if (++g.arrived == members) {
        g.arrived = 0;
        g.last_truth = g.truth;
        g.truth = 0;
        g.generation++;
        progress++;
        return;
    }
    while (g.generation == seen) {
        give_way();
    }
}

int warp_members()
{
    const int first = block.current / LANES * LANES, size = (int)blockDim.x;
    return size - first < LANES ? size - first : LANES;
}

warp_state &my_warp()
{
    return block.warps[(size_t)(block.current / LANES)];
}

fiber &fiber_at(size_t i)
{
    if (i == block.fibers.size()) {
        block.fibers.emplace_back(new fiber());
        fiber &f = *block.fibers.back();
        f.stack.reset(new char[STACK_BYTES]);
#if FAST_SWITCH
        /* As if it had left: six registers, then where to go on. */
        uintptr_t top = ((uintptr_t)f.stack.get() + STACK_BYTES) / 16 * 16 - 64;
        std::memset(reinterpret_cast<void *>(top), 0, 64);
        reinterpret_cast<void (**)()>(top)[6] = run_fiber;
        f.at = reinterpret_cast<void *>(top);
#else
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get();
        f.context.uc_stack.ss_size = STACK_BYTES;
        f.context.uc_link = nullptr;
        makecontext(&f.context, run_fiber, 0);
#endif
    }
    return *block.fibers[i];
}

void run_block(int threads)
{
    block.threads = block.alive = threads;
    block.next = 0;
    size_t used = 0;
    while (block.next < threads) {
        run(fiber_at(used++));
    }
    /* Fibers began in the order of their threads, so a warp's lie side by side. A warp goes on for
     * as long as it can while the others stand at the barrier that all have come to: what one of
     * them still has to read there must not be overwritten. */
    while (block.alive > 0) {
        const uint64_t before = progress;
        for (size_t i = 0, end; i < used; i = end) {
            const int warp = block.fibers[i]->thread / LANES;
            for (end = i; end < used && block.fibers[end]->thread / LANES == warp;) {
                end++;
            }
            for (uint64_t seen = progress - 1; seen != progress;) {
                seen = progress;
                for (size_t f = i; f < end; f++) {
                    if (block.fibers[f]->waiting) {
                        run(*block.fibers[f]);
                    }
                }
            }
        }
        if (progress == before) {
            std::fprintf(stderr,
                         "emulate: block (%u,%u,%u): %d threads wait for others that never come\n",
                         blockIdx.x, blockIdx.y, blockIdx.z, block.alive);
            std::abort();
        }
    }
}

} // namespace

void emulate_order(emulate_direction order)
{
    direction = order;
}

void emulate_launch(dim3 grid, dim3 threads, size_t shared_bytes, const std::function<void()> &body)
{
    if (threads.y != 1 || threads.z != 1 || threads.x < 1 || threads.x > 1024 ||
        shared_bytes > 227 * 1024 || grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 ||
        grid.z > 65535) {
        std::fprintf(stderr,
                     "emulate: no device launches a grid (%u,%u,%u) of (%u,%u,%u) with %zu bytes\n",
                     grid.x, grid.y, grid.z, threads.x, threads.y, threads.z, shared_bytes);
        std::abort();
    }
    blockDim = threads;
    gridDim = grid;
    block.body = &body;
    block.shared.resize(shared_bytes / 8 + 1);
    emulate_open_memory();
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t turn = 0; turn < blocks; turn++) {
        const uint64_t b = direction == EMULATE_RISING ? turn : blocks - 1 - turn;
        blockIdx = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y),
                    (unsigned)(b / grid.x / grid.y)};
        std::memset(block.shared.data(), 0xFF, block.shared.size() * 8);
        block.all = gate();
        block.warps.assign((threads.x + LANES - 1) / LANES, warp_state());
        run_block((int)threads.x);
        if (!block.copies.empty()) {
            std::fprintf(stderr, "emulate: a block ended before its copies\n");
            std::abort();
        }
    }
    emulate_close_memory();
}

unsigned char *emulate_shared(void)
{
    return reinterpret_cast<unsigned char *>(block.shared.data());
}

void __syncthreads(void)
{
    pass(block.all, (int)blockDim.x);
}

int __syncthreads_or(int predicate)
{
    block.all.truth |= predicate != 0;
    pass(block.all, (int)blockDim.x);
    return block.all.last_truth;
}

void __syncwarp(unsigned)
{
    pass(my_warp().at, warp_members());
}

uint64_t emulate_exchange(uint64_t value, int lane)
{
    warp_state &w = my_warp();
    uint64_t *slots = w.slot[w.at.generation & 1U]; /* a lane ahead writes the other half */
    slots[block.current % LANES] = value;
    pass(w.at, warp_members());
    return slots[lane];
}

void emulate_start_copy(void *to, const void *from, int bytes)
{
    if ((uintptr_t)to % (unsigned)bytes != 0 || (uintptr_t)from % (unsigned)bytes != 0) {
        std::fprintf(stderr, "emulate: a copy of %d bytes from %p to %p is not aligned\n", bytes,
                     from, to);
        std::abort();
    }
    std::memset(to, 0xFF, (size_t)bytes);
    block.copies.push_back({block.current, to, from, bytes});
}

void emulate_wait_for_copies(void)
{
    size_t left = 0;
    for (const pending_copy &c : block.copies) {
        if (c.thread != block.current) {
            block.copies[left++] = c;
        } else if (c.from != nullptr) {
            std::memcpy(c.to, c.from, (size_t)c.bytes);
        } else {
            std::memset(c.to, 0, (size_t)c.bytes);
        }
    }
    block.copies.resize(left);
}

static float half_of(uint32_t pair, int which)
{
    return __bfloat162float(fc_bf16{(uint16_t)(pair >> (16 * which))});
}

void emulate_mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    warp_state &w = my_warp();
    float(*all)[12] = w.fragments[w.at.generation & 1U];
    float *own = all[block.current % LANES];
    for (int i = 0; i < 8; i++) {
        own[i] = half_of(a[i / 2], i % 2);
    }
    for (int i = 0; i < 4; i++) {
        own[8 + i] = half_of(b[i / 2], i % 2);
    }
    pass(w.at, warp_members());
    const int lane = emulate_lane(), g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) {
        const int bottom =
            i / 2; /* a: rows g, then g + 8, of the lower half of k, then the upper */
        float sum = c[i];
        for (int k = 0; k < 16; k++) { /* k = 8 upper + 2 quad + which */
            const int quad = k % 8 / 2, upper = k / 8, which = k % 2;
            sum += all[4 * g + quad][4 * upper + 2 * bottom + which] *
                   all[4 * (2 * t + i % 2) + quad][8 + 2 * upper + which];
        }
        c[i] = sum;
    }
}

void emulate_ldmatrix(uint32_t (&to)[4], const fc_bf16 *row, bool transposed)
{
    if ((uintptr_t)row % 16 != 0) {
        std::fprintf(stderr, "emulate: ldmatrix of a row at %p, which is not aligned\n",
                     static_cast<const void *>(row));
        std::abort();
    }
    warp_state &w = my_warp();
    const uint64_t *rows = w.slot[w.at.generation & 1U];
    emulate_exchange((uint64_t)(uintptr_t)row, 0);
    const int g = emulate_lane() / 4, t2 = emulate_lane() % 4 * 2;
    for (int j = 0; j < 4; j++) {
        const auto value = [&](int r, int c) -> uint32_t {
            return reinterpret_cast<const fc_bf16 *>((uintptr_t)rows[8 * j + r])[c].bits;
        };
        to[j] = transposed ? value(t2, g) | value(t2 + 1, g) << 16
                           : value(g, t2) | value(g, t2 + 1) << 16;
    }
}
