/* The optimiser's arithmetic (Loshchilov & Hutter 2019; METHOD.md section 6), on float masters and
 * moments whatever the type of the tape, and sums of squares. */
#include "core/cuda/device.cuh"
#include "core/cuda/sum.cuh"

namespace
{

enum { THREADS = 256, WARPS = THREADS / WARP, VALUES_A_BLOCK = 1 << 14 };

struct adamw_factors {
    float decay, beta1, beta2, grad_scale, step, root, eps;
};

template <typename T>
__global__ void adamw(float *__restrict__ p, float *__restrict__ m, float *__restrict__ v,
                      const float *__restrict__ g, T *__restrict__ working, int64_t count,
                      adamw_factors f)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) {
        return;
    }
    const float grad = g[i] * f.grad_scale;
    const float m_new = f.beta1 * m[i] + (1 - f.beta1) * grad;
    const float v_new = f.beta2 * v[i] + (1 - f.beta2) * grad * grad;
    const float p_new = p[i] * f.decay - f.step * m_new / (sqrtf(v_new) * f.root + f.eps);
    m[i] = m_new;
    v[i] = v_new;
    p[i] = p_new;
    if (working != nullptr) {
        working[i] = from_float<T>(p_new);
    }
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    squares(const T *__restrict__ x, int64_t count, double *__restrict__ parts)
{
    __shared__ double sums[WARPS];
    const int64_t begin = (int64_t)blockIdx.x * VALUES_A_BLOCK;
    const int64_t end = begin + VALUES_A_BLOCK < count ? begin + VALUES_A_BLOCK : count;
    double sum = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += THREADS) {
        sum += (double)to_float(x[i]) * (double)to_float(x[i]);
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

template <typename T> void adamw_fwd(const fci_adamw_args &a, fc_arena *)
{
    if (a.count == 0) {
        return;
    }
    const adamw_factors f = {(float)(1.0 - a.lr * a.weight_decay),
                             (float)a.beta1,
                             (float)a.beta2,
                             (float)a.grad_scale,
                             (float)(a.lr / a.correction1),
                             (float)(1.0 / sqrt(a.correction2)),
                             (float)a.eps};
    FC_LAUNCH((adamw<T>), blocks_for(a.count, THREADS), THREADS, 0, (float *)a.p, (float *)a.m,
              (float *)a.v, (const float *)a.grad, (T *)a.working, a.count, f);
}

/* Of gradients, which are float. */
template <typename T> void square_sum_fwd(const fci_square_sum_args &a, fc_arena *scratch)
{
    const int64_t blocks = blocks_for(a.count, VALUES_A_BLOCK);
    double *parts = scratch_array<double>(scratch, blocks);
    if (blocks > 0) {
        FC_LAUNCH((squares<float>), (unsigned)blocks, THREADS, 0, (const float *)a.x, a.count,
                  parts);
    }
    FC_LAUNCH((sum_all<double>), 1, SUM_THREADS, 0, parts, blocks, a.sum);
}

} // namespace

FC_CUDA_ENTRY(adamw, fwd)
FC_CUDA_ENTRY(square_sum, fwd)
