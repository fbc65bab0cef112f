/* The optimiser's arithmetic (Loshchilov & Hutter 2019; METHOD.md section 6), on float masters and
 * moments whatever the type of the tape, and sums of squares: many arrays a launch, since most of a
 * model's some 300 are too small to fill a device. */
#include "core/cuda/device.cuh"
#include "core/cuda/sum.cuh"

namespace
{

enum { THREADS = 256, WARPS = THREADS / WARP };
/* What a launch is told fits into its arguments, 4 KiB; without padding, so that nothing
 * uninitialised goes along. */
enum { MOST_RUNS = 41, RUN_BLOCK = 1 << 12, MOST_ARRAYS = 160, SUM_BLOCK = 1 << 14 };

struct adamw_run {
    float *p, *m, *v;
    const float *g;
    void *working;
    int64_t count;
    float decay, step, root, eps, least, most;
};

struct adamw_runs {
    adamw_run run[MOST_RUNS];
    unsigned first[MOST_RUNS + 1]; /* block of each run, and their number */
    float beta1, beta2, grad_scale;
    int count;
};

struct arrays {
    int count;
    unsigned first[MOST_ARRAYS + 1];
    const float *x[MOST_ARRAYS];
    int64_t length[MOST_ARRAYS];
};

/* Which of the ascending `first` this block belongs to. */
__device__ __forceinline__ int owner(const unsigned *first, int count)
{
    int low = 0, high = count;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        low = blockIdx.x >= first[middle] ? middle : low;
        high = blockIdx.x >= first[middle] ? high : middle;
    }
    return low;
}

template <typename T> __global__ void __launch_bounds__(THREADS) adamw(const adamw_runs all)
{
    const int i = owner(all.first, all.count);
    const adamw_run r = all.run[i];
    const int64_t begin = (int64_t)(blockIdx.x - all.first[i]) * RUN_BLOCK;
    const int64_t end = begin + RUN_BLOCK < r.count ? begin + RUN_BLOCK : r.count;
    for (int64_t at = begin + threadIdx.x; at < end; at += THREADS) {
        const float grad = r.g[at] * all.grad_scale;
        const float m_new = all.beta1 * r.m[at] + (1 - all.beta1) * grad;
        const float v_new = all.beta2 * r.v[at] + (1 - all.beta2) * grad * grad;
        const float x = r.p[at] * r.decay - r.step * m_new / (sqrtf(v_new) * r.root + r.eps);
        const float p_new = x < r.least ? r.least : x > r.most ? r.most : x;
        r.m[at] = m_new;
        r.v[at] = v_new;
        r.p[at] = p_new;
        if (r.working != nullptr) {
            static_cast<T *>(r.working)[at] = from_float<T>(p_new);
        }
    }
}

/* Of gradients, which are float: a sum for each block of values ... */
__global__ void __launch_bounds__(THREADS) squares(const arrays all, double *__restrict__ parts)
{
    __shared__ double sums[WARPS];
    const int i = owner(all.first, all.count);
    const float *x = all.x[i];
    const int64_t begin = (int64_t)(blockIdx.x - all.first[i]) * SUM_BLOCK;
    const int64_t end = begin < all.length[i] - SUM_BLOCK ? begin + SUM_BLOCK : all.length[i];
    double sum = 0;
    for (int64_t at = begin + threadIdx.x; at < end; at += THREADS) {
        sum += (double)x[at] * (double)x[at];
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

/* ... and a block for each array that adds them up. */
__global__ void __launch_bounds__(THREADS)
    sum_parts(const arrays all, const double *__restrict__ parts, double *__restrict__ to)
{
    __shared__ double sums[WARPS];
    double sum = 0;
    for (unsigned at = all.first[blockIdx.x] + threadIdx.x; at < all.first[blockIdx.x + 1];
         at += THREADS) {
        sum += parts[at];
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) {
        to[blockIdx.x] = sum;
    }
}

template <typename T> void adamw_fwd(const fci_adamw_args &a, fc_arena *)
{
    for (int begin = 0; begin < a.runs; begin += MOST_RUNS) {
        adamw_runs all = {};
        all.count = a.runs - begin < MOST_RUNS ? a.runs - begin : MOST_RUNS;
        all.beta1 = (float)a.beta1;
        all.beta2 = (float)a.beta2;
        all.grad_scale = (float)a.grad_scale;
        for (int i = 0; i < all.count; i++) {
            const fci_adamw_run &r = a.run[begin + i];
            all.run[i] = {(float *)r.p,
                          (float *)r.m,
                          (float *)r.v,
                          (const float *)r.grad,
                          r.working,
                          r.count,
                          (float)(1.0 - a.lr * r.weight_decay),
                          (float)(a.lr / r.correction1),
                          (float)(1.0 / sqrt(r.correction2)),
                          (float)a.eps,
                          (float)r.least,
                          (float)r.most};
            all.first[i + 1] = all.first[i] + blocks_for(r.count, RUN_BLOCK);
        }
        FC_LAUNCH((adamw<T>), all.first[all.count], THREADS, 0, all);
    }
}

template <typename T> void square_sum_fwd(const fci_square_sum_args &a, fc_arena *scratch)
{
    for (int begin = 0; begin < a.arrays; begin += MOST_ARRAYS) {
        arrays all = {};
        all.count = a.arrays - begin < MOST_ARRAYS ? a.arrays - begin : MOST_ARRAYS;
        for (int i = 0; i < all.count; i++) {
            const fci_array &one = a.array[begin + i];
            all.x[i] = (const float *)one.x;
            all.length[i] = one.count;
            all.first[i + 1] = all.first[i] + blocks_for(one.count, SUM_BLOCK);
        }
        double *parts = scratch_array<double>(scratch, all.first[all.count]);
        FC_LAUNCH(squares, all.first[all.count], THREADS, 0, all, parts);
        FC_LAUNCH(sum_parts, (unsigned)all.count, THREADS, 0, all, parts, a.sums + begin);
    }
}

} // namespace

FC_CUDA_ENTRY(adamw, fwd)
FC_CUDA_ENTRY(square_sum, fwd)
