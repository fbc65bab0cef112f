/* Algorithms that are timed (core/cuda/gemm_tune.c) and kept (core/cuda/gemm_cache.c), on a
 * stand-in for cuBLASLt whose suggestions take as long as the test says.
 *
 *     test_cuda_gemm_tune choice     which algorithm does which product
 *     test_cuda_gemm_tune sums       whether they come with it
 *     test_cuda_gemm_tune memory     where there is none to measure in
 *     test_cuda_gemm_tune kept       from one process to the next
 *     test_cuda_gemm_tune file       damaged, foreign, shared, not writable */
#include "tests/cuda/product.h"

#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>

extern "C" {
#include "core/cuda/gemm_cache.h"
}

enum { TIMINGS = 6 }; /* of a suggestion: one to warm up */

static void suggest(std::initializer_list<double> milliseconds)
{
    emulate_lt_state *lt = library();
    lt->suggestions = 0;
    for (double t : milliseconds) {
        lt->milliseconds[lt->suggestions++] = t;
    }
}

static shape sized(int64_t m, int64_t n, int64_t k)
{
    return {FC_BF16, FC_F32, m, n, k, true, false, IN_PLACE, false, 0, 0, 1};
}

/* Products a timing of `suggestions` makes: as many a sample as make up for their size. */
static int timing_of(const shape &s, int suggestions)
{
    const double flops = 2.0 * static_cast<double>(s.m * s.n) * static_cast<double>(s.k);
    return suggestions * TIMINGS * (1 + static_cast<int>(2e10 / flops));
}

/* One product, by this algorithm, after this many suggestions were timed. */
static void multiply(const shape &s, int algorithm, int timed)
{
    setting one(s);
    const int before = library()->products;
    fci_cuda_gemm(&one.g);
    const int products = library()->products - before;
    fc_check_true(library()->last == algorithm && products == 1 + timing_of(s, timed), __FILE__,
                  __LINE__, "%s: algorithm %d, want %d; %d products, want %d (%s)",
                  text_of(s).c_str(), library()->last, algorithm, products, 1 + timing_of(s, timed),
                  library()->refused);
}

/* d, once added to, where the stand-in computes it. */
static void check_added_once(void)
{
    const shape s = sized(1024, 1024, 1024);
    setting one(s);
    const std::vector<double> a = one.a.read(), b = one.b.read(), before = one.d.read();
    const int products = library()->products;
    fci_cuda_gemm(&one.g);
    FC_CHECK_INT(library()->products - products, 1 + timing_of(s, 5));
    FC_CHECK_INT(library()->last, 3);
    const std::vector<double> d = one.d.read();
    for (size_t i = 0; i < 1024; i++) {
        for (size_t j = 0; j < 1024; j += i < 4 ? 1 : 1023) {
            double want = before[i * 1024 + j];
            for (size_t l = 0; l < 1024 && i < 4 && j < 4; l++) {
                want += a[l * 1024 + i] * b[l * 1024 + j];
            }
            FC_CHECK_NEAR(d[i * 1024 + j], want, 1e-3);
        }
    }
}

static void test_choice(void)
{
    emulate_lt_state *lt = library();
    suggest({5, 3, 4, 1, 2});
    multiply(sized(1024, 1024, 1024), 0, 0); /* before it was asked for */
    fci_cuda_gemm_tune(true, nullptr);
    const int64_t held = fci_cuda_held(), peak = fci_cuda_peak();
    size_t left, left_after, total;
    FC_CHECK(cudaMemGetInfo(&left, &total) == cudaSuccess);
    check_added_once();
    FC_CHECK_INT(fci_cuda_held(), held);
    FC_CHECK(fci_cuda_peak() <= peak + (1 << 24)); /* the test's own matrices */
    FC_CHECK(cudaMemGetInfo(&left_after, &total) == cudaSuccess && left_after == left);
    /* The same one, and its like, without timing; of like size is what rounds up to it. */
    multiply(sized(1024, 1024, 1024), 3, 0);
    multiply(sized(1000, 1000, 1024), 3, 0);
    multiply(sized(1025, 1024, 1024), 3, 5);
    multiply(sized(1020, 1024, 1024), 3, 5); /* rows of a at no multiple of sixteen bytes */
    multiply(sized(1024, 1020, 2048), 3, 5); /* of b */
    multiply(sized(1024, 1024, 2048), 3, 5);
    /* Another type or place is another product. */
    shape other = sized(1024, 1024, 1024);
    other.add = NOTHING;
    multiply(other, 3, 5);
    other.add = SEPARATE;
    multiply(other, 3, 5);
    other.d_type = FC_BF16;
    other.bias = true;
    multiply(other, 3, 5);
    other.shift = 2; /* addresses of two bytes: algorithms for sixteen would not run */
    multiply(other, 3, 5);
    /* Small products are not worth it. */
    multiply(sized(512, 512, 512), 0, 0);
    /* The fastest for its like cannot do this one: the first suggestion. */
    lt->depth_multiple[3] = 64;
    multiply(sized(1024, 1024, 1000), 0, 0);
    lt->workspace[3] = static_cast<size_t>(1) << 30;
    multiply(sized(1024, 1000, 1024), 0, 0);
    lt->depth_multiple[3] = 0;
    lt->workspace[3] = 0;
    /* Asked for no longer, and again. */
    fci_cuda_gemm_tune(false, nullptr);
    multiply(sized(1024, 1024, 1024), 0, 0);
    fci_cuda_gemm_tune(true, nullptr);
    multiply(sized(1024, 1024, 1024), 3, 0);
    /* A hair faster is not faster; what fails is out. */
    suggest({1, 0.99, 2});
    multiply(sized(2048, 1024, 1024), 0, 3);
    suggest({1, -1, 0.5});
    multiply(sized(3072, 1024, 1024), 2, 2);
    /* Neither who is fast once nor who is slow once: the median. */
    suggest({3, 2.5});
    lt->used[0] = lt->used[1] = 0;
    lt->odd_product = 4;
    lt->odd_milliseconds[0] = -2.9;
    lt->odd_milliseconds[1] = 30;
    multiply(sized(4096, 1024, 1024), 1, 2);
}

/* Sums come with the product where that is quicker than reading the operand once more. */
static void check_sums(const shape &s, bool written, int timed)
{
    setting one(s);
    one.want_sums();
    const int before = library()->products;
    FC_CHECK(fci_cuda_gemm(&one.g) == written);
    const int products = library()->products - before;
    FC_CHECK_INT(products, 1 + timing_of(s, timed));
}

static void test_sums(void)
{
    emulate_lt_state *lt = library();
    suggest({3e-3, 2e-3});
    fci_cuda_gemm_tune(true, nullptr);
    lt->sums_milliseconds = 0.6e-3; /* 2 MiB at 3 GB a millisecond: 0.7 microseconds */
    check_sums(sized(1024, 1024, 1024), true, 4); /* both are timed */
    check_sums(sized(1024, 1024, 1024), true, 0);
    multiply(sized(1024, 1024, 1024), 1, 0); /* the one without, in its own right */
    lt->sums_milliseconds = 1.2e-3; /* 4 MiB: 1.4 */
    check_sums(sized(2048, 1024, 1024), true, 4);
    lt->sums_milliseconds = 2.2e-3; /* 6 MiB: 2.1 */
    check_sums(sized(3072, 1024, 1024), false, 4);
    check_sums(sized(3072, 1024, 1024), false, 0);
    shape of_b = sized(1024, 1024, 1024);
    of_b.a_transposed = false;
    lt->sums_milliseconds = 0.8e-3;
    check_sums(of_b, false, 4);
    of_b.k = 2048;
    check_sums(of_b, true, 4);
    /* Small ones are not timed: they come. */
    lt->sums_milliseconds = 1;
    check_sums(sized(64, 64, 64), true, 0);
    /* None to be had. */
    lt->no_sums = true;
    check_sums(sized(4096, 1024, 1024), false, 2);
    check_sums(sized(4096, 1024, 1024), false, 0);
}

static void test_memory(void)
{
    suggest({2, 1});
    fci_cuda_gemm_tune(true, nullptr);
    size_t left, total;
    void *most;
    {
        setting one(sized(1024, 1024, 1024));
        FC_CHECK(cudaMemGetInfo(&left, &total) == cudaSuccess);
        /* As much stays free as d takes, and not what others may ask for. */
        FC_CHECK(cudaMalloc(&most, left - (static_cast<size_t>(300) << 20)) == cudaSuccess);
        const int before = library()->products;
        fci_cuda_gemm(&one.g);
        FC_CHECK_INT(library()->last, 0);
        FC_CHECK_INT(library()->products, before + 1);
    }
    FC_CHECK(cudaFree(most) == cudaSuccess);
    multiply(sized(1024, 1024, 1000), 0, 0); /* not tried again */
    multiply(sized(2048, 1024, 1024), 1, 2);
}

/* ---- On disk ---- */

static std::string read_all(const std::string &path)
{
    std::string text;
    FILE *file = std::fopen(path.c_str(), "rb");
    for (int c; file != nullptr && (c = std::fgetc(file)) != EOF;) {
        text.push_back(static_cast<char>(c));
    }
    if (file != nullptr) {
        std::fclose(file);
    }
    return text;
}

static void write_all(const std::string &path, const std::string &text)
{
    FILE *file = std::fopen(path.c_str(), "wb");
    FC_CHECK(file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size());
    FC_CHECK(file != nullptr && std::fclose(file) == 0);
}

/* A process that multiplies once: what it says, having checked whether it timed. */
static std::string run(const std::string &folder, int algorithm, bool times, size_t version = 0)
{
    const child_result r = in_child([&] {
        FC_CHECK_OK(fci_cuda_start(0));
        library()->version = version != 0 ? version : library()->version;
        library()->corner_only = true;
        suggest({3, 2, 1});
        fci_cuda_gemm_tune(true, folder.c_str());
        multiply(sized(1024, 1024, 1024), algorithm, times ? 3 : 0);
        fci_cuda_stop();
        _exit(fc_check_end());
    });
    fc_check_true(WIFEXITED(r.status) && WEXITSTATUS(r.status) == 0, __FILE__, __LINE__,
                  "a process failed: %s", r.text.c_str());
    return r.text;
}

static bool says(const std::string &text, const char *what)
{
    return fc_check_true(text.find(what) != std::string::npos, __FILE__, __LINE__,
                         "it says \"%s\", want \"%s\"", text.c_str(), what);
}

static std::string new_folder(const char *name)
{
    const std::string folder = fc_check_temp(name);
    FC_CHECK(mkdir(folder.c_str(), 0777) == 0);
    return folder;
}

/* The checksum at the end, made anew. */
static void add_sum(std::string *text)
{
    uint64_t sum = 14695981039346656037ULL; /* FNV-1a */
    for (size_t i = 0; i + sizeof sum < text->size(); i++) {
        sum = (sum ^ static_cast<unsigned char>((*text)[i])) * 1099511628211ULL;
    }
    std::memcpy(&(*text)[text->size() - sizeof sum], &sum, sizeof sum);
}

static void test_kept(void)
{
    const std::string folder = new_folder("cache");
    const std::string path = folder + "/products-emulated-device-0--cuBLASLt-7";
    says(run(folder, 2, true, 7), ("timing products, once; kept in " + path).c_str());
    FC_CHECK(run(folder, 2, false, 7).empty());
    /* Another version's algorithms mean nothing. */
    says(run(folder, 2, true, 8), "timing products");
    const std::string good = read_all(path);
    FC_CHECK(!good.empty());
    write_all(folder + "/products-emulated-device-0--cuBLASLt-9", good);
    says(run(folder, 2, true, 9), "it is another device's");
    FC_CHECK(run(folder, 2, false, 9).empty());
    /* Damaged anywhere: warned of, measured again, written anew. */
    for (size_t at = 0; at < good.size(); at += 37) {
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ 4);
        write_all(path, bad);
        const std::string text = run(folder, 2, true, 7);
        says(text, "is not used and will be written anew");
        says(text, "timing products");
        FC_CHECK(read_all(path).size() == good.size());
    }
    for (const std::string &bad :
         {std::string(), good.substr(0, 10), good.substr(0, good.size() - 1), good + "x"}) {
        write_all(path, bad);
        says(run(folder, 2, true, 7), "is not used and will be written anew");
        FC_CHECK(run(folder, 2, false, 7).empty());
    }
    /* More records than there are, and a checksum that agrees. */
    std::string more = good;
    more[24]++;
    add_sum(&more);
    write_all(path, more);
    says(run(folder, 2, true, 7), "it is cut off");
    /* A good file whose algorithm the library refuses: it is asked again. */
    const size_t algorithm = good.size() - sizeof(uint64_t) - 72;
    std::string refused = good;
    refused[algorithm + 8] = static_cast<char>(refused[algorithm + 8] ^ 1);
    add_sum(&refused);
    write_all(path, refused);
    FC_CHECK(run(folder, 0, false, 7).empty());
}

typedef std::unique_ptr<fci_gemm_cache, void (*)(fci_gemm_cache *)> cache;

static cache open_cache(const std::string &path, const char *identity = "a device",
                        size_t key_bytes = sizeof(int), size_t value_bytes = sizeof(double))
{
    return cache(fci_gemm_cache_open(path.c_str(), identity, key_bytes, value_bytes),
                 [](fci_gemm_cache *c) { fci_gemm_cache_close(&c); });
}

static void put(const cache &c, int key, double value)
{
    fci_gemm_cache_put(c.get(), &key, &value);
}

/* The value of a key; NaN: none. */
static double find(const cache &c, int key)
{
    const void *found = fci_gemm_cache_find(c.get(), &key);
    double value = NAN;
    if (found != nullptr) {
        std::memcpy(&value, found, sizeof value);
    }
    return value;
}

static void test_shared(void)
{
    const std::string path = new_folder("shared") + "/file";
    const cache first = open_cache(path), second = open_cache(path);
    put(first, 1, 10);
    put(second, 2, 20); /* opened before the first one was there */
    put(second, 1, 99); /* what the file has stays */
    const cache third = open_cache(path);
    FC_CHECK_NEAR(find(third, 1), 10, 0);
    FC_CHECK_NEAR(find(third, 2), 20, 0);
    FC_CHECK(std::isnan(find(third, 3)));
    FC_CHECK(std::isnan(find(open_cache(path, "another"), 1)));
    FC_CHECK(std::isnan(find(open_cache(path, "a device", 4, 16), 1)));
    const child_result other = in_child([&] { open_cache(path, "a device", 8, 8); });
    says(other.text, "its records are of another size");
    /* Many at once. */
    enum { WRITERS = 4, RECORDS = 50 };
    const child_result writers = in_child([&] {
        for (int w = 0; w < WRITERS; w++) {
            if (fork() == 0) {
                const cache own = open_cache(path);
                for (int i = 0; i < RECORDS; i++) {
                    put(own, 1000 * (w + 1) + i, i);
                }
                _exit(0);
            }
        }
        while (wait(nullptr) > 0) {
        }
    });
    fc_check_true(writers.text.empty(), __FILE__, __LINE__, "no writer is in another's way: %s",
                  writers.text.c_str());
    const child_result r = in_child([&] {
        const cache last = open_cache(path);
        int complete = 0;
        for (int w = 0; w < WRITERS; w++) {
            int there = 0;
            for (int i = 0; i < RECORDS; i++) {
                there += find(last, 1000 * (w + 1) + i) == i;
            }
            complete += there == RECORDS;
        }
        FC_CHECK(complete >= 1); /* whoever wrote last */
        FC_CHECK_NEAR(find(last, 1), 10, 0);
        _exit(fc_check_end());
    });
    FC_CHECK(WIFEXITED(r.status) && WEXITSTATUS(r.status) == 0);
    fc_check_true(r.text.empty(), __FILE__, __LINE__, "the file is whole: %s", r.text.c_str());
}

static void test_not_writable(void)
{
    const std::string file = new_folder("closed") + "/file";
    write_all(file, "a file where a folder should be");
    const child_result r = in_child([&] {
        const cache c = open_cache(file + "/below");
        put(c, 1, 10);
        put(c, 2, 20);
        FC_CHECK_NEAR(find(c, 1), 10, 0);
        FC_CHECK_NEAR(find(c, 2), 20, 0);
        FC_CHECK_INT(std::strlen(fc_error_message()), 0);
        _exit(fc_check_end());
    });
    FC_CHECK(WIFEXITED(r.status) && WEXITSTATUS(r.status) == 0);
    const char *warning = "timed products are not kept: cannot create";
    says(r.text, warning);
    FC_CHECK(r.text.find(warning) == r.text.rfind(warning)); /* once */
    run(file + "/below", 2, true);                           /* measured, used, forgotten */
    run(file + "/below", 2, true);
}

int main(int count, char **arguments)
{
    const std::string what = count > 1 ? arguments[1] : "";
    if (what == "kept") {
        test_kept();
        return fc_check_end();
    }
    if (what == "file") {
        test_shared();
        test_not_writable();
        return fc_check_end();
    }
    FC_CHECK_OK(fci_cuda_start(0));
    if (!FC_CHECK(library() != nullptr)) {
        return fc_check_end();
    }
    library()->corner_only = true;
    if (what == "choice") {
        test_choice();
    } else if (what == "sums") {
        test_sums();
    } else if (what == "memory") {
        test_memory();
    }
    fci_cuda_stop();
    return fc_check_end();
}
