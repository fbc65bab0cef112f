/* How kernels share rows and sums between threads, so that results depend on the number of threads
 * alone and never on their timing. */
#ifndef FC_CORE_CPU_THREADS_H
#define FC_CORE_CPU_THREADS_H

#include "core/cpu/real.h"

#include <omp.h>

/** This thread's part [*begin, *end) of n items, in multiples of `unit`. */
static inline void fci_share(int64_t n, int64_t unit, int64_t *begin, int64_t *end)
{
    int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    int64_t units = (n + unit - 1) / unit;
    *begin = units * thread / threads * unit;
    *end = units * (thread + 1) / threads * unit;
    *begin = *begin < n ? *begin : n;
    *end = *end < n ? *end : n;
}

/** out = or += the sum of `parts` arrays of n reals that lie one after another, in their order. */
static inline void fci_sum_parts(fci_out out, const real *parts, int64_t count, int64_t n)
{
    real *y = out.at;
    for (int64_t j = 0; j < n; j++) {
        real sum = 0;
        for (int64_t i = 0; i < count; i++) {
            sum += parts[i * n + j];
        }
        y[j] = out.add ? y[j] + sum : sum;
    }
}

#endif
