/* core/cuda/gemm.c on a stand-in for the library it opens (emulate_cublaslt.c), against what the
 * whole emulated program multiplies with (emulate_gemm.cc).
 *
 *     test_cuda_gemm products      what comes out, and which algorithms are asked for
 *     test_cuda_gemm failures      what a failure says and how the process ends
 *     test_cuda_gemm incomplete    the library on the loader's path lacks a function
 *     test_cuda_gemm broken        it cannot be loaded */
#include "core/cuda/gemm.h"
#include "tests/cuda/emulate_cublaslt.h"
#include "tests/cuda/toolkit/cuda_runtime.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "core/bf16.h"
#include "core/cuda/runtime.h"
#include "core/rng.h"
#include "tests/check.h"
/* emulate_gemm.cc under another name */
void reference_gemm(const fci_cuda_gemm_args *args);
}

static const char *library_name(void)
{
    return FC_TESTS_LIBRARY;
}

static emulate_lt_state *library(void)
{
    return static_cast<emulate_lt_state *>(fci_cuda_symbol(library_name(), "emulate_lt"));
}

/* Device memory of one product, `shift` bytes into the allocation. */
class matrix
{
  public:
    matrix(fc_dtype type, int64_t count, int64_t shift, uint64_t seed)
        : type(type), count(count), bytes(static_cast<size_t>(count) * fc_dtype_bytes(type)),
          base(static_cast<char *>(fci_cuda_alloc(bytes + static_cast<size_t>(shift)))),
          at(base + shift)
    {
        fc_rng rng = fc_rng_stream(1, FC_RNG_BENCH, seed, 0);
        std::vector<double> values(static_cast<size_t>(count));
        for (double &x : values) {
            x = fc_rng_normal(&rng);
        }
        write(values);
    }
    ~matrix()
    {
        fci_cuda_free(base);
    }
    matrix(const matrix &) = delete;
    matrix &operator=(const matrix &) = delete;
    void write(const std::vector<double> &values)
    {
        emulate_open_memory();
        for (size_t i = 0; i < values.size(); i++) {
            if (type == FC_F32) {
                reinterpret_cast<float *>(at)[i] = static_cast<float>(values[i]);
            } else {
                reinterpret_cast<uint16_t *>(at)[i] = fci_bf16_of(static_cast<float>(values[i]));
            }
        }
        emulate_close_memory();
    }
    std::vector<double> read() const
    {
        std::vector<double> values(static_cast<size_t>(count));
        emulate_open_memory();
        for (size_t i = 0; i < values.size(); i++) {
            values[i] =
                type == FC_F32
                    ? static_cast<double>(reinterpret_cast<float *>(at)[i])
                    : static_cast<double>(fci_bf16_to_float(reinterpret_cast<uint16_t *>(at)[i]));
        }
        emulate_close_memory();
        return values;
    }
    const fc_dtype type;
    const int64_t count;
    const size_t bytes;
    char *const base, *const at;
};

enum add_kind { NOTHING, IN_PLACE, SEPARATE };

struct shape {
    fc_dtype type, d_type;
    int64_t m, n, k;
    bool a_transposed, b_transposed;
    add_kind add;
    bool bias;
    int64_t wider, shift; /* rows further apart than they are long; bytes to all addresses */
    float alpha;
};

static std::string text_of(const shape &s)
{
    char text[200];
    std::snprintf(text, sizeof text, "%s->%s (%d,%d,%d) %c%c add %d bias %d wider %d shift %d",
                  s.type == FC_F32 ? "f32" : "bf16", s.d_type == FC_F32 ? "f32" : "bf16",
                  static_cast<int>(s.m), static_cast<int>(s.n), static_cast<int>(s.k),
                  s.a_transposed ? 'T' : 'N', s.b_transposed ? 'T' : 'N', s.add, s.bias,
                  static_cast<int>(s.wider), static_cast<int>(s.shift));
    return text;
}

/* One product and its memory. */
struct setting {
    explicit setting(const shape &s)
        : lda((s.a_transposed ? s.m : s.k) + s.wider), ldb((s.b_transposed ? s.k : s.n) + s.wider),
          ldd(s.n + s.wider), a(s.type, (s.a_transposed ? s.k : s.m) * lda, s.shift, 1),
          b(s.type, (s.b_transposed ? s.n : s.k) * ldb, s.shift, 2),
          add(s.d_type, s.m * ldd, s.shift, 3), bias(s.d_type, s.n, s.shift, 4),
          d(s.d_type, s.m * ldd, s.shift, 5)
    {
        g.type = s.type;
        g.d_type = s.d_type;
        g.a_transposed = s.a_transposed;
        g.b_transposed = s.b_transposed;
        g.m = s.m;
        g.n = s.n;
        g.k = s.k;
        g.alpha = s.alpha;
        g.a = a.at;
        g.b = b.at;
        g.lda = lda;
        g.ldb = ldb;
        g.add = s.add == NOTHING ? nullptr : s.add == IN_PLACE ? d.at : add.at;
        g.bias = s.bias ? bias.at : nullptr;
        g.d = d.at;
        g.ldd = ldd;
    }
    const int64_t lda, ldb, ldd;
    matrix a, b, add, bias, d;
    fci_cuda_gemm_args g = {};
};

/* All of d, what lies between its rows included. */
static void check_same(const std::vector<double> &got, const std::vector<double> &want,
                       fc_dtype type, const std::string &what)
{
    const double tolerance = type == FC_F32 ? 2e-6 : 8e-3;
    for (size_t i = 0; i < want.size(); i++) {
        const double error = std::fabs(got[i] - want[i]);
        if (!fc_check_true(error <= tolerance * (1 + std::fabs(want[i])), __FILE__, __LINE__,
                           "%s: value %zu is %.9g, want %.9g (%s)", what.c_str(), i, got[i],
                           want[i], library()->refused)) {
            return;
        }
    }
}

static void check_product(const shape &s)
{
    setting one(s);
    const std::vector<double> before = one.d.read();
    reference_gemm(&one.g);
    const std::vector<double> want = one.d.read();
    one.d.write(before);
    library()->refused[0] = '\0';
    fci_cuda_gemm(&one.g);
    check_same(one.d.read(), want, s.d_type, text_of(s));
}

static void test_products(void)
{
    const fc_dtype types[][2] = {{FC_F32, FC_F32}, {FC_BF16, FC_BF16}, {FC_BF16, FC_F32}};
    const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {16, 8, 24}, {1, 9, 4}, {6, 1, 2}};
    int number = 0;
    for (const auto &type : types) {
        for (const auto &size : sizes) {
            for (int way = 0; way < 4; way++) {
                for (int add = NOTHING; add <= SEPARATE; add++) {
                    for (int bias = 0; bias < 2; bias++, number++) {
                        /* Each combination with some width and some alignment. */
                        check_product({type[0], type[1], size[0], size[1], size[2], way % 2 == 1,
                                       way / 2 == 1, static_cast<add_kind>(add), bias == 1,
                                       number % 3, number % 5 * 4, number % 2 == 0 ? 1.0F : 0.5F});
                    }
                }
            }
        }
    }
    /* As few bytes of alignment as the type allows. */
    check_product({FC_BF16, FC_BF16, 4, 6, 5, false, true, SEPARATE, true, 1, 2, 1});
    check_product({FC_BF16, FC_BF16, 4, 6, 5, true, false, IN_PLACE, true, 0, 6, 1});
}

static void test_nothing_to_multiply(void)
{
    const int products = library()->products;
    check_product({FC_F32, FC_F32, 0, 4, 3, false, false, NOTHING, false, 0, 0, 1});
    check_product({FC_F32, FC_F32, 4, 0, 3, false, true, IN_PLACE, false, 2, 0, 1});
    check_product({FC_F32, FC_F32, 4, 5, 0, false, false, NOTHING, false, 3, 0, 1});
    check_product({FC_BF16, FC_BF16, 4, 5, 0, true, true, NOTHING, false, 1, 2, 1});
    check_product({FC_BF16, FC_F32, 4, 5, 0, true, false, IN_PLACE, false, 0, 0, 1});
    FC_CHECK_INT(library()->products, products);
}

static void multiply(int64_t m, int64_t shift)
{
    setting one({FC_F32, FC_F32, m, 2, 1, false, false, NOTHING, false, 0, shift, 1});
    fci_cuda_gemm(&one.g);
}

/* The library chooses by the bias's address, too: one that is aligned worse is asked for anew. */
static void test_alignment_of_bias(void)
{
    setting one({FC_F32, FC_F32, 7, 8, 9, false, false, NOTHING, true, 0, 0, 1});
    fci_cuda_gemm(&one.g);
    const int asked = library()->queries;
    const matrix elsewhere(FC_F32, 8, 4, 6);
    one.g.bias = elsewhere.at;
    fci_cuda_gemm(&one.g);
    FC_CHECK_INT(library()->queries, asked + 1);
}

/* A shape is asked for once; another alignment is another shape; a full table starts anew. */
static void test_queries(void)
{
    emulate_lt_state *lt = library();
    multiply(300, 0);
    int asked = lt->queries;
    multiply(300, 0);
    FC_CHECK_INT(lt->queries, asked);
    multiply(300, 4);
    FC_CHECK_INT(lt->queries, asked + 1);
    multiply(300, 4);
    FC_CHECK_INT(lt->queries, asked + 1);
    const int products = lt->products;
    asked = lt->queries;
    for (int64_t m = 400; m < 1000; m++) {
        multiply(m, 0);
    }
    FC_CHECK_INT(lt->queries, asked + 600);
    FC_CHECK_INT(lt->products, products + 600);
    multiply(999, 0); /* the table began anew before the last of them */
    FC_CHECK_INT(lt->queries, asked + 600);
    check_product({FC_F32, FC_F32, 400, 2, 1, false, false, NOTHING, false, 0, 0, 1});
    FC_CHECK_INT(lt->queries, asked + 601);
}

/* ---- Failures ---- */

/* A child does this: it must end with this status, saying this. */
static void check_ends(const char *what, const std::function<void()> &work, const char *says,
                       int exit_status)
{
    int pipes[2];
    FC_CHECK(pipe(pipes) == 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        close(pipes[0]);
        work();
        _exit(0);
    }
    close(pipes[1]);
    std::string text;
    char piece[512];
    for (ssize_t n; (n = read(pipes[0], piece, sizeof piece)) > 0;) {
        text.append(piece, static_cast<size_t>(n));
    }
    close(pipes[0]);
    int status = 0;
    FC_CHECK(waitpid(child, &status, 0) == child);
    fc_check_true(WIFEXITED(status) && WEXITSTATUS(status) == exit_status, __FILE__, __LINE__,
                  "%s: ended with %d, want %d: %s", what, status, exit_status, text.c_str());
    fc_check_true(text.find(says) != std::string::npos, __FILE__, __LINE__,
                  "%s: it says \"%s\", want \"%s\"", what, text.c_str(), says);
}

static void multiply_once(void)
{
    setting one({FC_BF16, FC_BF16, 6, 5, 4, false, false, NOTHING, true, 0, 0, 1});
    fci_cuda_gemm(&one.g);
}

static void test_failures(void)
{
    emulate_lt_state *lt = library();
    check_ends("nothing wrong", multiply_once, "", 0);
    lt->suggestions = 0;
    check_ends("no algorithm", multiply_once,
               "choice of an algorithm of (6,5) by depth 4: not supported", 71);
    lt->suggestions = 1;
    lt->fail_product = true;
    check_ends("a product that fails", multiply_once, "product of (6,5) by depth 4: failed", 71);
    lt->fail_product = false;
    lt->workspace[0] = (size_t)1 << 40;
    check_ends("more workspace than there is", multiply_once, "choice of an algorithm", 71);
    lt->workspace[0] = 0;
    fci_cuda_stop();
    lt->fail_create = true;
    FC_CHECK_FAILS(fci_cuda_start(0), FC_RUNTIME, "does not start: not initialized");
    fci_cuda_stop();
    lt->fail_create = false;
    FC_CHECK_OK(fci_cuda_start(0));
    multiply_once();
}

int main(int count, char **arguments)
{
    const std::string what = count > 1 ? arguments[1] : "";
    if (what == "incomplete" || what == "broken") {
        const char *missing = what == "broken"
                                  ? "cublasLtCreate was not found: install"
                                  : "with cublasLtMatmulAlgoGetHeuristic was not found: install";
        FC_CHECK((dlopen(library_name(), RTLD_NOW) == nullptr) == (what == "broken"));
        FC_CHECK_FAILS(fci_cuda_start(0), FC_RUNTIME, missing);
        FC_CHECK_FAILS(fci_cuda_gemm_start(), FC_RUNTIME, library_name());
        return fc_check_end();
    }
    FC_CHECK_OK(fci_cuda_start(0));
    if (!FC_CHECK(library() != nullptr)) {
        return fc_check_end();
    }
    if (what == "products") {
        library()->workspace[0] = 1000;
        test_products();
        test_nothing_to_multiply();
        test_alignment_of_bias();
        test_queries();
    } else if (what == "failures") {
        test_failures();
    }
    fci_cuda_stop();
    return fc_check_end();
}
