/* Layer norm and unit length of rows: a block a row, whose values are read once and kept in shared
 * memory; statistics in float. Gains and biases, and their gradients, are float in either type. */
#include "core/cuda/device.cuh"
#include "core/cuda/sum.cuh"

namespace
{

enum { THREADS = 128, WARPS = THREADS / WARP };

template <typename T, int N>
__global__ void __launch_bounds__(THREADS)
    layernorm(const T *__restrict__ x_TD, int64_t cols, float eps, const float *__restrict__ gain,
              const float *__restrict__ bias, T *__restrict__ y_TD, float *mean_T, float *rstd_T)
{
    FC_DYNAMIC_SHARED(shared);
    float *row = reinterpret_cast<float *>(shared), *slots = row + cols;
    const T *x = x_TD + (int64_t)blockIdx.x * cols;
    T *y = y_TD + (int64_t)blockIdx.x * cols;
    float sum = 0;
    for (int64_t j = (int64_t)threadIdx.x * N; j < cols; j += THREADS * N) {
        float v[N];
        load<T, N>(v, x + j);
        for (int i = 0; i < N; i++) {
            row[j + i] = v[i]; /* read back by the same thread alone */
            sum += v[i];
        }
    }
    const float mean = block_sum(sum, slots) / (float)cols;
    float squares = 0;
    for (int64_t j = (int64_t)threadIdx.x * N; j < cols; j += THREADS * N) {
        for (int i = 0; i < N; i++) {
            const float d = row[j + i] - mean;
            squares += d * d;
        }
    }
    const float rstd = 1.0F / sqrtf(block_sum(squares, slots) / (float)cols + eps);
    for (int64_t j = (int64_t)threadIdx.x * N; j < cols; j += THREADS * N) {
        float v[N];
        for (int i = 0; i < N; i++) {
            v[i] = (row[j + i] - mean) * rstd * gain[j + i] + bias[j + i];
        }
        store<T, N>(y + j, v);
    }
    if (threadIdx.x == 0 && mean_T != nullptr) {
        mean_T[blockIdx.x] = mean;
        rstd_T[blockIdx.x] = rstd;
    }
}

/* dx may be dy: a row's dy is read whole before its dx is written. */
template <typename T, int N>
__global__ void __launch_bounds__(THREADS)
    layernorm_dx(const T *x_TD, const T *dy_TD, int64_t cols, const float *__restrict__ gain,
                 const float *__restrict__ mean_T, const float *__restrict__ rstd_T, T *dx_TD,
                 bool add)
{
    FC_DYNAMIC_SHARED(shared);
    float *d_row = reinterpret_cast<float *>(shared), *n_row = d_row + cols, *slots = n_row + cols;
    const int64_t at = (int64_t)blockIdx.x * cols;
    const float mean = mean_T[blockIdx.x], rstd = rstd_T[blockIdx.x];
    float sum = 0, product = 0;
    for (int64_t j = (int64_t)threadIdx.x * N; j < cols; j += THREADS * N) {
        float x[N], dy[N];
        load<T, N>(x, x_TD + at + j);
        load<T, N>(dy, dy_TD + at + j);
        for (int i = 0; i < N; i++) {
            const float normed = (x[i] - mean) * rstd, d = dy[i] * gain[j + i];
            d_row[j + i] = d;
            n_row[j + i] = normed;
            sum += d;
            product += d * normed;
        }
    }
    const float a = block_sum(sum, slots) / (float)cols;
    const float b = block_sum(product, slots) / (float)cols;
    for (int64_t j = (int64_t)threadIdx.x * N; j < cols; j += THREADS * N) {
        float dx[N];
        for (int i = 0; i < N; i++) {
            dx[i] = rstd * (d_row[j + i] - a - n_row[j + i] * b);
        }
        put<T, N>(dx_TD + at + j, add, dx);
    }
}

/* Sums over ROWS_A_PART rows of dy * normed and of dy, each (part, cols). A thread a column. */
template <typename T>
__global__ void layernorm_parts(const T *__restrict__ x_TD, const T *__restrict__ dy_TD,
                                int64_t rows, int64_t cols, const float *__restrict__ mean_T,
                                const float *__restrict__ rstd_T, float *__restrict__ gains,
                                float *__restrict__ biases)
{
    const int64_t j = (int64_t)blockIdx.x * COLUMN_THREADS + threadIdx.x;
    if (j >= cols) {
        return;
    }
    const int64_t begin = (int64_t)blockIdx.y * ROWS_A_PART;
    const int64_t end = begin + ROWS_A_PART < rows ? begin + ROWS_A_PART : rows;
    float gain = 0, bias = 0;
    for (int64_t i = begin; i < end; i++) {
        const float dy = to_float(dy_TD[i * cols + j]);
        gain += dy * (to_float(x_TD[i * cols + j]) - mean_T[i]) * rstd_T[i];
        bias += dy;
    }
    gains[(int64_t)blockIdx.y * cols + j] = gain;
    biases[(int64_t)blockIdx.y * cols + j] = bias;
}

template <typename T> void layernorm_fwd(const fci_layernorm_args &a, fc_arena *)
{
    if (a.rows == 0) {
        return;
    }
    const size_t shared = ((size_t)a.cols + WARPS) * sizeof(float);
    FC_BY_WIDTH(T, widest<T>(a.cols, {a.x, a.y}),
                FC_LAUNCH((layernorm<T, N>), (unsigned)a.rows, THREADS, shared, (const T *)a.x,
                          a.cols, (float)a.eps, (const float *)a.gain, (const float *)a.bias,
                          (T *)a.y, (float *)a.mean, (float *)a.rstd));
}

template <typename T> void layernorm_bwd(const fci_layernorm_args &a, fc_arena *scratch)
{
    const T *x = (const T *)a.x, *dy = (const T *)a.dy;
    const float *mean = (const float *)a.mean, *rstd = (const float *)a.rstd;
    if (a.dgain.at != nullptr || a.dbias.at != nullptr) { /* before dx, which may replace dy */
        const int64_t count = blocks_for(a.rows, ROWS_A_PART);
        float *gains = scratch_array<float>(scratch, count * a.cols);
        float *biases = scratch_array<float>(scratch, count * a.cols);
        if (count > 0) {
            FC_LAUNCH((layernorm_parts<T>),
                      dim3(blocks_for(a.cols, COLUMN_THREADS), (unsigned)count), COLUMN_THREADS, 0,
                      x, dy, a.rows, a.cols, mean, rstd, gains, biases);
        }
        put_sum_of_rows(a.dgain, gains, count, a.cols);
        put_sum_of_rows(a.dbias, biases, count, a.cols);
    }
    if (a.dx.at == nullptr || a.rows == 0) {
        return;
    }
    const size_t shared = (2 * (size_t)a.cols + WARPS) * sizeof(float);
    FC_BY_WIDTH(T, widest<T>(a.cols, {a.x, a.dy, a.dx.at}),
                FC_LAUNCH((layernorm_dx<T, N>), (unsigned)a.rows, THREADS, shared, x, dy, a.cols,
                          (const float *)a.gain, mean, rstd, (T *)a.dx.at, a.dx.add));
}

/* ---- Unit length ---- */

constexpr float SMALLEST = 1e-12F;

template <typename T>
__global__ void __launch_bounds__(THREADS)
    l2norm(const T *__restrict__ x_TD, int64_t cols, T *__restrict__ y_TD, float *norm_T)
{
    __shared__ float slots[WARPS];
    const T *x = x_TD + (int64_t)blockIdx.x * cols;
    float squares = 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        const float v = to_float(x[j]);
        squares += v * v;
    }
    const float norm = fmaxf(sqrtf(block_sum(squares, slots)), SMALLEST);
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        y_TD[(int64_t)blockIdx.x * cols + j] = from_float<T>(to_float(x[j]) / norm);
    }
    if (threadIdx.x == 0 && norm_T != nullptr) {
        norm_T[blockIdx.x] = norm;
    }
}

/* dx = (dy - u <u, dy>) / |x| with u = x / |x| in full precision; below the smallest norm the
 * divisor is a constant. dx may be dy. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    l2norm_dx(const T *x_TD, const T *dy_TD, int64_t cols, const float *__restrict__ norm_T,
              T *dx_TD, bool add)
{
    __shared__ float slots[WARPS];
    const int64_t at = (int64_t)blockIdx.x * cols;
    const float norm = norm_T[blockIdx.x];
    float product = 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        product += to_float(x_TD[at + j]) * to_float(dy_TD[at + j]);
    }
    product = norm > SMALLEST ? block_sum(product, slots) / (norm * norm) : 0;
    for (int64_t j = threadIdx.x; j < cols; j += THREADS) {
        const float d[1] = {(to_float(dy_TD[at + j]) - to_float(x_TD[at + j]) * product) / norm};
        put<T, 1>(dx_TD + at + j, add, d);
    }
}

template <typename T> void l2norm_fwd(const fci_l2norm_args &a, fc_arena *)
{
    if (a.rows > 0) {
        FC_LAUNCH((l2norm<T>), (unsigned)a.rows, THREADS, 0, (const T *)a.x, a.cols, (T *)a.y,
                  (float *)a.norm);
    }
}

template <typename T> void l2norm_bwd(const fci_l2norm_args &a, fc_arena *)
{
    if (a.rows > 0 && a.dx.at != nullptr) {
        FC_LAUNCH((l2norm_dx<T>), (unsigned)a.rows, THREADS, 0, (const T *)a.x, (const T *)a.dy,
                  a.cols, (const float *)a.norm, (T *)a.dx.at, a.dx.add);
    }
}

} // namespace

FC_CUDA_ENTRY(layernorm, fwd)
FC_CUDA_ENTRY(layernorm, bwd)
FC_CUDA_ENTRY(l2norm, fwd)
FC_CUDA_ENTRY(l2norm, bwd)
