#include "launch/explain/localization.h"

#include "core/log.h"
#include "launch/hdf5_output.h"

#include <math.h>

fci_localization_mean fci_localization_average(const fci_localization *l, int phrase, int map)
{
    fci_localization_mean mean = {0};
    for (int64_t r = 0; r < l->regions; r++) {
        const int64_t at = fci_localization_at(l, r, phrase, map);
        if (!isnan(l->lift[at])) {
            mean.lift += l->lift[at];
            mean.peak += l->peak[at];
            mean.count++;
        }
    }
    mean.lift = mean.count > 0 ? mean.lift / (double)mean.count : NAN;
    mean.peak = mean.count > 0 ? mean.peak / (double)mean.count : NAN;
    return mean;
}

static fc_status write_reals(const fci_h5_output *out, const char *path, int rank,
                             const hsize_t *dims, const double *values)
{
    return fci_h5_write(out, path, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, rank, dims, values);
}

static fc_status write_all(const fci_h5_output *out, const fci_localization *l, const fc_trained *t,
                           const fc_store *store)
{
    const hsize_t all[3] = {(hsize_t)l->regions, FCI_PHRASES, FCI_MAPS};
    const hsize_t boxes[2] = {(hsize_t)l->regions, 4};
    double lift[FCI_PHRASES * FCI_MAPS], peak[FCI_PHRASES * FCI_MAPS];
    for (int i = 0; i < FCI_PHRASES * FCI_MAPS; i++) {
        const fci_localization_mean mean = fci_localization_average(l, i / FCI_MAPS, i % FCI_MAPS);
        lift[i] = mean.lift;
        peak[i] = mean.peak;
    }
    FC_TRY(fci_h5_set_string(out->file, out->partial, "format", "fineclip-localization"));
    FC_TRY(fci_h5_set_int(out->file, out->partial, "version", 1));
    FC_TRY(fci_h5_set_string(out->file, out->partial, "store", store->path));
    FC_TRY(fc_trained_describe(t, out->file, out->partial));
    FC_TRY(fci_h5_write_strings(out, "/phrases", FCI_PHRASES, fci_phrase_name));
    FC_TRY(fci_h5_write_strings(out, "/maps", FCI_MAPS, fci_map_name));
    FC_TRY(write_reals(out, "/lift", 3, all, l->lift));
    FC_TRY(write_reals(out, "/peak_inside", 3, all, l->peak));
    FC_TRY(write_reals(out, "/mean_lift", 2, all + 1, lift));
    FC_TRY(write_reals(out, "/mean_peak_inside", 2, all + 1, peak));
    return fci_h5_write(out, "/boxes", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, boxes, store->boxes);
}

fc_status fci_localization_write(const fci_localization *l, const fc_trained *t,
                                 const fc_store *store, const char *path)
{
    fci_h5_output out;
    FC_TRY(fci_h5_output_begin(&out, path));
    fci_h5_lock();
    fc_status status = write_all(&out, l, t, store);
    fci_h5_unlock();
    if (status == FC_OK) {
        status = fci_h5_output_commit(&out);
    }
    fci_h5_output_abandon(&out);
    if (status == FC_OK) {
        fc_log_info("written to %s", path);
    }
    return status;
}
