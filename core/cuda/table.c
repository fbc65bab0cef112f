/* The device's kernel tables, from the same lines as the struct: a kernel that is missing does not
 * link. */
#include "core/cuda/cuda.h"

#define FC_OP_FORWARD(name)                                                                        \
    void fc_cuda_##name##_fwd_f32(const fci_##name##_args *args, fc_arena *scratch);               \
    void fc_cuda_##name##_fwd_bf16(const fci_##name##_args *args, fc_arena *scratch);
#define FC_OP(name)                                                                                \
    FC_OP_FORWARD(name)                                                                            \
    void fc_cuda_##name##_bwd_f32(const fci_##name##_args *args, fc_arena *scratch);               \
    void fc_cuda_##name##_bwd_bf16(const fci_##name##_args *args, fc_arena *scratch);
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD

static const fci_kernels kernels_f32 = {
#define FC_OP_FORWARD(name) .name##_fwd = fc_cuda_##name##_fwd_f32,
#define FC_OP(name) FC_OP_FORWARD(name).name##_bwd = fc_cuda_##name##_bwd_f32,
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD
};

static const fci_kernels kernels_bf16 = {
#define FC_OP_FORWARD(name) .name##_fwd = fc_cuda_##name##_fwd_bf16,
#define FC_OP(name) FC_OP_FORWARD(name).name##_bwd = fc_cuda_##name##_bwd_bf16,
#include "core/op.def"
#undef FC_OP
#undef FC_OP_FORWARD
};

const fci_kernels *fci_kernels_cuda(fc_dtype dtype)
{
    FC_ASSERT(dtype != FC_F64);
    return dtype == FC_BF16 ? &kernels_bf16 : &kernels_f32;
}
