#include "tests/cuda/parity.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
#include "core/bf16.h"
#include "core/rng.h"
#include "tests/check.h"
}

#ifdef FC_CUDA_EMULATED
#include "tests/cuda/emulate.h"
#else
#include "core/cuda/runtime.h"
#endif

enum { SEED = 20260101 };

static const fc_backend *backend; /* the real device, or NULL */

/* What kernels reach: plain device memory, as training has it, and a copy on the host. Emulated:
 * exactly as many bytes as it holds, so that the address sanitizer sees a step too far. */
static char *device_bytes(size_t bytes)
{
#ifdef FC_CUDA_EMULATED
    return new char[bytes];
#else
    return static_cast<char *>(fci_cuda_alloc(bytes));
#endif
}

struct release_bytes {
    void operator()(char *at) const
    {
#ifdef FC_CUDA_EMULATED
        delete[] at;
#else
        fci_cuda_free(at);
#endif
    }
};
typedef std::unique_ptr<char[], release_bytes> bytes_ptr;

static void to_device(char *device, const char *host, size_t bytes)
{
    if (backend != nullptr) {
        backend->upload(device, host, bytes);
    } else if (bytes > 0) {
        std::memcpy(device, host, bytes);
    }
}

static void from_device(char *host, const char *device, size_t bytes)
{
    if (backend != nullptr) {
        backend->download(host, device, bytes);
    } else if (bytes > 0) {
        std::memcpy(host, device, bytes);
    }
}

/* Threads of the emulation take their turns in rising, then in falling order. */
static void turn_order(bool falling)
{
#ifdef FC_CUDA_EMULATED
    emulate_order(falling ? EMULATE_FALLING : EMULATE_RISING);
#else
    (void)falling;
#endif
}

bool parity_begin(void)
{
#ifndef FC_CUDA_EMULATED
    if (fc_cuda_device_count() == 0) {
        std::printf("no CUDA device: skipped\n");
        return false;
    }
    if (!fc_check_ok(fc_cuda_open(&backend, 0), __FILE__, __LINE__, "fc_cuda_open")) {
        return true; /* the test fails */
    }
    std::printf("on %s\n", fc_cuda_device_name());
#endif
    return true;
}

struct parity_case::array {
    int64_t count = 0;
    size_t bytes = 0; /* of the device's side */
    fc_dtype device_type = FC_F32;
    bool output = false;
    std::unique_ptr<double[]> cpu;
    bytes_ptr device;
    std::vector<char> host, before; /* what the device's side held when it was last looked at */
};

static double get(const char *data, fc_dtype type, int64_t i)
{
    if (type == FC_F64) {
        return reinterpret_cast<const double *>(data)[i];
    }
    return (double)(type == FC_F32
                        ? reinterpret_cast<const float *>(data)[i]
                        : fci_bf16_to_float(reinterpret_cast<const uint16_t *>(data)[i]));
}

static double put(char *data, fc_dtype type, int64_t i, double x)
{
    if (type == FC_F64) {
        reinterpret_cast<double *>(data)[i] = x;
    } else if (type == FC_F32) {
        reinterpret_cast<float *>(data)[i] = (float)x;
    } else {
        reinterpret_cast<uint16_t *>(data)[i] = fci_bf16_of((float)x);
    }
    return get(data, type, i);
}

parity_case::parity_case(const std::string &name_, fc_dtype type_)
    : type(type_), name(name_), stream(0)
{
    name += type == FC_F32 ? " f32" : " bf16";
}

parity_case::~parity_case() = default;

const fci_kernels *parity_case::cpu() const
{
    return fci_kernels_cpu(FC_F64);
}

const fci_kernels *parity_case::device() const
{
    return fci_kernels_cuda(type);
}

both parity_case::add(int64_t count, fc_dtype device_type, bool output, double scale, double shift)
{
    arrays.emplace_back(new array());
    array &a = *arrays.back();
    a.count = count;
    a.device_type = device_type;
    a.output = output;
    a.bytes = (size_t)count * fc_dtype_bytes(device_type);
    a.cpu.reset(new double[(size_t)count]);
    a.device.reset(device_bytes(a.bytes));
    a.host.resize(a.bytes);
    fc_rng rng = fc_rng_stream(SEED, FC_RNG_TEST, fc_rng_hash(name.c_str()), stream++);
    for (int64_t i = 0; i < count; i++) {
        a.cpu[(size_t)i] = put(a.host.data(), device_type, i, fc_rng_normal(&rng) * scale + shift);
    }
    to_device(a.device.get(), a.host.data(), a.bytes);
    return {a.cpu.get(), a.device.get()};
}

both parity_case::in(int64_t count, double scale, double shift)
{
    return add(count, type, false, scale, shift);
}

both parity_case::in_float(int64_t count, double scale, double shift)
{
    return add(count, FC_F32, false, scale, shift);
}

both parity_case::out(int64_t count)
{
    return add(count, type, true, 1, 0);
}

both parity_case::out_float(int64_t count)
{
    return add(count, FC_F32, true, 1, 0);
}

both parity_case::out_double(int64_t count)
{
    return add(count, FC_F64, true, 1, 0);
}

both parity_case::raw_bytes(const void *bytes, size_t size)
{
    arrays.emplace_back(new array());
    array &a = *arrays.back();
    const char *from = static_cast<const char *>(bytes);
    a.host.assign(from, from + size);
    a.device.reset(device_bytes(size));
    to_device(a.device.get(), a.host.data(), size);
    return {a.host.data(), a.device.get()};
}

parity_case::array &parity_case::of(const both &values)
{
    for (auto &a : arrays) {
        if (a->device.get() == values[DEVICE]) {
            return *a;
        }
    }
    std::abort();
}

void parity_case::make_positive(const both &values)
{
    array &a = of(values);
    for (int64_t i = 0; i < a.count; i++) {
        a.cpu[(size_t)i] = put(a.host.data(), a.device_type, i, std::fabs(a.cpu[(size_t)i]));
    }
    to_device(a.device.get(), a.host.data(), a.bytes);
}

std::vector<double> parity_case::on_device(const both &values)
{
    array &a = of(values);
    std::vector<double> out;
    from_device(a.host.data(), a.device.get(), a.bytes);
    for (int64_t i = 0; i < a.count; i++) {
        out.push_back(get(a.host.data(), a.device_type, i));
    }
    return out;
}

static void wait_for_device(void)
{
    if (backend != nullptr) {
        backend->synchronize();
    }
}

void parity_case::run(const char *what, const std::function<void(fc_arena *)> &cpu_side,
                      const std::function<void(fc_arena *)> &device_side, double tolerance)
{
    fc_arena *host = fc_arena_create();
    cpu_side(host);
    fc_arena_destroy(&host);
    fc_arena *scratch = backend != nullptr ? fc_arena_create_on(backend) : fc_arena_create();
    for (auto &a : arrays) {
        if (a->output && a->bytes > 0) {
            a->before.resize(a->bytes);
            from_device(a->before.data(), a->device.get(), a->bytes);
        }
    }
    turn_order(false);
    device_side(scratch);
    wait_for_device();
    fc_arena_reset(scratch);
    int index = 0;
    for (auto &a : arrays) {
        index++;
        if (!a->output || a->bytes == 0) {
            continue;
        }
        from_device(a->host.data(), a->device.get(), a->bytes);
        double difference = 0, size = 0;
        for (int64_t i = 0; i < a->count; i++) {
            const double want = a->cpu[(size_t)i], have = get(a->host.data(), a->device_type, i);
            if (!(std::isinf(want) && have == want)) { /* infinities must agree */
                difference += (have - want) * (have - want);
                size += want * want;
            }
        }
        const double error = std::sqrt(difference) / std::fmax(std::sqrt(size), 1e-3);
        fc_check_true(error <= tolerance, __FILE__, __LINE__,
                      "%s: %s: array %d is off by %.2g, more than %.2g", name.c_str(), what, index,
                      error, tolerance);
        to_device(a->device.get(), a->before.data(), a->bytes);
    }
    turn_order(true);
    device_side(scratch);
    wait_for_device();
    for (auto &a : arrays) {
        if (a->output && a->bytes > 0) {
            a->before.swap(a->host); /* of the first run */
            from_device(a->host.data(), a->device.get(), a->bytes);
            fc_check_true(std::memcmp(a->host.data(), a->before.data(), a->bytes) == 0, __FILE__,
                          __LINE__, "%s: %s: run again, it gives other bits", name.c_str(), what);
        }
    }
    fc_arena_destroy(&scratch);
    for (auto &a : arrays) { /* both sides go on from the same values */
        for (int64_t i = 0; a->output && i < a->count; i++) {
            a->cpu[(size_t)i] = get(a->host.data(), a->device_type, i);
        }
    }
}
