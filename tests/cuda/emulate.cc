#include "tests/cuda/emulate.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <ucontext.h>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

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
};

struct fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done;
};

struct block_state {
    std::vector<fiber> fibers;
    std::vector<warp_state> warps;
    gate all;
    std::vector<uint64_t> shared;
    ucontext_t scheduler;
    int current = 0, alive = 0;
    const std::function<void()> *body = nullptr;
};

block_state block;
emulate_direction direction = EMULATE_RISING;
uint64_t progress; /* counts gates passed and fibers ended: no change in a round is a deadlock */

void run_fiber()
{
    (*block.body)();
    fiber &f = block.fibers[(size_t)block.current];
    f.done = true;
    block.alive--;
    progress++;
    swapcontext(&f.context, &block.scheduler);
}

void give_way()
{
    swapcontext(&block.fibers[(size_t)block.current].context, &block.scheduler);
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

void run_block(int threads)
{
    block.alive = threads;
    for (int i = 0; i < threads; i++) {
        fiber &f = block.fibers[(size_t)i];
        f.done = false;
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get();
        f.context.uc_stack.ss_size = STACK_BYTES;
        f.context.uc_link = nullptr;
        makecontext(&f.context, run_fiber, 0);
    }
    while (block.alive > 0) {
        const uint64_t before = progress;
        for (int turn = 0; turn < threads; turn++) {
            const int i = direction == EMULATE_RISING ? turn : threads - 1 - turn;
            if (!block.fibers[(size_t)i].done) {
                block.current = i;
                threadIdx = {(unsigned)i, 0, 0};
                swapcontext(&block.scheduler, &block.fibers[(size_t)i].context);
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
    while (block.fibers.size() < threads.x) {
        block.fibers.emplace_back();
        block.fibers.back().stack.reset(new char[STACK_BYTES]);
    }
    block.shared.resize(shared_bytes / 8 + 1);
    const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t turn = 0; turn < blocks; turn++) {
        const uint64_t b = direction == EMULATE_RISING ? turn : blocks - 1 - turn;
        blockIdx = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y),
                    (unsigned)(b / grid.x / grid.y)};
        std::memset(block.shared.data(), 0xFF, block.shared.size() * 8);
        block.all = gate();
        block.warps.assign((threads.x + LANES - 1) / LANES, warp_state());
        run_block((int)threads.x);
    }
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

void emulate_collect(uint64_t value, uint64_t (&all)[32])
{
    warp_state &w = my_warp();
    uint64_t *slots = w.slot[w.at.generation & 1U];
    slots[block.current % LANES] = value;
    pass(w.at, warp_members());
    std::memcpy(all, slots, sizeof all);
}

static float half_of(uint64_t pair, int which)
{
    return __bfloat162float(fc_bf16{(uint16_t)(pair >> (16 * which))});
}

void emulate_mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    uint64_t top[LANES], bottom[LANES],
        right[LANES]; /* rows g: k low, high; rows g + 8; columns g */
    emulate_collect(a[0] | (uint64_t)a[2] << 32, top);
    emulate_collect(a[1] | (uint64_t)a[3] << 32, bottom);
    emulate_collect(b[0] | (uint64_t)b[1] << 32, right);
    const int lane = emulate_lane(), g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) {
        const uint64_t *rows = i < 2 ? top : bottom;
        float sum = c[i];
        for (int k = 0; k < 16; k++) { /* k = 8 upper + 2 quad + which */
            const int quad = k % 8 / 2, shift = k / 8 * 32;
            sum += half_of(rows[4 * g + quad] >> shift, k % 2) *
                   half_of(right[4 * (2 * t + i % 2) + quad] >> shift, k % 2);
        }
        c[i] = sum;
    }
}
