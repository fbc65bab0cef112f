/* Where one column of a row of scores comes in the order of all: better scores first, equal ones by
 * index. Written so that a NaN on either side counts against the column asked for, and a collapsed
 * model (all scores equal) finds nothing. */
#ifndef FC_LAUNCH_RANKING_H
#define FC_LAUNCH_RANKING_H

#include "core/tensor.h"

static inline double fci_value_at(const void *data, fc_dtype dtype, int64_t i)
{
    return dtype == FC_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

/** Columns that come before column `own` in row `row` of scores (rows, cols). */
static inline int64_t fci_place_of(const void *scores, fc_dtype dtype, int64_t row, int64_t cols,
                                   int64_t own)
{
    double score = fci_value_at(scores, dtype, row * cols + own);
    int64_t before = 0;
    for (int64_t j = 0; j < cols; j++) {
        double other = fci_value_at(scores, dtype, row * cols + j);
        bool after = other < score || (other == score && j >= own);
        before += !after;
    }
    return before;
}

#endif
