/* Incidents of a run: in its record, and as groups /incidents/000, 001, ... of its file. */
#include "core/memory.h"
#include "launch/results/results_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_KEPT = 100, MOST_ITEMS = 1 << 24 };

static void free_texts(char ***texts, int64_t n)
{
    for (int64_t i = 0; *texts != NULL && i < n; i++) {
        fc_free(&(*texts)[i]);
    }
    fc_free(texts);
}

void fc_incident_fini(fc_incident *i)
{
    free_texts(&i->term_name, i->terms);
    free_texts(&i->param_name, i->params);
    fc_free(&i->what);
    fc_free(&i->action);
    fc_free(&i->term);
    fc_free(&i->param_norm);
    fc_free(&i->param_grad_norm);
    fc_free(&i->image);
    fc_free(&i->image_id);
    *i = (fc_incident){0};
}

static void remove_at(fc_run *run, int64_t at)
{
    fc_incident_fini(&run->incident[at]);
    run->incidents--;
    memmove(&run->incident[at], &run->incident[at + 1],
            (size_t)(run->incidents - at) * sizeof *run->incident);
}

void fci_run_add_incident(fc_run *run, fc_incident *incident)
{
    for (int64_t i = 0; i < run->incidents; i++) {
        const fc_incident *old = &run->incident[i];
        if (old->step == incident->step && old->batch == incident->batch) {
            remove_at(run, i--); /* the run went back and met it again */
            run->incidents_in_all--;
        }
    }
    if (run->incidents == MOST_KEPT) {
        remove_at(run, 0);
    }
    run->incident = fc_realloc(run->incident, (size_t)run->incidents + 1, sizeof *run->incident);
    run->incident[run->incidents++] = *incident;
    run->incidents_in_all++;
    *incident = (fc_incident){0};
}

void fci_run_cut_incidents(fc_run *run, int64_t batch)
{
    for (int64_t i = 0; i < run->incidents; i++) {
        const fc_incident *incident = &run->incident[i];
        if (incident->batch >= batch && strcmp(incident->action, "stop") != 0) {
            remove_at(run, i--);
            run->incidents_in_all--;
        }
    }
}

void fci_run_free_incidents(fc_run *run)
{
    for (int64_t i = 0; i < run->incidents; i++) {
        fc_incident_fini(&run->incident[i]);
    }
    fc_free(&run->incident);
}

/* ---- Writing ---- */

static fc_status write_texts(hid_t group, const char *where, const char *name, int64_t n,
                             char *const *texts)
{
    hsize_t dims[1] = {(hsize_t)n};
    hid_t type = fci_h5_string_type();
    fc_status status = fci_run_write_array(group, where, name, type, type, 1, dims, texts);
    H5Tclose(type);
    return status;
}

static fc_status write_incident(hid_t group, const char *where, const fc_incident *i)
{
    const struct {
        const char *name;
        double value;
    } reals[] = {{"loss", i->loss},
                 {"gradient_norm", i->grad_norm},
                 {"mean", i->mean},
                 {"deviation", i->deviation}};
    FC_TRY(fci_h5_set_int(group, where, "step", i->step));
    FC_TRY(fci_h5_set_int(group, where, "batch", i->batch));
    FC_TRY(fci_h5_set_string(group, where, "what", i->what));
    FC_TRY(fci_h5_set_string(group, where, "action", i->action));
    for (size_t k = 0; k < sizeof reals / sizeof reals[0]; k++) {
        FC_TRY(fci_h5_set_real(group, where, reals[k].name, reals[k].value));
    }
    FC_TRY(write_texts(group, where, "terms", i->terms, i->term_name));
    FC_TRY(fci_run_write_reals(group, where, "term_losses", i->terms, i->term));
    FC_TRY(write_texts(group, where, "parameters", i->params, i->param_name));
    FC_TRY(fci_run_write_reals(group, where, "parameter_norms", i->params, i->param_norm));
    FC_TRY(fci_run_write_reals(group, where, "gradient_norms", i->params, i->param_grad_norm));
    FC_TRY(fci_run_write_integers(group, where, "images", i->images, i->image));
    return fci_run_write_integers(group, where, "image_ids", i->images, i->image_id);
}

fc_status fci_run_write_incidents(hid_t group, const fc_run *run)
{
    FC_TRY(fci_h5_set_int(group, run->path, "count", run->incidents_in_all));
    for (int64_t i = 0; i < run->incidents; i++) {
        char name[32];
        snprintf(name, sizeof name, "%03" PRId64, i);
        hid_t one = H5Gcreate2(group, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        FC_H5(one, FC_RUNTIME, "cannot write group %s of %s", name, run->path);
        fc_status status = write_incident(one, run->path, &run->incident[i]);
        H5Gclose(one);
        FC_TRY(status);
    }
    return FC_OK;
}

/* ---- Reading ---- */

static fc_status open_items(const fci_run_source *s, const char *group, const char *name,
                            hid_t type, int64_t want, fci_h5_dataset *d)
{
    char *path = fc_format("%s/%s", group, name);
    fc_status status = type < 0 ? fci_h5_open_strings(d, s->file, s->path, s->bytes, path)
                                : fci_h5_open(d, s->file, s->path, s->bytes, path, type, 1, false);
    if (status == FC_OK && ((want >= 0 && d->rows != want) || d->rows > MOST_ITEMS)) {
        status = FC_FAIL(FC_DATA, "%s has %lld rows, want as many as its neighbours", d->where,
                         (long long)d->rows);
        fci_h5_close(d);
    }
    fc_free(&path);
    return status;
}

/* A dataset of 8-byte items, or of texts (type -1). want -1: *n becomes its length. */
static fc_status read_items(const fci_run_source *s, const char *group, const char *name,
                            hid_t type, int64_t want, int64_t *n, void **out)
{
    fci_h5_dataset d;
    FC_TRY(open_items(s, group, name, type, want, &d));
    fc_status status = fc_try_alloc(out, (size_t)d.rows, 8, d.where);
    if (status == FC_OK) {
        status = type < 0 ? fci_h5_read_strings(&d, 0, d.rows, (char **)*out)
                          : fci_h5_read(&d, 0, d.rows, *out);
        if (status != FC_OK) {
            fc_free(out);
        }
    }
    *n = status == FC_OK ? d.rows : 0;
    fci_h5_close(&d);
    return status;
}

static fc_status read_lists(const fci_run_source *s, const char *group, fc_incident *out)
{
    const hid_t real = H5T_NATIVE_DOUBLE, whole = H5T_NATIVE_INT64;
    int64_t n;
    void *p = NULL;
    FC_TRY(read_items(s, group, "terms", -1, -1, &out->terms, &p));
    out->term_name = p;
    FC_TRY(read_items(s, group, "term_losses", real, out->terms, &n, &p));
    out->term = p;
    FC_TRY(read_items(s, group, "parameters", -1, -1, &out->params, &p));
    out->param_name = p;
    FC_TRY(read_items(s, group, "parameter_norms", real, out->params, &n, &p));
    out->param_norm = p;
    FC_TRY(read_items(s, group, "gradient_norms", real, out->params, &n, &p));
    out->param_grad_norm = p;
    FC_TRY(read_items(s, group, "images", whole, -1, &out->images, &p));
    out->image = p;
    FC_TRY(read_items(s, group, "image_ids", whole, out->images, &n, &p));
    out->image_id = p;
    return FC_OK;
}

static fc_status read_incident(const fci_run_source *s, const char *path, fc_incident *out)
{
    hid_t group = H5Gopen2(s->file, path, H5P_DEFAULT);
    FC_H5(group, FC_DATA, "%s:%s is not a group", s->path, path);
    fc_status status = FC_OK;
    FC_TRY_GOTO(status, fci_h5_get_int(group, s->path, "step", &out->step, NULL), done);
    FC_TRY_GOTO(status, fci_h5_get_int(group, s->path, "batch", &out->batch, NULL), done);
    FC_TRY_GOTO(status, fci_h5_get_string(group, s->path, "what", &out->what, NULL), done);
    FC_TRY_GOTO(status, fci_h5_get_string(group, s->path, "action", &out->action, NULL), done);
    FC_TRY_GOTO(status, fci_h5_get_real(group, s->path, "loss", &out->loss, NULL), done);
    FC_TRY_GOTO(status, fci_h5_get_real(group, s->path, "gradient_norm", &out->grad_norm, NULL),
                done);
    FC_TRY_GOTO(status, fci_h5_get_real(group, s->path, "mean", &out->mean, NULL), done);
    FC_TRY_GOTO(status, fci_h5_get_real(group, s->path, "deviation", &out->deviation, NULL), done);
    FC_TRY_GOTO(status, read_lists(s, path, out), done);
done:
    H5Gclose(group);
    return status;
}

fc_status fci_run_read_incidents(const fci_run_source *s, fc_run *run)
{
    for (int64_t i = 0; i < MOST_KEPT; i++) {
        char path[64];
        snprintf(path, sizeof path, "/incidents/%03" PRId64, i);
        if (!fci_h5_exists(s->file, path)) {
            break;
        }
        fc_incident one = {0};
        fc_status status = read_incident(s, path, &one);
        if (status != FC_OK) {
            fc_incident_fini(&one);
            return status;
        }
        fci_run_add_incident(run, &one);
    }
    if (run->incidents > 0) {
        hid_t group = H5Gopen2(s->file, "/incidents", H5P_DEFAULT);
        FC_H5(group, FC_DATA, "%s:/incidents is not a group", s->path);
        bool found;
        fc_status status = fci_h5_get_int(group, s->path, "count", &run->incidents_in_all, &found);
        H5Gclose(group);
        FC_TRY(status);
    }
    return FC_OK;
}
