/* Every kernel of the device but attention against the CPU's in double: odd sizes, widths that
 * allow wide accesses and such that do not, gradients written and added to. */
#include "tests/cuda/parity.h"

#include <cmath>

extern "C" {
#include "core/rng.h"
#include "tests/check.h"
}

static std::string sizes(const char *name, std::initializer_list<int64_t> of)
{
    std::string s = name;
    for (int64_t n : of) {
        s += " " + std::to_string(n);
    }
    return s;
}

static void linear(fc_dtype type, int64_t rows, int64_t inner, int64_t outer, bool inner_major,
                   bool extras, bool add)
{
    parity_case c(sizes("linear", {rows, inner, outer, inner_major, extras, add}), type);
    const both x = c.in(rows * inner), w = c.in(inner * outer, 0.3), b = c.in(outer),
               r = c.in(rows * outer);
    const both y = c.out(rows * outer), dy = c.in(rows * outer);
    const both dx = c.out(rows * inner), dw = c.out_float(inner * outer), db = c.out_float(outer);
    const auto args = [&](int s) {
        fci_linear_args a = {};
        a.rows = rows;
        a.inner = inner;
        a.outer = outer;
        a.inner_major = inner_major;
        a.x = x[s];
        a.w = w[s];
        a.bias = extras ? b[s] : nullptr;
        a.residual = extras ? r[s] : nullptr;
        a.y = y[s];
        a.dy = dy[s];
        a.dx = {dx[s], add};
        a.dw = {dw[s], add};
        a.dbias = {extras ? db[s] : nullptr, add};
        return a;
    };
    c.check<fci_linear_args>("forward", args, c.cpu()->linear_fwd, c.device()->linear_fwd);
    c.check<fci_linear_args>("back", args, c.cpu()->linear_bwd, c.device()->linear_bwd);
}

/* Biases' gradients: own sums, by all widths of access, and out of products where these are tuned.
 */
static void linear_biases(fc_dtype type, bool add)
{
    for (bool tuned : {false, true}) {
        fc_cuda_tune_products(tuned, nullptr);
        linear(type, 37, 24, 19, false, true, add);
        linear(type, 9, 4, 18, true, true, add);
        linear(type, 300, 4, 264, true, true, add);
        linear(type, 270, 2, 40, false, true, add);
        linear(type, 0, 8, 16, false, true, add);
    }
    fc_cuda_tune_products(false, nullptr);
}

/* A norm of rows of x, or with glu of what SwiGLU makes of rows twice as long, and what of the way
 * back is wanted; VIEWS: all of it, of arrays that begin one value after what is aligned. */
enum wanted { ALL, IN_PLACE, FROZEN, GAIN_ALONE, VIEWS };

static void norm(bool glu, fc_dtype type, int64_t rows, int64_t cols, bool add, wanted what)
{
    parity_case c(sizes(glu ? "swiglu norm" : "layernorm", {rows, cols, add, what}), type);
    const int64_t count = rows * cols * (glu ? 2 : 1);
    const both x = glu ? c.in(count + 1) : c.in(count + 1, 2, 5);
    const both gain = c.in_float(cols + 1, 0.3, 1), bias = c.in_float(cols + 1);
    const both y = c.out(rows * cols), mean = c.out_float(rows), rstd = c.out_float(rows);
    const both dgain = c.out_float(cols), dbias = c.out_float(cols), dx = c.out(count);
    const both dy = what == IN_PLACE ? dx : c.in(rows * cols);
    const auto view = [&](const both &of, int s, fc_dtype on_device) {
        const size_t value = fc_dtype_bytes(s == CPU ? FC_F64 : on_device);
        return static_cast<const char *>(of[s]) + (what == VIEWS ? value : 0);
    };
    const auto args = [&](int s) {
        fci_layernorm_args a = {};
        a.rows = rows;
        a.cols = cols;
        a.eps = 1e-5;
        a.x = view(x, s, type);
        a.gain = view(gain, s, FC_F32);
        a.bias = view(bias, s, FC_F32);
        a.y = y[s];
        a.mean = mean[s];
        a.rstd = rstd[s];
        a.dy = dy[s];
        a.dx = {what == GAIN_ALONE ? nullptr : dx[s], add};
        a.dgain = {what == FROZEN ? nullptr : dgain[s], add};
        a.dbias = {what == FROZEN || what == GAIN_ALONE ? nullptr : dbias[s], add};
        return a;
    };
    const fci_kernels *cpu = c.cpu(), *device = c.device();
    c.check<fci_layernorm_args>("forward", args, glu ? cpu->swiglu_norm_fwd : cpu->layernorm_fwd,
                                glu ? device->swiglu_norm_fwd : device->layernorm_fwd);
    c.check<fci_layernorm_args>("back", args, glu ? cpu->swiglu_norm_bwd : cpu->layernorm_bwd,
                                glu ? device->swiglu_norm_bwd : device->layernorm_bwd, 5e-6);
}

static void layernorm(fc_dtype type, int64_t rows, int64_t cols, bool add, wanted what = ALL)
{
    norm(false, type, rows, cols, add, what);
}

static void swiglu_norm(fc_dtype type, int64_t rows, int64_t cols, bool add, wanted what = ALL)
{
    norm(true, type, rows, cols, add, what);
}

static void l2norm(fc_dtype type, int64_t rows, int64_t cols, bool add, double scale)
{
    parity_case c(sizes("l2norm", {rows, cols, add, scale < 1}), type);
    const both x = c.in(rows * cols, scale), y = c.out(rows * cols), norm = c.out_float(rows);
    const both dx = c.out(rows * cols), dy = c.in(rows * cols);
    const auto args = [&](int s) {
        fci_l2norm_args a = {};
        a.rows = rows;
        a.cols = cols;
        a.x = x[s];
        a.y = y[s];
        a.norm = norm[s];
        a.dy = dy[s];
        a.dx = {dx[s], add};
        return a;
    };
    c.check<fci_l2norm_args>("forward", args, c.cpu()->l2norm_fwd, c.device()->l2norm_fwd);
    c.check<fci_l2norm_args>("back", args, c.cpu()->l2norm_bwd, c.device()->l2norm_bwd);
}

static void gelu(fc_dtype type, int64_t count, bool quick, bool add)
{
    parity_case c(sizes("gelu", {count, quick, add}), type);
    const both x = c.in(count, 3), y = c.out(count), dx = c.out(count), dy = c.in(count);
    const auto args = [&](int s) {
        fci_gelu_args a = {};
        a.count = count;
        a.quick = quick;
        a.x = x[s];
        a.y = y[s];
        a.dy = dy[s];
        a.dx = {dx[s], add};
        return a;
    };
    c.check<fci_gelu_args>("forward", args, c.cpu()->gelu_fwd, c.device()->gelu_fwd);
    c.check<fci_gelu_args>("back", args, c.cpu()->gelu_bwd, c.device()->gelu_bwd);
}

static void gather(fc_dtype type, int64_t rows, int64_t cols, const std::vector<int64_t> &index,
                   bool add)
{
    const int64_t count = (int64_t)index.size();
    parity_case c(sizes("gather_rows", {rows, cols, count, add}), type);
    const both x = c.in(rows * cols), at = c.raw(index), y = c.out(count * cols),
               dy = c.in(count * cols);
    const both dx = c.out(rows * cols);
    const auto args = [&](int s) {
        fci_gather_rows_args a = {};
        a.rows = rows;
        a.cols = cols;
        a.count = count;
        a.index = static_cast<const int64_t *>(at[s]);
        a.x = x[s];
        a.y = y[s];
        a.dy = dy[s];
        a.dx = {dx[s], add};
        return a;
    };
    c.check<fci_gather_rows_args>("forward", args, c.cpu()->gather_rows_fwd,
                                  c.device()->gather_rows_fwd);
    c.check<fci_gather_rows_args>("back", args, c.cpu()->gather_rows_bwd,
                                  c.device()->gather_rows_bwd);
}

static void concat(fc_dtype type, int64_t count_a, int64_t count_b, bool add)
{
    parity_case c(sizes("concat_rows", {count_a, count_b, add}), type);
    const both a_in = c.in(count_a), b_in = c.in(count_b), y = c.out(count_a + count_b),
               dy = c.in(count_a + count_b);
    const both da = c.out(count_a), db = c.out(count_b);
    const auto args = [&](int s) {
        fci_concat_rows_args a = {};
        a.count_a = count_a;
        a.count_b = count_b;
        a.a = a_in[s];
        a.b = b_in[s];
        a.y = y[s];
        a.dy = dy[s];
        a.da = {da[s], add};
        a.db = {db[s], add};
        return a;
    };
    c.check<fci_concat_rows_args>("forward", args, c.cpu()->concat_rows_fwd,
                                  c.device()->concat_rows_fwd);
    c.check<fci_concat_rows_args>("back", args, c.cpu()->concat_rows_bwd,
                                  c.device()->concat_rows_bwd);
}

static void patchify(fc_dtype type, int size, int patch, int64_t pictures, int64_t crops)
{
    parity_case c(sizes("patchify", {size, patch, pictures, crops}), type);
    const int64_t plane = 3 * (int64_t)size * size, values = (pictures + crops) * plane;
    std::vector<uint8_t> pixels((size_t)values);
    fc_rng rng = fc_rng_stream(7, FC_RNG_TEST, 1, 2);
    for (uint8_t &p : pixels) {
        p = (uint8_t)fc_rng_below(&rng, 256);
    }
    const both rgb = c.raw(pixels), planes = c.in(pictures * plane), y = c.out(values);
    bool from_planes = false;
    const auto args = [&](int s) {
        fci_patchify_args a = {};
        a.size = size;
        a.patch = patch;
        a.count[0] = pictures;
        a.count[1] = from_planes ? 0 : crops;
        a.rgb[0] = static_cast<const uint8_t *>(rgb[s]);
        a.rgb[1] = a.rgb[0] + pictures * plane;
        a.planes = from_planes ? planes[s] : nullptr;
        a.y = y[s];
        return a;
    };
    c.check<fci_patchify_args>("pixels", args, c.cpu()->patchify_fwd, c.device()->patchify_fwd);
    from_planes = true;
    c.check<fci_patchify_args>("planes", args, c.cpu()->patchify_fwd, c.device()->patchify_fwd);
}

static void tokens(fc_dtype type, int64_t pictures, int64_t patches, int64_t cols, bool add)
{
    parity_case c(sizes("tokens", {pictures, patches, cols, add}), type);
    const int64_t rows = pictures * (1 + patches);
    const both x = c.in(pictures * patches * cols), cls = c.in_float(cols),
               pos = c.in_float((1 + patches) * cols);
    const both y = c.out(rows * cols), dy = c.in(rows * cols),
               dx = c.out(pictures * patches * cols);
    const both dcls = c.out_float(cols), dpos = c.out_float((1 + patches) * cols);
    bool with_pos = true;
    const auto args = [&](int s) {
        fci_tokens_args a = {};
        a.pictures = pictures;
        a.patches = patches;
        a.cols = cols;
        a.x = x[s];
        a.cls = cls[s];
        a.pos = pos[s];
        a.y = y[s];
        a.dy = dy[s];
        a.dx = {dx[s], add};
        a.dcls = {dcls[s], add};
        a.dpos = {with_pos ? dpos[s] : nullptr, add};
        return a;
    };
    c.check<fci_tokens_args>("forward", args, c.cpu()->tokens_fwd, c.device()->tokens_fwd);
    c.check<fci_tokens_args>("back", args, c.cpu()->tokens_bwd, c.device()->tokens_bwd);
    with_pos = false;
    c.check<fci_tokens_args>("back, positions frozen", args, c.cpu()->tokens_bwd,
                             c.device()->tokens_bwd);
}

static void embed(fc_dtype type, int64_t rows, int64_t cols, bool add)
{
    enum { VOCABULARY = 50, CONTEXT = 7 };
    parity_case c(sizes("embed", {rows, cols, add}), type);
    std::vector<int32_t> ids((size_t)rows), positions((size_t)rows);
    fc_rng rng = fc_rng_stream(8, FC_RNG_TEST, (uint64_t)rows, 0);
    for (size_t i = 0; i < ids.size(); i++) {
        ids[i] = (int32_t)fc_rng_below(&rng, VOCABULARY);
        positions[i] = (int32_t)(i % CONTEXT);
    }
    const both id = c.raw(ids), place = c.raw(positions), table = c.in(VOCABULARY * cols),
               pos = c.in(CONTEXT * cols);
    const both y = c.out(rows * cols), dy = c.in(rows * cols);
    const both dtable = c.out_float(VOCABULARY * cols), dpos = c.out_float(CONTEXT * cols);
    const auto args = [&](int s) {
        fci_embed_args a = {};
        a.rows = rows;
        a.cols = cols;
        a.vocabulary = VOCABULARY;
        a.context = CONTEXT;
        a.ids = static_cast<const int32_t *>(id[s]);
        a.positions = static_cast<const int32_t *>(place[s]);
        a.table = table[s];
        a.pos = pos[s];
        a.y = y[s];
        a.dy = dy[s];
        a.dtable = {dtable[s], add};
        a.dpos = {dpos[s], add};
        return a;
    };
    c.check<fci_embed_args>("forward", args, c.cpu()->embed_fwd, c.device()->embed_fwd);
    c.check<fci_embed_args>("back", args, c.cpu()->embed_bwd, c.device()->embed_bwd);
}

static void roi_align(fc_dtype type, int grid, int64_t cols, bool add)
{
    /* Whole, one cell, thin, at the border, beyond it, empty, turned around. */
    const std::vector<float> boxes = {0,     0,     1,     1,     0.25F, 0.25F, 0.5F,  0.5F,
                                      0.1F,  0.4F,  0.93F, 0.41F, 0.8F,  0.8F,  1,     1,
                                      -0.5F, -0.3F, 0.2F,  1.6F,  0.3F,  0.3F,  0.3F,  0.7F,
                                      0.6F,  0.6F,  0.2F,  0.2F,  0.01F, 0.02F, 0.97F, 0.55F};
    const std::vector<int32_t> image = {0, 1, 1, 0, 2, 2, 0, 1};
    const int64_t pictures = 3, count = (int64_t)image.size(),
                  values = pictures * grid * grid * cols;
    parity_case c(sizes("roi_align", {grid, cols, add}), type);
    const both box = c.raw(boxes), of = c.raw(image), dense = c.in(values), y = c.out(count * cols);
    const both dy = c.in(count * cols), ddense = c.out(values);
    const auto args = [&](int s) {
        fci_roi_align_args a = {};
        a.pictures = pictures;
        a.cols = cols;
        a.count = count;
        a.grid = grid;
        a.boxes = static_cast<const float *>(box[s]);
        a.image = static_cast<const int32_t *>(of[s]);
        a.dense = dense[s];
        a.y = y[s];
        a.dy = dy[s];
        a.ddense = {ddense[s], add};
        return a;
    };
    c.check<fci_roi_align_args>("forward", args, c.cpu()->roi_align_fwd, c.device()->roi_align_fwd);
    c.check<fci_roi_align_args>("back", args, c.cpu()->roi_align_bwd, c.device()->roi_align_bwd);
}

static void contrastive(fc_dtype type, int64_t rows, int64_t cols, int64_t width, int64_t first)
{
    parity_case c(sizes("contrastive", {rows, cols, width, first}), type);
    const double unit = 1 / std::sqrt((double)width);
    const both own = c.in(rows * width, unit), all = c.in(cols * width, unit),
               lse = c.out_float(rows);
    const both lse_other = c.in_float(cols, 0.1, std::log((double)cols)),
               grad = c.out(rows * width);
    const both loss = c.out_double(1), slope = c.out_double(1);
    bool back = false;
    const auto args = [&](int s) {
        fci_contrastive_args a = {};
        a.rows = rows;
        a.cols = cols;
        a.width = width;
        a.first = first;
        a.scale = 5;
        a.own = own[s];
        a.all = all[s];
        a.lse_own = lse[s];
        a.loss_sum = static_cast<double *>(loss[s]);
        a.lse_other = lse_other[s];
        a.other_first = cols / 4;
        a.other_count = cols / 2;
        a.factor = 0.01;
        a.grad = back ? grad[s] : nullptr;
        a.scale_grad = static_cast<double *>(slope[s]);
        return a;
    };
    c.check<fci_contrastive_args>("forward", args, c.cpu()->contrastive_fwd,
                                  c.device()->contrastive_fwd);
    c.check<fci_contrastive_args>("slope of the scale", args, c.cpu()->contrastive_bwd,
                                  c.device()->contrastive_bwd, 1e-5);
    back = true;
    c.check<fci_contrastive_args>("back", args, c.cpu()->contrastive_bwd,
                                  c.device()->contrastive_bwd, 1e-5);
}

/* Many arrays of ragged sizes that lie one after another, each with settings of its own. */
static void adamw(fc_dtype type, int arrays, int64_t largest)
{
    parity_case c(sizes("adamw", {arrays, largest}), type);
    std::vector<int64_t> counts, firsts;
    int64_t count = 0;
    for (int i = 0; i < arrays; i++) {
        counts.push_back(i % 3 == 0 ? largest - i : 1 + i * 37 % 129);
        firsts.push_back(count);
        count += counts.back();
    }
    const both p = c.out_float(count), m = c.out_float(count), v = c.out_float(count),
               g = c.in_float(count);
    const both working = c.in(count), sums = c.out_double(arrays);
    c.make_positive(v); /* second moments are not negative */
    std::vector<fci_adamw_run> runs[2];
    std::vector<fci_array> gradients[2];
    const auto moved = [](void *base, int64_t first, size_t width) {
        return static_cast<void *>(static_cast<char *>(base) + first * (int64_t)width);
    };
    for (int s = 0; s < 2; s++) {
        const size_t real = s == DEVICE ? sizeof(float) : sizeof(double);
        for (int i = 0; i < arrays; i++) {
            fci_adamw_run r = {};
            r.count = counts[i];
            r.p = moved(p[s], firsts[i], real);
            r.m = moved(m[s], firsts[i], real);
            r.v = moved(v[s], firsts[i], real);
            r.working = s == DEVICE && type == FC_BF16 ? moved(working[s], firsts[i], 2) : nullptr;
            r.grad = moved(g[s], firsts[i], real);
            r.weight_decay = i % 2 == 0 ? 0.1 : 0;
            r.correction1 = 1 - std::pow(0.9, 1 + i % 5);
            r.correction2 = 1 - std::pow(0.98, 1 + i % 5);
            r.least = i % 4 == 1 ? -0.25 : -INFINITY;
            r.most = i % 4 == 1 ? 0.5 : INFINITY;
            runs[s].push_back(r);
            fci_array x = {};
            x.count = counts[i];
            x.x = r.grad;
            gradients[s].push_back(x);
        }
    }
    const auto args = [&](int s) {
        fci_adamw_args a = {};
        a.runs = arrays;
        a.run = runs[s].data();
        a.grad_scale = 0.7;
        a.lr = 1e-2;
        a.beta1 = 0.9;
        a.beta2 = 0.98;
        a.eps = 1e-6;
        return a;
    };
    c.check<fci_adamw_args>("update", args, c.cpu()->adamw_fwd, c.device()->adamw_fwd, 2e-6, 2e-6);
    const std::vector<double> masters = c.on_device(p), copies = c.on_device(working);
    for (size_t i = 0; type == FC_BF16 && i < masters.size(); i++) {
        FC_CHECK(std::fabs(copies[i] - masters[i]) <= std::fabs(masters[i]) / 256);
    }
    const auto squares = [&](int s) {
        fci_square_sum_args a = {};
        a.arrays = arrays;
        a.array = gradients[s].data();
        a.sums = static_cast<double *>(sums[s]);
        return a;
    };
    c.check<fci_square_sum_args>("squares", squares, c.cpu()->square_sum_fwd,
                                 c.device()->square_sum_fwd, 1e-12, 1e-12);
}

static void scores(fc_dtype type, int64_t rows, int64_t cols, int64_t width)
{
    parity_case c(sizes("scores", {rows, cols, width}), type);
    const both a_in = c.in(rows * width), b_in = c.in(cols * width), y = c.out_float(rows * cols);
    const auto args = [&](int s) {
        fci_scores_args a = {};
        a.rows = rows;
        a.cols = cols;
        a.width = width;
        a.a = a_in[s];
        a.b = b_in[s];
        a.y = y[s];
        return a;
    };
    c.check<fci_scores_args>("forward", args, c.cpu()->scores_fwd, c.device()->scores_fwd, 2e-6,
                             2e-6);
}

static void cosine_distance(fc_dtype type, int64_t rows, int64_t cols, bool add)
{
    parity_case c(sizes("cosine distance", {rows, cols, add}), type);
    const both a_in = c.in(rows * cols, 0.2), b_in = c.in(rows * cols, 0.2);
    const both sum = c.out_double(1), da = c.out(rows * cols);
    const auto args = [&](int s) {
        fci_cosine_distance_args a = {};
        a.rows = rows;
        a.cols = cols;
        a.a = a_in[s];
        a.b = b_in[s];
        a.sum = static_cast<double *>(sum[s]);
        a.factor = -0.375; /* a number in either type */
        a.da = {da[s], add};
        return a;
    };
    c.check<fci_cosine_distance_args>("forward", args, c.cpu()->cosine_distance_fwd,
                                      c.device()->cosine_distance_fwd, 1e-12, 1e-12);
    c.check<fci_cosine_distance_args>("back", args, c.cpu()->cosine_distance_bwd,
                                      c.device()->cosine_distance_bwd);
}

static void sigmoid_loss(fc_dtype type, int64_t rows, int64_t cols)
{
    parity_case c(sizes("sigmoid loss", {rows, cols}), type);
    std::vector<int32_t> own;
    for (int64_t r = 0; r < rows; r++) {
        own.push_back((int32_t)(r * 7 % cols));
    }
    const both cosines = c.in(rows * cols, 0.4), columns = c.raw(own);
    const both sum = c.out_double(1), grad = c.out(rows * cols);
    const auto args = [&](int s) {
        fci_sigmoid_loss_args a = {};
        a.rows = rows;
        a.cols = cols;
        a.cosines = cosines[s];
        a.own = static_cast<const int32_t *>(columns[s]);
        a.scale = 14.3;
        a.sum = static_cast<double *>(sum[s]);
        a.factor = 0.02;
        a.dcosines = grad[s];
        return a;
    };
    c.check<fci_sigmoid_loss_args>("forward", args, c.cpu()->sigmoid_loss_fwd,
                                   c.device()->sigmoid_loss_fwd, 1e-12, 1e-12);
    c.check<fci_sigmoid_loss_args>("back", args, c.cpu()->sigmoid_loss_bwd,
                                   c.device()->sigmoid_loss_bwd);
}

int main(void)
{
    if (!parity_begin()) {
        return 77;
    }
    for (fc_dtype type : {FC_F32, FC_BF16}) {
        for (bool add : {false, true}) {
            linear(type, 37, 24, 19, false, false, add);
            linear(type, 300, 8, 16, true, false, add);
            linear_biases(type, add);
            layernorm(type, 300, 768, add);
            layernorm(type, 5, 91, add);
            layernorm(type, 17, 1366, add); /* pairs */
            layernorm(type, 9, 640, add, FROZEN);
            layernorm(type, 9, 33, add, GAIN_ALONE);
            layernorm(type, 9, 64, add, VIEWS);
            layernorm(type, 3, 4500, add); /* long rows */
            swiglu_norm(type, 40, 256, add);
            swiglu_norm(type, 21, 2730, add); /* pairs in bf16 */
            swiglu_norm(type, 5, 34, add);
            swiglu_norm(type, 11, 13, add);
            swiglu_norm(type, 9, 72, add, FROZEN);
            swiglu_norm(type, 9, 33, add, GAIN_ALONE);
            swiglu_norm(type, 9, 64, add, VIEWS);
            swiglu_norm(type, 3, 4500, add);
            l2norm(type, 9, 512, add, 1);
            l2norm(type, 4, 33, add, 1);
            gelu(type, 2048, false, add);
            gelu(type, 777, true, add);
            gather(type, 9, 40, {8, 0, 3, 3, 0, 3}, add);
            gather(type, 300, 5, {17}, add);
            gather(type, 4, 6, std::vector<int64_t>(291, 2),
                   add); /* more than a block has threads */
            concat(type, 64, 128, add);
            concat(type, 3, 0, add);
            concat(type, 13, 7, add);
            tokens(type, 3, 4, 768, add);
            tokens(type, 2, 9, 10, add);
            embed(type, 29, 64, add);
            roi_align(type, 4, 64, add);
            roi_align(type, 14, 7, add);
        }
        layernorm(type, 19, 128, false, IN_PLACE);
        layernorm(type, 0, 128, true);
        layernorm(type, 0, 128, false);
        swiglu_norm(type, 0, 16, true);
        swiglu_norm(type, 0, 16, false);
        layernorm(type, 17000, 9, true);   /* as many blocks as there are at most */
        l2norm(type, 2, 16, false, 1e-20); /* below the smallest norm */
        patchify(type, 12, 4, 2, 3);
        patchify(type, 14, 7, 1, 0);
        patchify(type, 48, 16, 2, 1);
        patchify(type, 28, 14, 1, 3);
        contrastive(type, 40, 40, 32, 0);
        contrastive(type, 5, 61, 16, 23);
        cosine_distance(type, 7, 200, false);
        cosine_distance(type, 3, 33, true);
        cosine_distance(type, 0, 16, true);
        sigmoid_loss(type, 9, 150);
        sigmoid_loss(type, 0, 4);
        adamw(type, 1, 40000);
        adamw(type, 200, 9000); /* more than one launch takes */
        adamw(type, 40, 300);
        scores(type, 33, 19, 70);
    }
    return fc_check_end();
}
