#include "launch/device.h"

#include "core/cuda/cuda.h"
#include "core/fatal.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/rehearsal.h"
#include "launch/dist.h"
#include "launch/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The rank's CUDA device: opened once, as a sweep runs many experiments in one process. */
static const fc_backend *cuda;
static bool connected; /* with those of the other ranks */

const char *fc_precision_name(fc_dtype compute)
{
    return compute == FC_F64 ? "fp64" : compute == FC_BF16 ? "bf16" : "fp32";
}

fc_device fc_device_cpu(const fc_config *config)
{
    return (fc_device){fc_backend_cpu(), config->precision == FC_PRECISION_FP64 ? FC_F64 : FC_F32};
}

static fc_dtype cuda_type(const fc_config *config)
{
    return config->precision == FC_PRECISION_FP32 ? FC_F32 : FC_BF16;
}

int64_t fc_device_peak_bytes(void)
{
    return cuda != NULL ? cuda->peak() : 0;
}

void fc_device_close(void)
{
    if (cuda != NULL) {
        fc_cuda_close();
        cuda = NULL;
        connected = false;
    }
}

/* Whether to use CUDA: all ranks or none. */
static fc_status decide(const fc_config *config, fc_comm *comm, bool *use_cuda)
{
    int64_t devices = config->device == FC_DEVICE_CPU ? 0 : fc_cuda_device_count();
    int64_t some = devices > 0, all = some;
    *use_cuda = false;
    if (config->device == FC_DEVICE_CUDA && !fc_cuda_is_built()) {
        return fc_config_error(config, FC_USAGE, "device",
                               "this build has no CUDA backend (no nvcc was found); use cpu or "
                               "auto");
    }
    if (config->device == FC_DEVICE_CUDA && config->precision == FC_PRECISION_FP64) {
        return fc_config_error(config, FC_USAGE, "precision", "fp64 is for device: cpu");
    }
    FC_TRY(fc_comm_all_reduce(comm, &all, 1, FC_COMM_I64, FC_COMM_MIN));
    FC_TRY(fc_comm_all_reduce(comm, &some, 1, FC_COMM_I64, FC_COMM_MAX));
    if (config->device == FC_DEVICE_CUDA && all == 0) {
        return fc_config_error(config, FC_USAGE, "device",
                               "%s; use cpu or auto, or look at nvidia-smi",
                               some != 0 ? "some ranks see no CUDA device"
                                         : "there is no CUDA device here, or no driver for it");
    }
    if (some != all) {
        return fc_config_error(config, FC_USAGE, "device",
                               "some ranks see a CUDA device and others none: use cpu, or give "
                               "every rank one");
    }
    *use_cuda = all != 0 && config->precision != FC_PRECISION_FP64;
    if (!*use_cuda && config->precision == FC_PRECISION_BF16) {
        return fc_config_error(config, FC_USAGE, "precision",
                               "bf16 needs a CUDA device; use fp32, fp64 or auto");
    }
    return FC_OK;
}

/* Two ranks on one device compute in turn, and NCCL refuses them. */
static fc_status check_shared(const fc_config *config, fc_comm *comm)
{
    const int ranks = fc_comm_size(comm);
    int64_t *identity = fc_alloc((size_t)ranks, sizeof *identity);
    fc_status status = fc_comm_all_gather_i64(comm, (int64_t)fc_cuda_device_identity(), identity);
    for (int a = 0; status == FC_OK && a < ranks; a++) {
        for (int b = a + 1; status == FC_OK && b < ranks; b++) {
            if (identity[a] == identity[b]) {
                status = fc_config_error(
                    config, FC_USAGE, "device",
                    "ranks %d and %d would share a CUDA device: start as many ranks a host as it "
                    "has devices, or set run.staged_collectives: true (slow, for tests)",
                    a, b);
            }
        }
    }
    fc_free(&identity);
    return status;
}

static void name_place(int index)
{
    char host[128] = "", place[192];
    (void)gethostname(host, sizeof host - 1);
    snprintf(place, sizeof place, "%s gpu%d", host, index);
    fc_fatal_set_place(place);
}

/* Heap; NULL where the environment names no place. */
static char *cache_folder(void)
{
    const char *own = getenv("FINECLIP_CACHE"), *users = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (own != NULL && *own != '\0') {
        return fc_strdup(own);
    }
    if (users != NULL && *users == '/') { /* what is relative is to be ignored */
        return fc_format("%s/fineclip", users);
    }
    return home != NULL && *home != '\0' ? fc_format("%s/.cache/fineclip", home) : NULL;
}

/* Algorithms of products: the fastest ones, unless the run promises the same bits each time. */
static void tune(const fc_config *config)
{
    if (config->deterministic) {
        fc_cuda_tune_products(false, NULL);
        return;
    }
    char *folder = cache_folder();
    if (folder != NULL && fc_folder_make(folder) != FC_OK) {
        fc_error_clear(); /* whoever writes there says that it cannot */
    }
    fc_cuda_tune_products(true, folder);
    fc_free(&folder);
}

static fc_status open_cuda(const fc_comm *comm)
{
    const int index = fc_comm_local_rank(comm) % fc_cuda_device_count();
    fc_status status = fc_dist_agree(fc_cuda_open(&cuda, index));
    if (status != FC_OK) { /* of another rank, maybe: all begin anew */
        fc_device_close();
        return status;
    }
    name_place(index);
    fc_log_info("computing on %s", fc_cuda_device_name());
    return FC_OK;
}

fc_status fc_device_open(fc_device *out, const fc_config *config, fc_comm *comm)
{
    bool use_cuda;
    *out = fc_device_cpu(config);
    FC_TRY(fc_dist_agree(decide(config, comm, &use_cuda)));
    if (!use_cuda) {
        return FC_OK;
    }
    if (cuda == NULL) {
        FC_TRY(open_cuda(comm));
    }
    if (fc_comm_size(comm) > 1 && !config->run.staged_collectives && !connected) {
        FC_TRY(check_shared(config, comm));
        FC_TRY(fc_dist_agree(fc_cuda_connect(comm)));
        connected = true;
    }
    tune(config);
    out->backend = cuda;
    out->compute = cuda_type(config);
    return FC_OK;
}

fc_status fc_device_plan(fc_device *out, const fc_config *config, fc_comm *comm)
{
    int64_t devices = fc_cuda_device_count();
    FC_TRY(fc_comm_all_reduce(comm, &devices, 1, FC_COMM_I64, FC_COMM_MAX));
    const bool elsewhere = config->device == FC_DEVICE_CUDA && devices == 0;
    if (!elsewhere || config->precision == FC_PRECISION_FP64) { /* a mistake there as well */
        return fc_device_open(out, config, comm);
    }
    *out = (fc_device){fc_rehearsal(false), cuda_type(config)};
    return FC_OK;
}
