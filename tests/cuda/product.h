/* Products for tests of core/cuda/gemm.c, on emulated memory and a stand-in for the library. */
#ifndef FC_TESTS_CUDA_PRODUCT_H
#define FC_TESTS_CUDA_PRODUCT_H

#include "tests/cuda/emulate_cublaslt.h"
#include "tests/cuda/toolkit/cuda_runtime.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "core/bf16.h"
#include "core/cuda/gemm.h"
#include "core/cuda/runtime.h"
#include "core/rng.h"
#include "tests/check.h"
}

static inline const char *library_name(void)
{
    return FC_TESTS_LIBRARY;
}

static inline emulate_lt_state *library(void)
{
    return static_cast<emulate_lt_state *>(fci_cuda_symbol(library_name(), "emulate_lt"));
}

enum { BLOCK = 4099 };

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
        for (size_t i = 0; i < values.size(); i++) { /* a block is repeated: drawing takes time */
            values[i] = i < BLOCK ? fc_rng_normal(&rng) : values[i - BLOCK];
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

static inline std::string text_of(const shape &s)
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
          d(s.d_type, s.m * ldd, s.shift, 5), sums(FC_F32, s.a_transposed ? s.m : s.n, 0, 7)
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
    /* Ask for the sums of an operand: a's where it is transposed, else b's. */
    void want_sums()
    {
        (g.a_transposed ? g.a_sums : g.b_sums) = reinterpret_cast<float *>(sums.at);
    }
    const int64_t lda, ldb, ldd;
    matrix a, b, add, bias, d, sums;
    fci_cuda_gemm_args g = {};
};

/* What a child that does this writes to stderr, and how it ends. */
struct child_result {
    int status;
    std::string text;
};

static inline child_result in_child(const std::function<void()> &work)
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
    child_result result = {0, ""};
    char piece[512];
    for (ssize_t n; (n = read(pipes[0], piece, sizeof piece)) > 0;) {
        result.text.append(piece, static_cast<size_t>(n));
    }
    close(pipes[0]);
    FC_CHECK(waitpid(child, &result.status, 0) == child);
    return result;
}

#endif
