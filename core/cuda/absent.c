/* The CUDA backend of a build without the toolkit: there is none. */
#include "core/cuda/cuda.h"

bool fc_cuda_is_built(void)
{
    return false;
}

int fc_cuda_device_count(void)
{
    return 0;
}

static fc_status absent(void)
{
    return FC_FAIL(FC_BUG, "this build has no CUDA backend");
}

fc_status fc_cuda_open(const fc_backend **out, int index)
{
    (void)index;
    *out = NULL;
    return absent();
}

void fc_cuda_close(void)
{
}

fc_status fc_cuda_connect(fc_comm *comm)
{
    (void)comm;
    return absent();
}

void fc_cuda_tune_products(bool on, const char *folder)
{
    (void)on;
    (void)folder;
}

const char *fc_cuda_device_name(void)
{
    return "none";
}

uint64_t fc_cuda_device_identity(void)
{
    return 0;
}

double fc_cuda_time_product(fc_dtype type, int64_t side)
{
    (void)type;
    (void)side;
    return 0;
}
