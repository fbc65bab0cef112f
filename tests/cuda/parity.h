/* Kernels of the device against the CPU's in double: the same random inputs, every output compared,
 * twice, the second time in another order of threads where they are emulated: the same bits. */
#ifndef FC_TESTS_CUDA_PARITY_H
#define FC_TESTS_CUDA_PARITY_H

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "core/cuda/cuda.h"
}

/** Take the device; false where there is none: the test is skipped (77). */
bool parity_begin(void);

enum { CPU, DEVICE };
/* An array on both sides: [CPU] double (or raw), [DEVICE] of the case's type (or float, or raw). */
typedef std::array<void *, 2> both;

class parity_case
{
  public:
    /** type: of the device's tape. Values are drawn from a stream of the name and the seed alone.
     */
    parity_case(const std::string &name, fc_dtype type);
    ~parity_case();
    parity_case(const parity_case &) = delete;
    parity_case &operator=(const parity_case &) = delete;

    /** Normal values times scale plus shift, of the tape's type or of float on the device. */
    both in(int64_t count, double scale = 1, double shift = 0);
    both in_float(int64_t count, double scale = 1, double shift = 0);
    /** Outputs start as random values: what a kernel leaves alone, or adds to, shows. */
    both out(int64_t count);
    both out_float(int64_t count);
    both out_double(int64_t count);
    /** The same bytes on both sides. */
    template <typename I> both raw(const std::vector<I> &values)
    {
        return raw_bytes(values.data(), values.size() * sizeof(I));
    }
    /** Absolute values in place of an output's, on both sides. */
    void make_positive(const both &values);
    /** What the device's side of an array holds now. */
    std::vector<double> on_device(const both &values);
    /** Run both sides and compare all outputs made so far: relative l2 of an array, or of the
     * tolerance where the array is tiny. Then outputs stay as they are, inputs of what follows. */
    template <typename A>
    void check(const char *what, const std::function<A(int side)> &args,
               void (*cpu)(const A *, fc_arena *), void (*device)(const A *, fc_arena *),
               double tolerance_f32 = 2e-6, double tolerance_bf16 = 8e-3)
    {
        const A on_cpu = args(CPU), on_device = args(DEVICE);
        run(
            what, [&](fc_arena *s) { cpu(&on_cpu, s); },
            [&](fc_arena *s) { device(&on_device, s); },
            type == FC_F32 ? tolerance_f32 : tolerance_bf16);
    }
    const fci_kernels *cpu() const;
    const fci_kernels *device() const;
    const fc_dtype type;

  private:
    struct array;
    array &of(const both &values);
    both raw_bytes(const void *bytes, size_t size);
    both add(int64_t count, fc_dtype device_type, bool output, double scale, double shift);
    void run(const char *what, const std::function<void(fc_arena *)> &cpu,
             const std::function<void(fc_arena *)> &device, double tolerance);
    std::string name;
    uint64_t stream;
    std::vector<std::unique_ptr<array>> arrays;
};

#endif
