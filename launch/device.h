/* Which backend a run computes on, and in which precision. */
#ifndef FC_LAUNCH_DEVICE_H
#define FC_LAUNCH_DEVICE_H

#include "core/backend.h"
#include "core/comm.h"
#include "launch/config/config.h"

typedef struct fc_device {
    const fc_backend *backend;
    fc_dtype compute; /* of tapes */
} fc_device;

/** The CPU, in the precision the configuration asks for there (bf16 becomes fp32). */
fc_device fc_device_cpu(const fc_config *config);
/** What device and precision say; opens this rank's CUDA device the first time, which stays open
 * until fc_device_close. Collective; every rank gets the same outcome.
 *  Errors FC_USAGE no CUDA in this build or on this host, a precision the device has not, two ranks
 *         on one device without run.staged_collectives; FC_RUNTIME a device that does not start */
FC_NODISCARD fc_status fc_device_open(fc_device *out, const fc_config *config, fc_comm *comm);
/** The same for a plan, which computes nothing: device: cuda may be where none is, as where jobs
 * are submitted, and is then a rehearsal (core/rehearsal.h). Collective. */
FC_NODISCARD fc_status fc_device_plan(fc_device *out, const fc_config *config, fc_comm *comm);
void fc_device_close(void);
/** "fp32", "fp64", "bf16". */
const char *fc_precision_name(fc_dtype compute);
/** Most bytes this rank ever held on its CUDA device; 0 without one. */
int64_t fc_device_peak_bytes(void);

#endif
