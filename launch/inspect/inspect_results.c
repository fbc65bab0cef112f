/* `fineclip inspect` on a run's results. */
#include "core/memory.h"
#include "launch/inspect/inspect.h"
#include "launch/results/results.h"
#include "launch/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPARK_COLUMNS = 60, MOST_EVALS = 14, TEXT_COLUMNS = 90 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

/* Median of what is finite; NaN where nothing is. */
static double median_of(const double *values, int64_t n)
{
    double *sorted = fc_alloc((size_t)n, sizeof *sorted);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(values[i])) {
            sorted[count++] = values[i];
        }
    }
    if (count > 0) {
        qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    }
    double median = count > 0 ? sorted[count / 2] : NAN;
    fc_free(&sorted);
    return median;
}

static void print_head(const fc_run *run)
{
    printf("%s: run \"%s\", %s\n", run->path, run->name,
           run->status[0] == '\0' ? "status unknown" : run->status);
    printf("started   %s%s%s\n", run->started, run->finished[0] == '\0' ? "" : ", finished ",
           run->finished);
    printf("program   %s on %s, %s, %lld rank%s\n", run->code_version, run->device, run->precision,
           (long long)run->world_size, run->world_size == 1 ? "" : "s");
    printf("size      %s parameters, %s training pictures\n", fci_text_count(run->parameters),
           fci_text_count(run->train_images));
}

static int64_t largest(const int64_t *values, int64_t n)
{
    int64_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        most = values[i] > most ? values[i] : most;
    }
    return most;
}

static void print_cost(const fc_run *run)
{
    if (run->rows > 0) {
        double seconds = median_of(run->train[FC_TRAIN_SECONDS], run->rows);
        double data = median_of(run->train[FC_TRAIN_DATA_SECONDS], run->rows);
        printf(
            "speed     %.3g s a step, %.3g s of it waiting for data; %.4g pictures/s (medians)\n",
            seconds, data, median_of(run->train[FC_TRAIN_IMAGES_PER_SECOND], run->rows));
    }
    if (run->epochs > 0) {
        printf("epochs    %lld finished, %.4g s each (median)\n", (long long)run->epochs,
               median_of(run->epoch_seconds, run->epochs));
    }
    if (run->ranks > 0) {
        printf("memory    at most %s a rank",
               fci_text_bytes(largest(run->peak_host_bytes, run->ranks)));
        int64_t device = largest(run->peak_device_bytes, run->ranks);
        if (device > 0) {
            printf(", %s on its device", fci_text_bytes(device));
        }
        printf("\n");
    }
}

static void series(fc_table *table, const char *name, const double *values, int64_t n)
{
    double low = INFINITY, high = -INFINITY;
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        bad += isfinite(values[i]) ? 0 : 1;
        low = fmin(low, values[i]);
        high = fmax(high, values[i]);
    }
    fc_table_cell(table, "%s", name);
    fc_table_cell(table, "%.5g", values[0]);
    fc_table_cell(table, "%.5g", values[n - 1]);
    if (bad < n) {
        fc_table_cell(table, "%.5g", low);
        fc_table_cell(table, "%.5g", high);
    } else {
        fc_table_cell(table, "-");
        fc_table_cell(table, "-");
    }
    fc_table_cell(table, bad > 0 ? "%lld" : "", (long long)bad);
}

static void print_training(const fc_run *run)
{
    if (run->rows == 0) {
        printf("steps     none logged\n");
        return;
    }
    int64_t n = run->rows;
    printf("steps     %s logged, the last is %s (epoch %.4g)\n", fci_text_count(n),
           fci_text_count(run->step[n - 1]), run->train[FC_TRAIN_EPOCH][n - 1]);
    print_cost(run);
    char *line = fci_text_sparkline(run->train[FC_TRAIN_LOSS], n, SPARK_COLUMNS);
    printf("\nloss      %s\n\n", line);
    fc_free(&line);
    const char *const headings[] = {"", "first", "last", "least", "most", "not finite"};
    fc_table *table = fc_table_create(6, headings);
    series(table, "loss", run->train[FC_TRAIN_LOSS], n);
    for (int i = 0; i < run->terms; i++) {
        char *name = fc_format("  %s", run->term_name[i]);
        series(table, name, run->term[i], n);
        fc_free(&name);
    }
    series(table, "lr", run->train[FC_TRAIN_LR], n);
    series(table, "logit_scale", run->train[FC_TRAIN_LOGIT_SCALE], n);
    series(table, "grad_norm", run->train[FC_TRAIN_GRAD_NORM], n);
    fc_table_print(table, stdout);
    fc_table_destroy(&table);
}

/* Further retrieval sets: the newest evaluation of each. */
static void print_sets(const fc_run *run)
{
    if (run->sets == 0) {
        return;
    }
    static const char *const headings[1 + FC_RETRIEVAL_COLUMNS] = {
        "newest, on", "I>T R@1", "R@5", "R@10", "T>I R@1", "R@5", "R@10"};
    fc_table *table = fc_table_create(1 + FC_RETRIEVAL_COLUMNS, headings);
    for (int s = 0; s < run->sets; s++) {
        fc_table_cell(table, "%s", run->set[s].name);
        for (int i = 0; i < FC_RETRIEVAL_COLUMNS; i++) {
            fc_table_percent(table, run->set[s].column[i][run->evals - 1]);
        }
    }
    printf("\n");
    fc_table_print(table, stdout);
    fc_table_destroy(&table);
}

static void print_evaluations(const fc_run *run)
{
    if (run->evals == 0) {
        printf("\nno evaluation yet\n");
        return;
    }
    const char *headings[2 + FC_BOX_COLUMNS + FC_RETRIEVAL_COLUMNS];
    const char *const box[FC_BOX_COLUMNS] = {"top-1", "top-5", "micro top-1", "micro top-5"};
    const char *const recall[FC_RETRIEVAL_COLUMNS] = {"I>T R@1", "R@5", "R@10",
                                                      "T>I R@1", "R@5", "R@10"};
    int columns = 0;
    headings[columns++] = "epoch";
    for (int i = 0; run->has_box && i < FC_BOX_COLUMNS; i++) {
        headings[columns++] = box[i];
    }
    if (run->has_box) {
        headings[columns++] = "boxes";
    }
    for (int i = 0; run->has_retrieval && i < FC_RETRIEVAL_COLUMNS; i++) {
        headings[columns++] = recall[i];
    }
    fc_table *table = fc_table_create(columns, headings);
    /* The first one, which is often before training, and the newest. */
    int64_t skip = run->evals > MOST_EVALS ? run->evals - MOST_EVALS : 0;
    for (int64_t e = 0; e < run->evals; e++) {
        if (skip > 0 && e == 1) {
            fc_table_rule(table);
            e += skip;
        }
        fc_table_cell(table, "%.4g", run->eval_epoch[e]);
        for (int i = 0; run->has_box && i < FC_BOX_COLUMNS; i++) {
            fc_table_percent(table, run->box[i][e]);
        }
        if (run->has_box) {
            fc_table_cell(table, "%s", fci_text_count(run->regions[e]));
        }
        for (int i = 0; run->has_retrieval && i < FC_RETRIEVAL_COLUMNS; i++) {
            fc_table_percent(table, run->retrieval[i][e]);
        }
    }
    printf("\n");
    fc_table_print(table, stdout);
    fc_table_destroy(&table);
    print_sets(run);
    const char *const names[] = {"boxes", "retrieval"};
    const char *const protocols[] = {run->box_protocol, run->retrieval_protocol};
    for (int i = 0; i < 2; i++) {
        if (protocols[i] != NULL && protocols[i][0] != '\0') {
            char *text = fci_text_clipped(protocols[i], TEXT_COLUMNS);
            printf("%s: %s\n", names[i], text);
            fc_free(&text);
        }
    }
}

/* The parameter to look at first: one whose gradient is not finite, else the one with the largest.
 */
static int64_t worst_parameter(const fc_incident *e)
{
    int64_t worst = 0;
    for (int64_t i = 0; i < e->params; i++) {
        if (!isfinite(e->param_grad_norm[i])) {
            return i;
        }
        worst = e->param_grad_norm[i] > e->param_grad_norm[worst] ? i : worst;
    }
    return worst;
}

static void print_pictures(const fc_incident *e)
{
    enum { MOST = 24 };
    printf("pictures of step %lld (store index):", (long long)e->step);
    for (int64_t i = 0; i < e->images && i < MOST; i++) {
        printf(" %lld", (long long)e->image[i]);
    }
    if (e->images > MOST) {
        printf(" and %lld more", (long long)(e->images - MOST));
    }
    printf("\n");
}

/* Losses that went wrong: the newest with what to look at first. */
static void print_incidents(const fc_run *run)
{
    enum { MOST = 10 };
    if (run->incidents == 0) {
        return;
    }
    printf("\nincidents %s; norms of every parameter and the pictures are in /incidents\n",
           fci_text_count(run->incidents_in_all));
    const char *const headings[] = {"step", "what",      "action",        "loss",
                                    "mean", "deviation", "gradient norm", "look at"};
    fc_table *table = fc_table_create(8, headings);
    int64_t first = run->incidents > MOST ? run->incidents - MOST : 0;
    for (int64_t i = first; i < run->incidents; i++) {
        const fc_incident *e = &run->incident[i];
        int64_t worst = worst_parameter(e);
        fc_table_cell(table, "%lld", (long long)e->step);
        fc_table_cell(table, "%s", e->what);
        fc_table_cell(table, "%s", e->action);
        fc_table_cell(table, "%.5g", e->loss);
        fc_table_cell(table, "%.5g", e->mean);
        fc_table_cell(table, "%.3g", e->deviation);
        fc_table_cell(table, "%.4g", e->grad_norm);
        fc_table_cell(table, "%s", e->params > 0 ? e->param_name[worst] : "");
    }
    fc_table_print(table, stdout);
    fc_table_destroy(&table);
    print_pictures(&run->incident[run->incidents - 1]);
}

/* Loading has checked the form; what is left is the order of steps and losses that are no numbers.
 */
static fc_status check(const fc_run *run)
{
    int64_t findings = 0;
    printf("\n");
    for (int64_t i = 0; i < run->rows; i++) {
        if (i > 0 && run->step[i] <= run->step[i - 1]) {
            printf("/train/step[%lld]: %lld after %lld\n", (long long)i, (long long)run->step[i],
                   (long long)run->step[i - 1]);
            findings++;
        }
        if (!isfinite(run->train[FC_TRAIN_LOSS][i])) {
            printf("/train/loss[%lld]: %g at step %lld\n", (long long)i,
                   run->train[FC_TRAIN_LOSS][i], (long long)run->step[i]);
            findings++;
        }
    }
    if (findings > 0) {
        return FC_FAIL(FC_DATA, "%s: %lld findings", run->path, (long long)findings);
    }
    printf("checked: no findings\n");
    return FC_OK;
}

fc_status fci_inspect_results(const fci_inspect_options *options)
{
    fc_run *run;
    FC_TRY(fc_run_load(&run, options->path));
    print_head(run);
    print_training(run);
    print_evaluations(run);
    print_incidents(run);
    fc_status status = options->check ? check(run) : FC_OK;
    fc_run_destroy(&run);
    return status;
}
