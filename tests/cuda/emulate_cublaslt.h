/* What tests tell the stand-in for cuBLASLt (emulate_cublaslt.c), and what it tells them. The
 * library is found as the real one is, by its name in the loader's places; this is its symbol
 * emulate_lt. */
#ifndef FC_TESTS_CUDA_EMULATE_CUBLASLT_H
#define FC_TESTS_CUDA_EMULATE_CUBLASLT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EMULATE_LT_MOST = 8 };

typedef struct emulate_lt_state {
    /* The test's: algorithms are numbered in the order in which they are suggested. */
    int suggestions;                      /* for any product; 0: none is found */
    double milliseconds[EMULATE_LT_MOST]; /* a product takes, on the clock of events; below 0: it
                                             fails */
    int odd_product; /* of each algorithm, counted from 0: takes this much longer */
    double odd_milliseconds[EMULATE_LT_MOST];
    size_t workspace[EMULATE_LT_MOST];       /* that it needs */
    int64_t depth_multiple[EMULATE_LT_MOST]; /* that the depth has to be of; 0: any */
    bool corner_only; /* four rows and columns of d are computed: large products take no time */
    bool no_sums;     /* no algorithm has sums in its epilogue */
    double sums_milliseconds; /* longer where sums are in the epilogue */
    bool fail_create, fail_product;
    size_t version;
    /* The library's. */
    int queries, checks, products; /* calls */
    int last;                      /* the algorithm of the last product */
    int used[EMULATE_LT_MOST];     /* products by it */
    char refused[256];             /* why a call was not done; "" */
} emulate_lt_state;

#endif
