/* The CPU's kernel tables, from the same lines as the struct: a kernel that is missing does not
 * link. */
#include "core/kernel.h"

#define FC_OP_FORWARD(name)                                                                        \
    void fc_cpu_##name##_fwd_f32(const fci_##name##_args *args, fc_arena *scratch);                \
    void fc_cpu_##name##_fwd_f64(const fci_##name##_args *args, fc_arena *scratch);
#define FC_OP(name)                                                                                \
    FC_OP_FORWARD(name)                                                                            \
    void fc_cpu_##name##_bwd_f32(const fci_##name##_args *args, fc_arena *scratch);                \
    void fc_cpu_##name##_bwd_f64(const fci_##name##_args *args, fc_arena *scratch);
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD

static const fci_kernels kernels_f32 = {
#define FC_OP_FORWARD(name) .name##_fwd = fc_cpu_##name##_fwd_f32,
#define FC_OP(name) FC_OP_FORWARD(name).name##_bwd = fc_cpu_##name##_bwd_f32,
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD
};

static const fci_kernels kernels_f64 = {
#define FC_OP_FORWARD(name) .name##_fwd = fc_cpu_##name##_fwd_f64,
#define FC_OP(name) FC_OP_FORWARD(name).name##_bwd = fc_cpu_##name##_bwd_f64,
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD
};

const fci_kernels *fci_kernels_cpu(fc_dtype dtype)
{
    return dtype == FC_F64 ? &kernels_f64 : &kernels_f32;
}
