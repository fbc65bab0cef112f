/* Tensors: contiguous arrays of the tape's real type in its backend's memory, rows by columns (all
 * axes but the last count as rows). Some parameters stay float where the tape is bf16. */
#ifndef FC_CORE_TENSOR_H
#define FC_CORE_TENSOR_H

#include "core/status.h"

#include <stdint.h>

typedef enum { FC_F32, FC_F64, FC_BF16 } fc_dtype; /* bf16: on devices alone */

static inline size_t fc_dtype_bytes(fc_dtype dtype)
{
    return dtype == FC_F64 ? 8 : dtype == FC_F32 ? 4 : 2;
}

/* What goes with tensors of this type and is never kept in less than a float: statistics, master
 * weights, gradients of parameters, values of losses, and copies on the host. */
static inline fc_dtype fc_dtype_wide(fc_dtype dtype)
{
    return dtype == FC_F64 ? FC_F64 : FC_F32;
}

struct fc_params;

typedef struct fc_tensor {
    fc_dtype dtype;
    int ndim; /* 0..4; 0 is a scalar */
    int64_t shape[4];
    int64_t rows, cols; /* product of the leading axes, last axis; 1 where absent */
    void *data;
    void *grad; /* same shape; NULL until a gradient arrives (parameters: always there when trained)
                 */
    bool needs_grad;
    bool
        on_host; /* data and grad are the process's memory whatever the backend: values of losses */
    struct fc_params
        *params; /* a view of parameters [param_first, param_first + param_count), else NULL */
    int param_first, param_count;
} fc_tensor;

static inline int64_t fc_tensor_count(const fc_tensor *t)
{
    return t->rows * t->cols;
}

static inline size_t fc_tensor_bytes(const fc_tensor *t)
{
    return (size_t)fc_tensor_count(t) * fc_dtype_bytes(t->dtype);
}

#endif
