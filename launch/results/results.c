/* The writer: a record in memory that is saved whole. */
#include "launch/results/results.h"

#include "core/log.h"
#include "core/memory.h"
#include "launch/results/results_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A save costs at most a tenth of the time between saves, and waiting for the disk a fiftieth. */
enum { SAVE_SHARE = 10, SYNC_SHARE = 50, MAX_ASIDE = 10000 };

struct fc_results {
    fc_run *run;
    int terms;
    int *term;                     /* row.terms[i] goes to run->term[term[i]] */
    double saved_at, save_seconds; /* of the last save */
    double synced_at, sync_seconds;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char *time_of_day(void)
{
    time_t seconds = time(NULL);
    struct tm utc;
    char text[64];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return fc_strdup(text);
}

static void set_text(char **text, const char *value)
{
    fc_free(text);
    *text = fc_strdup(value);
}

static fc_status save(fc_results *r, bool sync)
{
    double begin = now();
    sync = sync || begin - r->synced_at >= SYNC_SHARE * r->sync_seconds;
    FC_TRY(fci_run_save(r->run, r->run->path, sync));
    r->saved_at = now();
    if (sync) {
        r->sync_seconds = r->saved_at - begin;
        r->synced_at = r->saved_at;
    } else {
        r->save_seconds = r->saved_at - begin;
    }
    return FC_OK;
}

/* results.h5 -> results.KIND1.h5 with the first number that is free. */
static fc_status move_aside(const char *path, const char *kind, char **out)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t stem =
        dot != NULL && (slash == NULL || dot > slash) ? (size_t)(dot - path) : strlen(path);
    for (int i = 1; i < MAX_ASIDE; i++) {
        char *to = fc_format("%.*s.%s%d%s", (int)stem, path, kind, i, path + stem);
        if (access(to, F_OK) != 0 && errno == ENOENT) {
            if (rename(path, to) != 0) {
                fc_status status =
                    FC_FAIL(FC_RUNTIME, "cannot rename %s to %s: %s", path, to, strerror(errno));
                fc_free(&to);
                return status;
            }
            *out = to;
            return FC_OK;
        }
        fc_free(&to);
    }
    return FC_FAIL(FC_RUNTIME, "cannot rename %s: %d older files beside it", path, MAX_ASIDE);
}

/* The file at path did not load (the thread's last error says why). */
static fc_status give_up_on(const char *path)
{
    char *why = fc_strdup(fc_error_message()), *aside = NULL;
    fc_status status = move_aside(path, "damaged.", &aside);
    if (status == FC_OK) {
        fc_log_warn("cannot go on with results (%s); they are now %s", why, aside);
    }
    fc_free(&aside);
    fc_free(&why);
    return status;
}

/* The record of a run that goes on; NULL where the file is damaged or gone. */
static fc_status load_record(fc_run **out, const char *path)
{
    bool other_version;
    *out = NULL;
    if (access(path, F_OK) != 0) {
        fc_log_warn("%s is gone", path);
        return FC_OK;
    }
    fc_status loaded = fci_run_load(out, path, &other_version);
    if (other_version) {
        char *what = fc_strdup(fc_error_message());
        loaded = FC_FAIL(FC_DATA,
                         "%s: go on with the program that wrote it, or move the file away (a new "
                         "one then starts at the checkpoint)",
                         what);
        fc_free(&what);
        return loaded;
    }
    return loaded == FC_DATA ? give_up_on(path) : loaded;
}

/* In place of a file that is no more: what was saved beside the newest state, which has every row
 * that the state builds on. */
static fc_status load_copy(fc_run **out, const fc_results_resume *resume, const char *path)
{
    fc_status loaded = FC_NOINPUT;
    if (resume->copy != NULL && access(resume->copy, F_OK) == 0) {
        loaded = fc_run_load(out, resume->copy);
    }
    if (loaded == FC_OK) {
        fc_log_warn("going on with the copy of the results at the newest checkpoint, %s; nothing "
                    "is lost",
                    resume->copy);
        fc_free(&(*out)->path);
        (*out)->path = fc_strdup(path);
        return FC_OK;
    }
    fc_log_warn("there is no whole copy beside the checkpoints: results before step %lld are lost, "
                "new ones start here",
                (long long)resume->step + 1);
    return FC_OK;
}

/* What a run goes on with: the file's record, or an empty one with the file out of the way. */
static fc_status start_record(fc_run **out, const char *path, const fc_results_resume *resume)
{
    *out = NULL;
    if (resume != NULL) {
        FC_TRY(load_record(out, path));
        if (*out == NULL) {
            FC_TRY(load_copy(out, resume, path));
        }
    } else if (access(path, F_OK) == 0) {
        char *aside = NULL;
        FC_TRY(move_aside(path, "", &aside));
        fc_log_info("results of an earlier run are now %s", aside);
        fc_free(&aside);
    }
    if (*out == NULL) {
        *out = fc_alloc(1, sizeof **out);
        (*out)->path = fc_strdup(path);
        (*out)->started = time_of_day();
    }
    fc_error_clear();
    return FC_OK;
}

static void cut_off(fc_run *run, const fc_results_resume *resume)
{
    double epoch = resume->epoch + 1e-6; /* epochs are quotients */
    while (run->rows > 0 && run->step[run->rows - 1] > resume->step) {
        run->rows--;
    }
    while (run->evals > 0 && !(run->eval_epoch[run->evals - 1] <= epoch)) {
        run->evals--;
    }
    while (run->epochs > 0 && (double)run->epochs > epoch) {
        run->epochs--;
    }
    fci_run_cut_incidents(run, resume->batch);
}

fc_status fc_results_open(fc_results **out, const char *path, const fc_results_info *info,
                          const fc_results_resume *resume)
{
    *out = NULL;
    fc_run *run;
    FC_TRY(start_record(&run, path, resume));
    if (resume != NULL) {
        cut_off(run, resume);
    }
    set_text(&run->name, info->name);
    set_text(&run->config, info->config);
    set_text(&run->code_version, info->code_version);
    set_text(&run->device, info->device);
    set_text(&run->precision, info->precision);
    set_text(&run->status, "running");
    set_text(&run->finished, "");
    run->world_size = info->world_size;
    run->parameters = info->parameters;
    run->train_images = info->train_images;

    fc_results *r = fc_alloc(1, sizeof *r);
    r->run = run;
    r->terms = info->terms;
    r->term = fc_alloc((size_t)info->terms, sizeof *r->term);
    for (int i = 0; i < info->terms; i++) {
        r->term[i] = fci_run_term(run, info->term_name[i]);
    }
    fc_status status = save(r, true);
    if (status != FC_OK) {
        fc_results_close(&r);
        return status;
    }
    *out = r;
    return FC_OK;
}

fc_status fc_results_step(fc_results *r, const fc_results_row *row)
{
    fc_run *run = r->run;
    if (run->rows > 0 && row->step <= run->step[run->rows - 1]) {
        return FC_FAIL(FC_BUG, "%s: step %lld after step %lld", run->path, (long long)row->step,
                       (long long)run->step[run->rows - 1]);
    }
    fci_run_reserve_row(run);
    int64_t t = run->rows++;
    run->step[t] = row->step;
#define XX(constant, field) run->train[FC_TRAIN_##constant][t] = row->field;
    FC_TRAIN_COLUMN_MAP(XX)
#undef XX
    for (int i = 0; i < run->terms; i++) {
        run->term[i][t] = NAN; /* a term of an earlier part of the run */
    }
    for (int i = 0; i < r->terms; i++) {
        run->term[r->term[i]][t] = row->terms[i];
    }
    return FC_OK;
}

/* Another list of categories than before (the evaluation's data was changed between two parts of
 * the run): rows before keep their means only. */
static fc_status set_categories(fc_run *run, const fc_results_eval_row *row)
{
    if (row->per_category_top1 == NULL || row->categories == run->categories) {
        return FC_OK;
    }
    if (run->categories != 0 && run->evals > 0) {
        fc_log_warn("%s: %lld categories where there were %lld; the accuracies of each category "
                    "start anew",
                    run->path, (long long)row->categories, (long long)run->categories);
    }
    run->categories = row->categories;
    fc_free(&run->per_category_top1);
    return fci_run_column(&run->per_category_top1, run->eval_capacity * run->categories,
                          "per_category_top1");
}

static void set_retrieval_sets(fc_run *run, int64_t e, const fc_results_eval_row *row)
{
    for (int s = 0; s < run->sets; s++) {
        for (int i = 0; i < FC_RETRIEVAL_COLUMNS; i++) {
            run->set[s].column[i][e] = NAN;
        }
    }
    for (int s = 0; s < row->sets; s++) {
        fc_retrieval_set *set = fci_run_set(run, row->set[s].name);
        for (int i = 0; i < FC_RETRIEVAL_COLUMNS; i++) {
            set->column[i][e] = row->set[s].value[i];
        }
        if (row->set[s].protocol != NULL) {
            set_text(&set->protocol, row->set[s].protocol);
        }
    }
}

fc_status fc_results_eval(fc_results *r, const fc_results_eval_row *row)
{
    fc_run *run = r->run;
    bool again = run->evals > 0 && run->eval_epoch[run->evals - 1] == row->epoch;
    FC_TRY(set_categories(run, row));
    fci_run_reserve_eval(run);
    int64_t e = again ? run->evals - 1 : run->evals++;
    run->eval_epoch[e] = row->epoch;
#define XX(constant, field) run->box[FC_BOX_##constant][e] = row->has_box ? row->field : NAN;
    FC_BOX_COLUMN_MAP(XX)
#undef XX
#define XX(constant, field)                                                                        \
    run->retrieval[FC_RETRIEVAL_##constant][e] = row->has_retrieval ? row->field : NAN;
    FC_RETRIEVAL_COLUMN_MAP(XX)
#undef XX
    set_retrieval_sets(run, e, row);
    run->regions[e] = row->has_box ? row->regions : 0;
    for (int64_t k = 0; k < run->categories; k++) {
        run->per_category_top1[e * run->categories + k] =
            row->has_box && row->per_category_top1 != NULL ? row->per_category_top1[k] : NAN;
    }
    run->has_box = run->has_box || row->has_box;
    run->has_retrieval = run->has_retrieval || row->has_retrieval;
    if (row->has_box && row->box_protocol != NULL) {
        set_text(&run->box_protocol, row->box_protocol);
    }
    if (row->has_retrieval && row->retrieval_protocol != NULL) {
        set_text(&run->retrieval_protocol, row->retrieval_protocol);
    }
    return save(r, true);
}

void fc_results_incident(fc_results *r, fc_incident *incident)
{
    fci_run_add_incident(r->run, incident);
}

void fc_results_epoch_seconds(fc_results *r, double seconds)
{
    fc_run *run = r->run;
    if (run->epochs == run->epoch_capacity) {
        run->epoch_capacity = 2 * run->epoch_capacity + 16;
        run->epoch_seconds =
            fc_realloc(run->epoch_seconds, (size_t)run->epoch_capacity, sizeof *run->epoch_seconds);
    }
    run->epoch_seconds[run->epochs++] = seconds;
}

void fc_results_memory(fc_results *r, int64_t ranks, const int64_t *device_bytes,
                       const int64_t *host_bytes)
{
    fc_run *run = r->run;
    size_t bytes = (size_t)ranks * sizeof(int64_t);
    run->ranks = ranks;
    run->peak_device_bytes = fc_realloc(run->peak_device_bytes, bytes, 1);
    run->peak_host_bytes = fc_realloc(run->peak_host_bytes, bytes, 1);
    memcpy(run->peak_device_bytes, device_bytes, bytes);
    memcpy(run->peak_host_bytes, host_bytes, bytes);
}

fc_status fc_results_flush(fc_results *r)
{
    return now() - r->saved_at < SAVE_SHARE * r->save_seconds ? FC_OK : save(r, false);
}

fc_status fc_results_checkpoint(fc_results *r, const char *copy)
{
    FC_TRY(save(r, true));
    return fci_run_save(r->run, copy, true);
}

fc_status fc_results_go_back(fc_results *r, const fc_results_resume *to)
{
    cut_off(r->run, to);
    return save(r, true);
}

fc_status fc_results_finish(fc_results *r, const char *status)
{
    set_text(&r->run->status, status);
    fc_free(&r->run->finished);
    r->run->finished = time_of_day();
    return save(r, true);
}

const fc_run *fc_results_run(const fc_results *r)
{
    return r->run;
}

void fc_results_close(fc_results **r)
{
    if (*r == NULL) {
        return;
    }
    fc_run_destroy(&(*r)->run);
    fc_free(&(*r)->term);
    fc_free(r);
}
