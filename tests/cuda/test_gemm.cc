/* core/cuda/gemm.c on a stand-in for the library it opens (emulate_cublaslt.c), against what the
 * whole emulated program multiplies with (emulate_gemm.cc).
 *
 *     test_cuda_gemm products      what comes out, and which algorithms are asked for
 *     test_cuda_gemm failures      what a failure says and how the process ends
 *     test_cuda_gemm incomplete    the library on the loader's path lacks a function
 *     test_cuda_gemm broken        it cannot be loaded */
#include "tests/cuda/product.h"

#include <cmath>
#include <dlfcn.h>

extern "C" {
/* emulate_gemm.cc under other names */
bool reference_gemm(const fci_cuda_gemm_args *args);
void reference_gemm_tune(bool on, const char *folder);
}

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

/* Returns whether sums came with the product. */
static bool check_sums(const shape &s)
{
    setting one(s);
    one.want_sums();
    const std::vector<double> before = one.d.read();
    FC_CHECK(reference_gemm(&one.g));
    const std::vector<double> want = one.d.read(), want_sums = one.sums.read();
    one.d.write(before);
    one.sums.write(std::vector<double>(want_sums.size(), NAN));
    const bool written = fci_cuda_gemm(&one.g);
    check_same(one.d.read(), want, s.d_type, text_of(s));
    if (written) {
        check_same(one.sums.read(), want_sums, FC_F32, "sums of " + text_of(s));
    }
    return written;
}

static void test_sums(void)
{
    emulate_lt_state *lt = library();
    const shape of_a = {FC_BF16, FC_F32, 5, 7, 9, true, false, IN_PLACE, false, 1, 0, 1};
    const shape of_b = {FC_F32, FC_F32, 6, 4, 11, false, false, NOTHING, false, 2, 4, 1};
    reference_gemm_tune(true, nullptr);
    FC_CHECK(!check_sums(of_a)); /* not in runs that are not tuned */
    fci_cuda_gemm_tune(true, nullptr);
    for (fc_dtype type : {FC_F32, FC_BF16}) {
        for (int a_transposed = 0; a_transposed < 2; a_transposed++) {
            for (int add = NOTHING; add <= SEPARATE; add++) {
                for (int64_t wider = 0; wider < 3; wider++) {
                    FC_CHECK(check_sums({type, FC_F32, 5 + wider, 7, 9, a_transposed == 1, false,
                                         static_cast<add_kind>(add), false, wider, wider * 4, 1}));
                }
            }
        }
    }
    /* None is asked for: that is none missing. */
    setting one(of_b);
    FC_CHECK(fci_cuda_gemm(&one.g));
    one.want_sums();
    one.g.k = 0; /* nothing to multiply: nothing is written */
    one.sums.write({1, 2, 3, 4});
    FC_CHECK(!fci_cuda_gemm(&one.g));
    FC_CHECK_NEAR(one.sums.read()[2], 3, 0);
    /* No algorithm has them: the product alone, and it is not asked again. */
    fci_cuda_gemm_tune(false, nullptr);
    fci_cuda_gemm_tune(true, nullptr);
    lt->no_sums = true;
    FC_CHECK(!check_sums(of_a));
    FC_CHECK(!check_sums(of_b));
    const int asked = lt->queries;
    FC_CHECK(!check_sums(of_a));
    FC_CHECK(!check_sums(of_b));
    FC_CHECK_INT(lt->queries, asked);
    lt->no_sums = false;
    fci_cuda_gemm_tune(false, nullptr);
    FC_CHECK(!check_sums(of_b));
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
    const child_result r = in_child(work);
    fc_check_true(WIFEXITED(r.status) && WEXITSTATUS(r.status) == exit_status, __FILE__, __LINE__,
                  "%s: ended with %d, want %d: %s", what, r.status, exit_status, r.text.c_str());
    fc_check_true(r.text.find(says) != std::string::npos, __FILE__, __LINE__,
                  "%s: it says \"%s\", want \"%s\"", what, r.text.c_str(), says);
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
        test_sums();
        test_alignment_of_bias();
        test_queries();
    } else if (what == "failures") {
        test_failures();
    }
    fci_cuda_stop();
    return fc_check_end();
}
