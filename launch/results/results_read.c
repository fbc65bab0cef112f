/* Loading results.h5. The file may come from a crash, another version or a stranger: every dataset
 * is checked for type and length before it is read. */
#include "core/memory.h"
#include "launch/results/results_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_TERMS = 1000, MAX_SETS = 100, MAX_CATEGORIES = 1 << 20 };

typedef fci_run_source source;

/* A 1-D dataset of `type`. want: its length, or -1: any. Absent: *n stays, *out is NULL. */
static fc_status read_array(const source *s, const char *dataset, hid_t type, int64_t want,
                            int64_t *n, void **out)
{
    *out = NULL;
    if (!fci_h5_exists(s->file, dataset)) {
        return FC_OK;
    }
    fci_h5_dataset d;
    FC_TRY(fci_h5_open(&d, s->file, s->path, s->bytes, dataset, type, 1, false));
    fc_status status = FC_OK;
    if (want >= 0 && d.rows != want) {
        status = FC_FAIL(FC_DATA, "%s has %lld rows, want %lld as its neighbours have", d.where,
                         (long long)d.rows, (long long)want);
    } else {
        status = fc_try_alloc(out, (size_t)d.rows, 8, d.where);
    }
    if (status == FC_OK) {
        status = fci_h5_read(&d, 0, d.rows, *out);
        *n = d.rows;
    }
    if (status != FC_OK) {
        fc_free(out);
    }
    fci_h5_close(&d);
    return status;
}

/* A column that has to be there, and that says how many rows its group has. */
static fc_status read_index(const source *s, const char *dataset, hid_t type, int64_t *n,
                            void **out)
{
    FC_TRY(read_array(s, dataset, type, -1, n, out));
    return *out == NULL ? FC_FAIL(FC_DATA, "%s:%s is missing", s->path, dataset) : FC_OK;
}

/* A column of n reals; NaN where the file has none. */
static fc_status read_column(const source *s, const char *dataset, int64_t n, double **out)
{
    void *values = NULL;
    FC_TRY(read_array(s, dataset, H5T_NATIVE_DOUBLE, n, &n, &values));
    if (values == NULL) {
        return fci_run_column(out, n, dataset);
    }
    *out = values;
    return FC_OK;
}

static fc_status read_columns(const source *s, const char *group, int count,
                              const char *const *name, int64_t n, double **out)
{
    for (int i = 0; i < count; i++) {
        char *dataset = fc_format("%s/%s", group, name[i]);
        fc_status status = read_column(s, dataset, n, &out[i]);
        fc_free(&dataset);
        FC_TRY(status);
    }
    return FC_OK;
}

static fc_status read_term_names(const source *s, hid_t group, fc_run *run)
{
    H5G_info_t info;
    FC_H5(H5Gget_info(group, &info), FC_DATA, "%s:/train/losses cannot be read", s->path);
    if (info.nlinks > MAX_TERMS) {
        return FC_FAIL(FC_DATA, "%s:/train/losses has %llu members, want at most %d", s->path,
                       (unsigned long long)info.nlinks, MAX_TERMS);
    }
    for (hsize_t i = 0; i < info.nlinks; i++) {
        char name[256];
        FC_H5(H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                                 H5P_DEFAULT),
              FC_DATA, "%s:/train/losses cannot be read", s->path);
        fci_run_term(run, name);
    }
    return FC_OK;
}

static fc_status read_train(const source *s, fc_run *run)
{
    void *step = NULL;
    FC_TRY(read_index(s, "/train/step", H5T_NATIVE_INT64, &run->rows, &step));
    run->step = step;
    run->row_capacity = run->rows;
    FC_TRY(read_columns(s, "/train", FC_TRAIN_COLUMNS, fc_train_column, run->rows, run->train));
    if (!fci_h5_exists(s->file, "/train/losses")) {
        return FC_OK;
    }
    hid_t group = H5Gopen2(s->file, "/train/losses", H5P_DEFAULT);
    FC_H5(group, FC_DATA, "%s:/train/losses is not a group", s->path);
    fc_status status = read_term_names(s, group, run);
    H5Gclose(group);
    FC_TRY(status);
    for (int i = 0; i < run->terms; i++) {
        fc_free(&run->term[i]); /* the empty column the name came with */
    }
    return read_columns(s, "/train/losses", run->terms, (const char *const *)run->term_name,
                        run->rows, run->term);
}

/* (E,K): the second extent is whatever the file has. */
static fc_status read_per_category(const source *s, fc_run *run)
{
    const char *dataset = "/eval/box_classification/per_category_top1";
    if (!fci_h5_exists(s->file, dataset)) {
        return FC_OK;
    }
    hid_t id = H5Dopen2(s->file, dataset, H5P_DEFAULT);
    FC_H5(id, FC_DATA, "%s:%s is not a dataset", s->path, dataset);
    hid_t space = H5Dget_space(id), type = H5Dget_type(id);
    hsize_t dims[2] = {0, 0};
    void *values = NULL;
    fc_status status = FC_OK;
    if (H5Sget_simple_extent_ndims(space) != 2 ||
        H5Sget_simple_extent_dims(space, dims, NULL) != 2 || dims[0] != (hsize_t)run->evals ||
        H5Tget_class(type) != H5T_FLOAT || dims[1] > MAX_CATEGORIES) {
        status = FC_FAIL(FC_DATA, "%s:%s is not %lld rows of reals", s->path, dataset,
                         (long long)run->evals);
    } else if (fci_h5_too_large((double)dims[0] * (double)dims[1] * sizeof(double), s->bytes)) {
        status =
            FC_FAIL(FC_DATA, "%s:%s says it has %llu x %llu values, more than its file can hold",
                    s->path, dataset, (unsigned long long)dims[0], (unsigned long long)dims[1]);
    } else if (dims[0] > 0 && dims[1] > 0) {
        status = fc_try_alloc(&values, (size_t)(dims[0] * dims[1]), sizeof(double), dataset);
    }
    if (values != NULL &&
        H5Dread(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
        status = FC_H5_FAIL(FC_DATA, "%s:%s cannot be read", s->path, dataset);
    }
    run->categories = (int64_t)dims[1];
    run->per_category_top1 = values; /* freed with the run on failure */
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(id);
    return status;
}

static fc_status read_protocol(const source *s, const char *group, char **out)
{
    hid_t id = H5Gopen2(s->file, group, H5P_DEFAULT);
    FC_H5(id, FC_DATA, "%s:%s is not a group", s->path, group);
    bool found;
    fc_status status = fci_h5_get_string(id, s->path, "protocol", out, &found);
    H5Gclose(id);
    return status;
}

static fc_status read_set(const source *s, fc_run *run, const char *group, const char *name)
{
    if (run->sets == MAX_SETS) {
        return FC_FAIL(FC_DATA, "%s:/eval has more than %d retrieval sets", s->path, MAX_SETS);
    }
    fc_retrieval_set *set = fci_run_set(run, name);
    char *path = fc_format("/eval/%s", group);
    for (int i = 0; i < FC_RETRIEVAL_COLUMNS; i++) {
        fc_free(&set->column[i]); /* the empty column the name came with */
    }
    fc_status status =
        read_columns(s, path, FC_RETRIEVAL_COLUMNS, fc_retrieval_column, run->evals, set->column);
    if (status == FC_OK) {
        status = read_protocol(s, path, &set->protocol);
    }
    fc_free(&path);
    return status;
}

/* Groups /eval/retrieval_NAME. */
static fc_status read_sets(const source *s, fc_run *run)
{
    static const char prefix[] = "retrieval_";
    hid_t eval = H5Gopen2(s->file, "/eval", H5P_DEFAULT);
    FC_H5(eval, FC_DATA, "%s:/eval is not a group", s->path);
    H5G_info_t info = {0};
    fc_status status = FC_OK;
    if (H5Gget_info(eval, &info) < 0) {
        status = FC_H5_FAIL(FC_DATA, "%s:/eval cannot be read", s->path);
    }
    for (hsize_t i = 0; status == FC_OK && i < info.nlinks; i++) {
        char name[256];
        if (H5Lget_name_by_idx(eval, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                               H5P_DEFAULT) < 0) {
            status = FC_H5_FAIL(FC_DATA, "%s:/eval cannot be read", s->path);
        } else if (strncmp(name, prefix, strlen(prefix)) == 0) {
            status = read_set(s, run, name, name + strlen(prefix));
        }
    }
    H5Gclose(eval);
    return status;
}

static fc_status read_eval(const source *s, fc_run *run)
{
    void *epoch = NULL, *regions = NULL;
    FC_TRY(read_index(s, "/eval/epoch", H5T_NATIVE_DOUBLE, &run->evals, &epoch));
    run->eval_epoch = epoch;
    run->eval_capacity = run->evals;
    run->has_box = fci_h5_exists(s->file, "/eval/box_classification");
    run->has_retrieval = fci_h5_exists(s->file, "/eval/retrieval");
    FC_TRY(read_columns(s, "/eval/box_classification", FC_BOX_COLUMNS, fc_box_column, run->evals,
                        run->box));
    FC_TRY(read_columns(s, "/eval/retrieval", FC_RETRIEVAL_COLUMNS, fc_retrieval_column, run->evals,
                        run->retrieval));
    int64_t n = run->evals;
    FC_TRY(read_array(s, "/eval/box_classification/regions", H5T_NATIVE_INT64, n, &n, &regions));
    run->regions = regions != NULL ? regions : fc_alloc((size_t)n, sizeof *run->regions);
    if (run->has_box) {
        FC_TRY(read_protocol(s, "/eval/box_classification", &run->box_protocol));
        FC_TRY(read_per_category(s, run));
    }
    if (run->has_retrieval) {
        FC_TRY(read_protocol(s, "/eval/retrieval", &run->retrieval_protocol));
    }
    return read_sets(s, run);
}

static fc_status read_cost(const source *s, fc_run *run)
{
    void *seconds = NULL, *device = NULL, *host = NULL;
    FC_TRY(read_array(s, "/cost/epoch_seconds", H5T_NATIVE_DOUBLE, -1, &run->epochs, &seconds));
    run->epoch_seconds = seconds;
    run->epoch_capacity = run->epochs;
    FC_TRY(read_array(s, "/cost/peak_device_bytes", H5T_NATIVE_INT64, -1, &run->ranks, &device));
    run->peak_device_bytes = device;
    FC_TRY(read_array(s, "/cost/peak_host_bytes", H5T_NATIVE_INT64,
                      device == NULL ? -1 : run->ranks, &run->ranks, &host));
    run->peak_host_bytes = host;
    if ((device == NULL) != (host == NULL)) {
        return FC_FAIL(FC_DATA, "%s:/cost has only one of peak_device_bytes and peak_host_bytes",
                       s->path);
    }
    return FC_OK;
}

static fc_status read_attributes(const source *s, fc_run *run)
{
    const struct {
        const char *name;
        char **value;
    } texts[] = {{"name", &run->name},
                 {"config", &run->config},
                 {"code_version", &run->code_version},
                 {"started", &run->started},
                 {"finished", &run->finished},
                 {"status", &run->status},
                 {"device", &run->device},
                 {"precision", &run->precision}};
    const struct {
        const char *name;
        int64_t *value;
    } numbers[] = {{"world_size", &run->world_size},
                   {"parameters", &run->parameters},
                   {"train_images", &run->train_images}};
    bool found;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        FC_TRY(fci_h5_get_string(s->file, s->path, texts[i].name, texts[i].value, &found));
        if (!found) {
            *texts[i].value = fc_strdup("");
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        FC_TRY(fci_h5_get_int(s->file, s->path, numbers[i].name, numbers[i].value, &found));
    }
    return FC_OK;
}

static fc_status check_format(const source *s, bool *other_version)
{
    char *format = NULL;
    bool found;
    FC_TRY(fci_h5_get_string(s->file, s->path, "format", &format, &found));
    fc_status status = FC_OK;
    if (format == NULL || strcmp(format, "fineclip-run") != 0) {
        status = FC_FAIL(FC_DATA, "%s is not a run's results: its format is %s, want fineclip-run",
                         s->path, format == NULL ? "not given" : format);
    }
    fc_free(&format);
    FC_TRY(status);
    int64_t version = 0;
    FC_TRY(fci_h5_get_int(s->file, s->path, "version", &version, NULL));
    *other_version = version != 1;
    return version == 1 ? FC_OK
                        : FC_FAIL(FC_DATA, "%s is of version %lld; this program reads version 1",
                                  s->path, (long long)version);
}

static fc_status load(fc_run *run, bool *other_version)
{
    struct stat info;
    source s = {.path = run->path};
    if (stat(run->path, &info) != 0) {
        return FC_FAIL(FC_NOINPUT, "cannot open %s: %s", run->path, strerror(errno));
    }
    s.bytes = (int64_t)info.st_size;
    /* Nobody holds a lock on this file, and some file systems have none to give. */
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true);
    s.file = H5Fopen(run->path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    FC_H5(s.file, FC_DATA, "%s is not an HDF5 file, or is damaged", run->path);
    fc_status status;
    FC_TRY_GOTO(status, check_format(&s, other_version), done);
    FC_TRY_GOTO(status, read_attributes(&s, run), done);
    FC_TRY_GOTO(status, read_train(&s, run), done);
    FC_TRY_GOTO(status, read_eval(&s, run), done);
    FC_TRY_GOTO(status, read_cost(&s, run), done);
    FC_TRY_GOTO(status, fci_run_read_incidents(&s, run), done);
done:
    H5Fclose(s.file);
    return status;
}

fc_status fci_run_load(fc_run **out, const char *path, bool *other_version)
{
    *other_version = false;
    fc_run *run = fc_alloc(1, sizeof *run);
    run->path = fc_strdup(path);
    fci_h5_lock();
    fc_status status = load(run, other_version);
    fci_h5_unlock();
    *out = NULL;
    if (status != FC_OK) {
        fc_run_destroy(&run);
        return status;
    }
    *out = run;
    return FC_OK;
}

fc_status fc_run_load(fc_run **out, const char *path)
{
    bool other_version;
    return fci_run_load(out, path, &other_version);
}
