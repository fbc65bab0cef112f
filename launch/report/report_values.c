/* Numbers out of the runs of a report: one value, a mean over seeds, what a run cost. */
#include "core/memory.h"
#include "data/scenes/scenes.h"
#include "launch/report/report_runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Mean top-1 over the categories that training scenes have, or leave out; those without boxes do
 * not count. */
static double mean_of_categories(const fci_report_run *r, int64_t e, bool unseen)
{
    const fc_run *run = r->run;
    double sum = 0;
    int count = 0;
    if (!r->scenes || run->per_category_top1 == NULL) {
        return NAN;
    }
    for (int64_t k = 0; k < run->categories; k++) {
        double value = run->per_category_top1[e * run->categories + k];
        if (fc_scene_category_unseen((int)k) == unseen && isfinite(value)) {
            sum += value;
            count++;
        }
    }
    return count > 0 ? sum / count : NAN;
}

const double *fci_report_recall(const fc_run *run, const fci_measure *m)
{
    if (m->set[0] == '\0') {
        return run->has_retrieval ? run->retrieval[m->column] : NULL;
    }
    for (int i = 0; i < run->sets; i++) {
        if (strcmp(run->set[i].name, m->set) == 0) {
            return run->set[i].column[m->column];
        }
    }
    return NULL;
}

double fci_report_paper(const fci_group *g, const fci_measure *m, bool *comparable)
{
    bool flickr = strcmp(m->set, FCI_FLICKR) == 0, known = flickr || m->set[0] == '\0';
    const fc_paper_row *row = flickr ? g->flickr : known ? g->paper : NULL;
    const char *differences = flickr ? g->flickr_differences : g->differences;
    double value = row != NULL && m->paper >= 0 ? row->value[m->paper] : NAN;
    *comparable = isfinite(value) && differences[0] == '\0';
    return value;
}

double fci_report_value(const fci_report_run *r, int64_t e, const fci_measure *m)
{
    const fc_run *run = r->run;
    if (e < 0 || e >= run->evals) {
        return NAN;
    }
    switch (m->kind) {
    case FCI_BOX:
        return run->has_box ? run->box[m->column][e] : NAN;
    case FCI_SEEN:
        return mean_of_categories(r, e, false);
    case FCI_UNSEEN:
        return mean_of_categories(r, e, true);
    case FCI_RETRIEVAL:
        break;
    }
    const double *recall = fci_report_recall(run, m);
    return recall != NULL ? recall[e] : NAN;
}

fci_stat fci_report_stat_of(int n, const double *values)
{
    fci_stat s = {.mean = NAN, .deviation = NAN};
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        if (isfinite(values[i])) {
            sum += values[i];
            s.n++;
        }
    }
    if (s.n > 0) {
        s.mean = sum / s.n;
    }
    for (int i = 0; i < n && s.n > 1; i++) {
        squares += isfinite(values[i]) ? (values[i] - s.mean) * (values[i] - s.mean) : 0;
    }
    if (s.n > 1) {
        s.deviation = sqrt(squares / (s.n - 1));
    }
    return s;
}

fci_stat fci_report_stat(const fci_report *report, const fci_group *group, const fci_measure *m,
                         bool before)
{
    double *values = fc_alloc((size_t)group->count, sizeof *values);
    int n = 0;
    for (int i = 0; i < group->count; i++) {
        const fci_report_run *r = &report->run[group->run[i]];
        if (r->finished && (!before || (r->run->evals > 0 && r->run->eval_epoch[0] <= 0))) {
            values[n++] = fci_report_value(r, before ? 0 : r->final, m);
        }
    }
    fci_stat s = fci_report_stat_of(n, values);
    fc_free(&values);
    return s;
}

static bool is_measured(const fci_report *report, const fci_measure *m)
{
    for (int i = 0; i < report->runs; i++) {
        for (int64_t e = 0; e < report->run[i].run->evals; e++) {
            if (isfinite(fci_report_value(&report->run[i], e, m))) {
                return true;
            }
        }
    }
    return false;
}

static void add_measure(fci_report *report, fci_measure m, const char *key, const char *title)
{
    if (!is_measured(report, &m)) {
        return;
    }
    const char *between = m.set[0] != '\0' ? "_" : "", *blank = m.set[0] != '\0' ? " " : "";
    m.key = fc_format("%s%s%s", m.set, between, key);
    m.title = fc_format("%s%s%s", m.set, blank, title);
    report->measure =
        fc_realloc(report->measure, (size_t)report->measures + 1, sizeof *report->measure);
    report->measure[report->measures++] = m;
}

static void add_retrieval(fci_report *report, const char *set)
{
    static const struct {
        int column, paper;
        const char *key, *title;
    } all[] = {{FC_RETRIEVAL_I2T_R1, FC_PAPER_I2T_R1, "i2t_r1", "I2T R@1"},
               {FC_RETRIEVAL_I2T_R5, FC_PAPER_I2T_R5, "i2t_r5", "I2T R@5"},
               {FC_RETRIEVAL_I2T_R10, FC_PAPER_I2T_R10, "i2t_r10", "I2T R@10"},
               {FC_RETRIEVAL_T2I_R1, FC_PAPER_T2I_R1, "t2i_r1", "T2I R@1"},
               {FC_RETRIEVAL_T2I_R5, FC_PAPER_T2I_R5, "t2i_r5", "T2I R@5"},
               {FC_RETRIEVAL_T2I_R10, FC_PAPER_T2I_R10, "t2i_r10", "T2I R@10"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fci_measure m = {
            .kind = FCI_RETRIEVAL, .column = all[i].column, .set = set, .paper = all[i].paper};
        add_measure(report, m, all[i].key, all[i].title);
    }
}

static bool has_set(const fci_report *report, const char *set)
{
    for (int i = 0; i < report->measures; i++) {
        if (strcmp(report->measure[i].set, set) == 0) {
            return true;
        }
    }
    return false;
}

void fci_report_find_measures(fci_report *report)
{
    const fci_measure boxes[] = {
        {.kind = FCI_BOX, .column = FC_BOX_TOP1, .set = "", .paper = FC_PAPER_TOP1},
        {.kind = FCI_BOX, .column = FC_BOX_TOP5, .set = "", .paper = FC_PAPER_TOP5},
        {.kind = FCI_SEEN, .set = "", .paper = -1},
        {.kind = FCI_UNSEEN, .set = "", .paper = -1}};
    add_measure(report, boxes[0], "box_top1", "box top-1");
    add_measure(report, boxes[1], "box_top5", "box top-5");
    add_measure(report, boxes[2], "box_top1_seen", "top-1, seen");
    add_measure(report, boxes[3], "box_top1_unseen", "top-1, never seen");
    add_retrieval(report, "");
    for (int i = 0; i < report->runs; i++) {
        const fc_run *run = report->run[i].run;
        for (int k = 0; k < run->sets; k++) {
            if (!has_set(report, run->set[k].name)) {
                add_retrieval(report, run->set[k].name);
            }
        }
    }
}

double fci_report_epoch_seconds(const fci_report_run *r)
{
    int64_t most = r->run->epochs < 1 << 20 ? r->run->epochs : 1 << 20;
    return fci_report_stat_of((int)most, r->run->epoch_seconds).mean;
}

double fci_report_peak_bytes(const fci_report_run *r, bool *host)
{
    int64_t device = 0, memory = 0;
    for (int64_t i = 0; i < r->run->ranks; i++) {
        device = r->run->peak_device_bytes[i] > device ? r->run->peak_device_bytes[i] : device;
        memory = r->run->peak_host_bytes[i] > memory ? r->run->peak_host_bytes[i] : memory;
    }
    *host = device == 0;
    return device > 0 ? (double)device : memory > 0 ? (double)memory : NAN;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double fci_report_speed(const fci_report_run *r)
{
    int64_t n = 0;
    double *sorted = fc_alloc((size_t)r->run->rows + 1, sizeof *sorted);
    for (int64_t i = 0; i < r->run->rows; i++) {
        double speed = r->run->train[FC_TRAIN_IMAGES_PER_SECOND][i];
        if (isfinite(speed)) {
            sorted[n++] = speed;
        }
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    double median = n > 0 ? sorted[n / 2] : NAN;
    fc_free(&sorted);
    return median;
}
