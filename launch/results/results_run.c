/* The record of a run in memory: columns that grow together. */
#include "core/memory.h"
#include "launch/results/results_internal.h"

#include <math.h>
#include <string.h>

#define XX(constant, field) [FC_TRAIN_##constant] = #field,
const char *const fc_train_column[FC_TRAIN_COLUMNS] = {FC_TRAIN_COLUMN_MAP(XX)};
#undef XX
#define XX(constant, field) [FC_BOX_##constant] = #field,
const char *const fc_box_column[FC_BOX_COLUMNS] = {FC_BOX_COLUMN_MAP(XX)};
#undef XX
#define XX(constant, field) [FC_RETRIEVAL_##constant] = #field,
const char *const fc_retrieval_column[FC_RETRIEVAL_COLUMNS] = {FC_RETRIEVAL_COLUMN_MAP(XX)};
#undef XX

fc_status fci_run_column(double **out, int64_t n, const char *what)
{
    void *memory = NULL;
    FC_TRY(fc_try_alloc(&memory, (size_t)n, sizeof(double), what));
    *out = memory;
    for (int64_t i = 0; i < n; i++) {
        (*out)[i] = NAN;
    }
    return FC_OK;
}

static void grow(double **column, int64_t from, int64_t to)
{
    *column = fc_realloc(*column, (size_t)to, sizeof **column);
    for (int64_t i = from; i < to; i++) {
        (*column)[i] = NAN;
    }
}

void fci_run_reserve_row(fc_run *run)
{
    if (run->rows < run->row_capacity) {
        return;
    }
    int64_t to = 2 * run->row_capacity + 64;
    run->step = fc_realloc(run->step, (size_t)to, sizeof *run->step);
    for (int i = 0; i < FC_TRAIN_COLUMNS; i++) {
        grow(&run->train[i], run->rows, to);
    }
    for (int i = 0; i < run->terms; i++) {
        grow(&run->term[i], run->rows, to);
    }
    run->row_capacity = to;
}

void fci_run_reserve_eval(fc_run *run)
{
    if (run->evals < run->eval_capacity) {
        return;
    }
    int64_t to = 2 * run->eval_capacity + 8;
    grow(&run->eval_epoch, run->evals, to);
    for (int i = 0; i < FC_BOX_COLUMNS; i++) {
        grow(&run->box[i], run->evals, to);
    }
    for (int i = 0; i < FC_RETRIEVAL_COLUMNS; i++) {
        grow(&run->retrieval[i], run->evals, to);
        for (int s = 0; s < run->sets; s++) {
            grow(&run->set[s].column[i], run->evals, to);
        }
    }
    run->regions = fc_realloc(run->regions, (size_t)to, sizeof *run->regions);
    memset(run->regions + run->evals, 0, (size_t)(to - run->evals) * sizeof *run->regions);
    if (run->categories > 0) {
        grow(&run->per_category_top1, run->evals * run->categories, to * run->categories);
    }
    run->eval_capacity = to;
}

fc_retrieval_set *fci_run_set(fc_run *run, const char *name)
{
    for (int i = 0; i < run->sets; i++) {
        if (strcmp(run->set[i].name, name) == 0) {
            return &run->set[i];
        }
    }
    run->set = fc_realloc(run->set, (size_t)run->sets + 1, sizeof *run->set);
    fc_retrieval_set *set = &run->set[run->sets++];
    *set = (fc_retrieval_set){.name = fc_strdup(name)};
    for (int i = 0; i < FC_RETRIEVAL_COLUMNS; i++) {
        grow(&set->column[i], 0, run->eval_capacity);
    }
    return set;
}

static void free_sets(fc_run *run)
{
    for (int s = 0; s < run->sets; s++) {
        fc_free(&run->set[s].name);
        fc_free(&run->set[s].protocol);
        for (int i = 0; i < FC_RETRIEVAL_COLUMNS; i++) {
            fc_free(&run->set[s].column[i]);
        }
    }
    fc_free(&run->set);
}

int fci_run_term(fc_run *run, const char *name)
{
    for (int i = 0; i < run->terms; i++) {
        if (strcmp(run->term_name[i], name) == 0) {
            return i;
        }
    }
    size_t count = (size_t)run->terms + 1;
    run->term_name = fc_realloc(run->term_name, count, sizeof *run->term_name);
    run->term = fc_realloc(run->term, count, sizeof *run->term);
    run->term_name[run->terms] = fc_strdup(name);
    run->term[run->terms] = NULL;
    grow(&run->term[run->terms], 0, run->row_capacity);
    return run->terms++;
}

void fc_run_destroy(fc_run **run)
{
    fc_run *r = *run;
    if (r == NULL) {
        return;
    }
    char **texts[] = {&r->path,
                      &r->name,
                      &r->config,
                      &r->code_version,
                      &r->started,
                      &r->finished,
                      &r->status,
                      &r->device,
                      &r->precision,
                      &r->box_protocol,
                      &r->retrieval_protocol};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fc_free(texts[i]);
    }
    for (int i = 0; i < FC_TRAIN_COLUMNS; i++) {
        fc_free(&r->train[i]);
    }
    for (int i = 0; i < r->terms; i++) {
        fc_free(&r->term_name[i]);
        fc_free(&r->term[i]);
    }
    for (int i = 0; i < FC_BOX_COLUMNS; i++) {
        fc_free(&r->box[i]);
    }
    for (int i = 0; i < FC_RETRIEVAL_COLUMNS; i++) {
        fc_free(&r->retrieval[i]);
    }
    free_sets(r);
    fc_free(&r->step);
    fc_free(&r->term_name);
    fc_free(&r->term);
    fc_free(&r->eval_epoch);
    fc_free(&r->regions);
    fc_free(&r->per_category_top1);
    fc_free(&r->epoch_seconds);
    fc_free(&r->peak_device_bytes);
    fc_free(&r->peak_host_bytes);
    fci_run_free_incidents(r);
    fc_free(run);
}
