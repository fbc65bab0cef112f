/* What enters a tower: patches of pictures, class token and positions, token embeddings. The class
 * token and the positions of pictures, and all their gradients, are float in either type; the
 * text tower's tables are of type T, their gradients float. */
#include "core/cuda/device.cuh"
#include "core/cuda/scatter.cuh"

namespace
{

enum { THREADS = 256, ROW_THREADS = 128 };

struct channels {
    float scale[3], shift[3]; /* value = level * scale + shift */
};

/* CLIP's normalisation (METHOD.md section 2): (x / 255 - mean) / deviation. */
channels normalisation()
{
    static const double mean[3] = {0.48145466, 0.4578275, 0.40821073};
    static const double deviation[3] = {0.26862954, 0.26130258, 0.27577711};
    channels n;
    for (int c = 0; c < 3; c++) {
        n.scale[c] = (float)(1.0 / (255.0 * deviation[c]));
        n.shift[c] = (float)(-mean[c] / deviation[c]);
    }
    return n;
}

struct pixel {
    int64_t picture, line, at;
    int channel;
};

/* Where value i of the patches (pictures * grid^2, 3 * patch^2) lies in its picture. */
__device__ __forceinline__ pixel pixel_of(int64_t i, int size, int patch)
{
    const int area = patch * patch, grid = size / patch;
    const int64_t row = i / (3 * area);
    const int column = (int)(i % (3 * area)), inside = column % area;
    const int cell = (int)(row % (grid * grid));
    return {row / (grid * grid), cell / grid * patch + inside / patch,
            cell % grid * patch + inside % patch, column / area};
}

/* A thread a line of one channel of a patch: y is (pictures * grid^2, 3 * patch^2), columns ordered
 * channel, y, x, and so (pictures, lines, patch) as well. `blocks` of threads a picture; three
 * neighbours go over the same line of pixels. */
template <typename T, int N>
__global__ void patchify(const uint8_t *__restrict__ rgb_NSS3, T *__restrict__ y, int lines,
                         unsigned blocks, int size, int patch, channels norm)
{
    const int64_t picture = blockIdx.x / blocks;
    const int i = (int)(blockIdx.x % blocks) * THREADS + (int)threadIdx.x;
    if (i >= lines) {
        return;
    }
    const int c = i % 3, inside = i / 3 % patch, cell = i / (3 * patch);
    const int grid = size / patch, down = cell / grid * patch + inside,
              across = cell % grid * patch;
    const uint8_t *from = rgb_NSS3 + ((picture * size + down) * size + across) * 3 + c;
    T *to = y + (picture * lines + (cell * 3 + c) * patch + inside) * patch;
    for (int j = 0; j < patch; j += N) {
        float v[N];
        for (int k = 0; k < N; k++) {
            v[k] = (float)from[3 * (j + k)] * norm.scale[c] + norm.shift[c];
        }
        store<T, N>(to + j, v);
    }
}

template <typename T>
__global__ void patchify_planes(const T *__restrict__ planes_N3SS, T *__restrict__ y, int64_t count,
                                int size, int patch)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) {
        return;
    }
    const pixel p = pixel_of(i, size, patch);
    y[i] = planes_N3SS[((p.picture * 3 + p.channel) * size + p.line) * size + p.at];
}

template <typename T, int N>
__global__ void tokens(const T *__restrict__ x, const float *__restrict__ cls,
                       const float *__restrict__ pos, T *__restrict__ y, int64_t patches,
                       int64_t cols)
{
    const int64_t length = 1 + patches, picture = blockIdx.x / length, token = blockIdx.x % length;
    const T *from = x + (picture * patches + token - 1) * cols; /* not read at the class token */
    for (int64_t j = (int64_t)threadIdx.x * N; j < cols; j += ROW_THREADS * N) {
        float v[N];
        if (token == 0) {
            load<float, N>(v, cls + j);
        } else {
            load<T, N>(v, from + j);
        }
        for (int i = 0; i < N; i++) {
            v[i] += pos[token * cols + j + i];
        }
        store<T, N>(y + (int64_t)blockIdx.x * cols + j, v);
    }
}

template <typename T>
__global__ void tokens_dx(const T *__restrict__ dy, T *__restrict__ dx, bool add, int64_t count,
                          int64_t patches, int64_t cols)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < count) {
        const int64_t row = i / cols, from = row / patches * (1 + patches) + 1 + row % patches;
        const float d[1] = {to_float(dy[from * cols + i % cols])};
        put<T, 1>(dx + i, add, d);
    }
}

/* A thread a value of pos: the sum over all pictures, in their order. */
template <typename T>
__global__ void tokens_sums(const T *__restrict__ dy, int64_t pictures, int64_t length,
                            int64_t cols, float *dcls, bool add_cls, float *dpos, bool add_pos)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= (dpos != nullptr ? length : 1) * cols) {
        return;
    }
    float sum = 0;
    for (int64_t p = 0; p < pictures; p++) {
        sum += to_float(dy[p * length * cols + i]);
    }
    if (dpos != nullptr) {
        dpos[i] = add_pos ? dpos[i] + sum : sum;
    }
    if (dcls != nullptr && i < cols) {
        dcls[i] = add_cls ? dcls[i] + sum : sum;
    }
}

template <typename T>
__global__ void embed(const int32_t *__restrict__ ids, const int32_t *__restrict__ positions,
                      const T *__restrict__ table, const T *__restrict__ pos, T *__restrict__ y,
                      int64_t cols)
{
    const T *word = table + ids[blockIdx.x] * cols, *place = pos + positions[blockIdx.x] * cols;
    for (int64_t j = threadIdx.x; j < cols; j += ROW_THREADS) {
        y[(int64_t)blockIdx.x * cols + j] = from_float<T>(to_float(word[j]) + to_float(place[j]));
    }
}

template <typename T> void patchify_fwd(const fci_patchify_args &a, fc_arena *)
{
    const int64_t grid = a.size / a.patch, values = grid * grid * 3 * a.patch * a.patch;
    T *y = (T *)a.y;
    for (int group = 0; group < 2; group++) {
        const int64_t count = a.count[group] * values;
        if (count == 0) {
            continue;
        }
        if (a.planes != nullptr) {
            FC_LAUNCH((patchify_planes<T>), blocks_for(count, THREADS), THREADS, 0,
                      (const T *)a.planes, y, count, a.size, a.patch);
        } else {
            const int lines = (int)(values / a.patch);
            const unsigned blocks = blocks_for(lines, THREADS);
            FC_BY_WIDTH(T, widest<T>(a.patch, {y}),
                        FC_LAUNCH((patchify<T, N>), (unsigned)a.count[group] * blocks, THREADS, 0,
                                  a.rgb[group], y, lines, blocks, a.size, a.patch,
                                  normalisation()));
        }
        y += count;
    }
}

template <typename T> void tokens_fwd(const fci_tokens_args &a, fc_arena *)
{
    const int64_t rows = a.pictures * (1 + a.patches);
    if (rows == 0) {
        return;
    }
    /* Packs of T and packs of as many floats: both must be aligned. */
    const int wide = widest<T>(a.cols, {a.x, a.y}), wide32 = widest<float>(a.cols, {a.cls});
    const int width = wide32 == 1 ? 1 : wide32 == 2 && wide > 2 ? 2 : wide;
    FC_BY_WIDTH(T, width,
                FC_LAUNCH((tokens<T, N>), (unsigned)rows, ROW_THREADS, 0, (const T *)a.x,
                          (const float *)a.cls, (const float *)a.pos, (T *)a.y, a.patches, a.cols));
}

template <typename T> void tokens_bwd(const fci_tokens_args &a, fc_arena *)
{
    const T *dy = (const T *)a.dy;
    const int64_t count = a.pictures * a.patches * a.cols, length = 1 + a.patches;
    if (a.dx.at != nullptr && count > 0) {
        FC_LAUNCH((tokens_dx<T>), blocks_for(count, THREADS), THREADS, 0, dy, (T *)a.dx.at,
                  a.dx.add, count, a.patches, a.cols);
    }
    if (a.dcls.at != nullptr || a.dpos.at != nullptr) {
        const int64_t sums = (a.dpos.at != nullptr ? length : 1) * a.cols;
        FC_LAUNCH((tokens_sums<T>), blocks_for(sums, THREADS), THREADS, 0, dy, a.pictures, length,
                  a.cols, (float *)a.dcls.at, a.dcls.add, (float *)a.dpos.at, a.dpos.add);
    }
}

template <typename T> void embed_fwd(const fci_embed_args &a, fc_arena *)
{
    if (a.rows > 0) {
        FC_LAUNCH((embed<T>), (unsigned)a.rows, ROW_THREADS, 0, a.ids, a.positions,
                  (const T *)a.table, (const T *)a.pos, (T *)a.y, a.cols);
    }
}

template <typename T> void embed_bwd(const fci_embed_args &a, fc_arena *)
{
    if (a.dtable.at != nullptr) {
        scatter_rows<T, float>(a.dtable, a.vocabulary, a.ids, (const T *)a.dy, a.rows, a.cols);
    }
    if (a.dpos.at != nullptr) {
        scatter_rows<T, float>(a.dpos, a.context, a.positions, (const T *)a.dy, a.rows, a.cols);
    }
}

} // namespace

FC_CUDA_ENTRY(patchify, fwd)
FC_CUDA_ENTRY(tokens, fwd)
FC_CUDA_ENTRY(tokens, bwd)
FC_CUDA_ENTRY(embed, fwd)
FC_CUDA_ENTRY(embed, bwd)
