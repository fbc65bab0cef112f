/* Moving rows: gather, concatenation, addition. Where several rows go to one, the block of the
 * first of them adds all of them up in their order: no atomics, the same bits every time. */
#include "core/cuda/device.cuh"
#include "core/cuda/scatter.cuh"

namespace
{

enum { THREADS = 256, ROW_THREADS = 128 };

template <typename T, int N>
__global__ void gather(const T *__restrict__ x, const int64_t *__restrict__ index,
                       T *__restrict__ y, int64_t cols)
{
    const T *from = x + index[blockIdx.x] * cols;
    T *to = y + (int64_t)blockIdx.x * cols;
    for (int64_t j = (int64_t)threadIdx.x * N; j < cols; j += ROW_THREADS * N) {
        *reinterpret_cast<pack<T, N> *>(to + j) = *reinterpret_cast<const pack<T, N> *>(from + j);
    }
}

template <typename T, int N> __global__ void copy_or_add(T *y, bool add, const T *x, int64_t count)
{
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (i < count) {
        float v[N];
        load<T, N>(v, x + i);
        put<T, N>(y + i, add, v);
    }
}

template <typename T> void put_all(fci_out to, const void *x, int64_t count)
{
    if (to.at != nullptr && count > 0) {
        FC_BY_WIDTH(T, widest<T>(count, {to.at, x}),
                    FC_LAUNCH((copy_or_add<T, N>), blocks_for(count, (int64_t)THREADS * N), THREADS,
                              0, (T *)to.at, to.add, (const T *)x, count));
    }
}

template <typename T> void gather_rows_fwd(const fci_gather_rows_args &a, fc_arena *)
{
    if (a.count > 0) {
        FC_BY_WIDTH(T, widest<T>(a.cols, {a.x, a.y}),
                    FC_LAUNCH((gather<T, N>), (unsigned)a.count, ROW_THREADS, 0, (const T *)a.x,
                              a.index, (T *)a.y, a.cols));
    }
}

template <typename T> void gather_rows_bwd(const fci_gather_rows_args &a, fc_arena *)
{
    if (a.dx.at != nullptr) {
        scatter_rows<T, T>(a.dx, a.rows, a.index, (const T *)a.dy, a.count, a.cols);
    }
}

template <typename T> void concat_rows_fwd(const fci_concat_rows_args &a, fc_arena *)
{
    put_all<T>(fci_out{a.y, false}, a.a, a.count_a);
    put_all<T>(fci_out{(T *)a.y + a.count_a, false}, a.b, a.count_b);
}

template <typename T> void concat_rows_bwd(const fci_concat_rows_args &a, fc_arena *)
{
    put_all<T>(a.da, a.dy, a.count_a);
    put_all<T>(a.db, (const T *)a.dy + a.count_a, a.count_b);
}

template <typename T> void add_fwd(const fci_add_args &a, fc_arena *)
{
    put_all<T>(a.y, a.x, a.count);
}

} // namespace

FC_CUDA_ENTRY(gather_rows, fwd)
FC_CUDA_ENTRY(gather_rows, bwd)
FC_CUDA_ENTRY(concat_rows, fwd)
FC_CUDA_ENTRY(concat_rows, bwd)
FC_CUDA_ENTRY(add, fwd)
