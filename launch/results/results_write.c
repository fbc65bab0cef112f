/* A run's record as an HDF5 file: built in memory, then put in the old one's place. */
#include "core/memory.h"
#include "core/replace.h"
#include "launch/results/results_internal.h"

enum { IMAGE_STEP = 1 << 20 }; /* by how much HDF5 grows the file in memory */

fc_status fci_run_write_array(hid_t group, const char *where, const char *name, hid_t stored,
                              hid_t type, int rank, const hsize_t *dims, const void *values)
{
    hid_t space = H5Screate_simple(rank, dims, NULL);
    hid_t dataset = H5Dcreate2(group, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    fc_status status = FC_OK;
    bool empty = dims[0] == 0 || (rank == 2 && dims[1] == 0);
    if (space < 0 || dataset < 0 ||
        (!empty && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)) {
        status = FC_H5_FAIL(FC_RUNTIME, "cannot write dataset %s of %s", name, where);
    }
    if (dataset >= 0) {
        H5Dclose(dataset);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    return status;
}

fc_status fci_run_write_reals(hid_t group, const char *where, const char *name, int64_t n,
                              const double *values)
{
    hsize_t dims[1] = {(hsize_t)n};
    return fci_run_write_array(group, where, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, dims,
                               values);
}

fc_status fci_run_write_integers(hid_t group, const char *where, const char *name, int64_t n,
                                 const int64_t *values)
{
    hsize_t dims[1] = {(hsize_t)n};
    return fci_run_write_array(group, where, name, H5T_STD_I64LE, H5T_NATIVE_INT64, 1, dims,
                               values);
}

static fc_status write_columns(hid_t group, const char *where, int count, const char *const *name,
                               int64_t n, double *const *values)
{
    for (int i = 0; i < count; i++) {
        FC_TRY(fci_run_write_reals(group, where, name[i], n, values[i]));
    }
    return FC_OK;
}

/* Groups are made, filled by one of these, and closed by in_group. */
typedef fc_status (*fill_fn)(hid_t group, const fc_run *run);

static fc_status in_group(hid_t parent, const char *name, const fc_run *run, fill_fn fill)
{
    hid_t group = H5Gcreate2(parent, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    FC_H5(group, FC_RUNTIME, "cannot write group %s of %s", name, run->path);
    fc_status status = fill(group, run);
    H5Gclose(group);
    return status;
}

static fc_status fill_terms(hid_t group, const fc_run *run)
{
    return write_columns(group, run->path, run->terms, (const char *const *)run->term_name,
                         run->rows, run->term);
}

static fc_status fill_train(hid_t group, const fc_run *run)
{
    FC_TRY(fci_run_write_integers(group, run->path, "step", run->rows, run->step));
    FC_TRY(
        write_columns(group, run->path, FC_TRAIN_COLUMNS, fc_train_column, run->rows, run->train));
    return in_group(group, "losses", run, fill_terms);
}

static fc_status fill_box(hid_t group, const fc_run *run)
{
    if (run->box_protocol != NULL) {
        FC_TRY(fci_h5_set_string(group, run->path, "protocol", run->box_protocol));
    }
    FC_TRY(write_columns(group, run->path, FC_BOX_COLUMNS, fc_box_column, run->evals, run->box));
    FC_TRY(fci_run_write_integers(group, run->path, "regions", run->evals, run->regions));
    if (run->categories > 0) {
        hsize_t dims[2] = {(hsize_t)run->evals, (hsize_t)run->categories};
        FC_TRY(fci_run_write_array(group, run->path, "per_category_top1", H5T_IEEE_F64LE,
                                   H5T_NATIVE_DOUBLE, 2, dims, run->per_category_top1));
    }
    return FC_OK;
}

static fc_status write_retrieval(hid_t group, const fc_run *run, const char *protocol,
                                 double *const *column)
{
    if (protocol != NULL) {
        FC_TRY(fci_h5_set_string(group, run->path, "protocol", protocol));
    }
    return write_columns(group, run->path, FC_RETRIEVAL_COLUMNS, fc_retrieval_column, run->evals,
                         column);
}

static fc_status fill_retrieval(hid_t group, const fc_run *run)
{
    return write_retrieval(group, run, run->retrieval_protocol, run->retrieval);
}

static fc_status write_set(hid_t eval, const fc_run *run, const fc_retrieval_set *set)
{
    char *name = fc_format("retrieval_%s", set->name);
    hid_t group = H5Gcreate2(eval, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    fc_status status = group < 0
                           ? FC_H5_FAIL(FC_RUNTIME, "cannot write group %s of %s", name, run->path)
                           : write_retrieval(group, run, set->protocol, set->column);
    if (group >= 0) {
        H5Gclose(group);
    }
    fc_free(&name);
    return status;
}

static fc_status fill_eval(hid_t group, const fc_run *run)
{
    FC_TRY(fci_run_write_reals(group, run->path, "epoch", run->evals, run->eval_epoch));
    if (run->has_box) {
        FC_TRY(in_group(group, "box_classification", run, fill_box));
    }
    if (run->has_retrieval) {
        FC_TRY(in_group(group, "retrieval", run, fill_retrieval));
    }
    for (int s = 0; s < run->sets; s++) {
        FC_TRY(write_set(group, run, &run->set[s]));
    }
    return FC_OK;
}

static fc_status fill_cost(hid_t group, const fc_run *run)
{
    FC_TRY(fci_run_write_reals(group, run->path, "epoch_seconds", run->epochs, run->epoch_seconds));
    FC_TRY(fci_run_write_integers(group, run->path, "peak_device_bytes", run->ranks,
                                  run->peak_device_bytes));
    return fci_run_write_integers(group, run->path, "peak_host_bytes", run->ranks,
                                  run->peak_host_bytes);
}

static fc_status fill_root(hid_t file, const fc_run *run)
{
    const struct {
        const char *name, *value;
    } texts[] = {{"format", "fineclip-run"},   {"name", run->name},
                 {"config", run->config},      {"code_version", run->code_version},
                 {"started", run->started},    {"finished", run->finished},
                 {"status", run->status},      {"device", run->device},
                 {"precision", run->precision}};
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"version", 1},
                   {"world_size", run->world_size},
                   {"parameters", run->parameters},
                   {"train_images", run->train_images}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        FC_TRY(fci_h5_set_string(file, run->path, texts[i].name, texts[i].value));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        FC_TRY(fci_h5_set_int(file, run->path, numbers[i].name, numbers[i].value));
    }
    FC_TRY(in_group(file, "train", run, fill_train));
    FC_TRY(in_group(file, "eval", run, fill_eval));
    FC_TRY(in_group(file, "cost", run, fill_cost));
    return run->incidents > 0 ? in_group(file, "incidents", run, fci_run_write_incidents) : FC_OK;
}

/* The finished file as bytes in memory. */
static fc_status take_image(hid_t file, const char *path, char **image, size_t *bytes)
{
    FC_H5(H5Fflush(file, H5F_SCOPE_GLOBAL), FC_RUNTIME, "cannot build %s", path);
    ssize_t size = H5Fget_file_image(file, NULL, 0);
    FC_H5(size, FC_RUNTIME, "cannot build %s", path);
    *bytes = (size_t)size;
    *image = fc_alloc(*bytes, 1);
    FC_H5(H5Fget_file_image(file, *image, *bytes), FC_RUNTIME, "cannot build %s", path);
    return FC_OK;
}

static fc_status build(const fc_run *run, char **image, size_t *bytes)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    FC_H5(access, FC_RUNTIME, "cannot build %s", run->path);
    hid_t file = H5Pset_fapl_core(access, IMAGE_STEP, 0) < 0
                     ? -1
                     : H5Fcreate(run->path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    FC_H5(file, FC_RUNTIME, "cannot build %s", run->path);
    fc_status status = fill_root(file, run);
    if (status == FC_OK) {
        status = take_image(file, run->path, image, bytes);
    }
    H5Fclose(file);
    return status;
}

fc_status fci_run_save(const fc_run *run, const char *path, bool sync)
{
    char *image = NULL;
    size_t bytes = 0;
    fc_replace *out = NULL;
    fci_h5_lock();
    fc_status status = build(run, &image, &bytes);
    fci_h5_unlock();
    /* The disk is waited for without the lock, which loader threads want. */
    if (status == FC_OK) {
        FC_TRY_GOTO(status, fc_replace_begin(&out, path), done);
        FC_TRY_GOTO(status, fc_replace_write(out, image, bytes), done);
        FC_TRY_GOTO(status, fc_replace_commit(&out, sync), done);
    }
done:
    fc_replace_abandon(&out);
    fc_free(&image);
    return status;
}
