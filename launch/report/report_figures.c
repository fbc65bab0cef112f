#include "launch/report/report_figures.h"

#include "core/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_POINTS = 300 }; /* of one loss curve */

typedef struct maker {
    fci_figures *out;
    const fci_report *r;
    char **name;  /* of the groups: "row5" */
    char **label; /* "row5: GC+RC" */
} maker;

/* Memory that lives as long as the figures. */
static void *keep(maker *m, void *memory)
{
    fci_figures *f = m->out;
    f->owned = fc_realloc(f->owned, (size_t)f->owned_count + 1, sizeof *f->owned);
    f->owned[f->owned_count++] = memory;
    return memory;
}

static void *keep_new(maker *m, size_t count, size_t size)
{
    return keep(m, fc_alloc(count > 0 ? count : 1, size));
}

static fc_figure *add_figure(maker *m, const char *key, const char *title, const char *text)
{
    fci_figures *f = m->out;
    f->key[f->count] = key;
    f->text[f->count] = text;
    f->figure[f->count] = (fc_figure){.title = title};
    return &f->figure[f->count++];
}

static const fci_measure *find(const maker *m, fci_measure_kind kind, int column)
{
    for (int i = 0; i < m->r->measures; i++) {
        const fci_measure *one = &m->r->measure[i];
        if (one->kind == kind && one->column == column && one->set[0] == '\0') {
            return one;
        }
    }
    return NULL;
}

/* ---- Bars ---- */

static fc_bar bar_of(maker *m, const fci_group *g, const fci_measure *measure)
{
    double *values = keep_new(m, (size_t)g->count, sizeof *values);
    int n = 0;
    for (int i = 0; i < g->count; i++) {
        const fci_report_run *r = &m->r->run[g->run[i]];
        double value = fci_report_value(r, r->final, measure);
        if (r->finished && isfinite(value)) {
            values[n++] = 100 * value;
        }
    }
    fci_stat s = fci_report_stat_of(n, values);
    return (fc_bar){.value = s.mean, .spread = s.deviation, .count = n, .values = values};
}

static void add_bars(maker *m)
{
    const fci_measure *shown[] = {find(m, FCI_BOX, FC_BOX_TOP1), find(m, FCI_UNSEEN, 0),
                                  find(m, FCI_RETRIEVAL, FC_RETRIEVAL_I2T_R1),
                                  find(m, FCI_RETRIEVAL, FC_RETRIEVAL_T2I_R1)};
    enum { SHOWN = sizeof shown / sizeof *shown };
    int columns = 0, rows = 0;
    for (int i = 0; i < SHOWN; i++) {
        if (shown[i] != NULL) {
            shown[columns++] = shown[i];
        }
    }
    const char **name = keep_new(m, (size_t)m->r->groups, sizeof *name);
    const char **note = keep_new(m, (size_t)m->r->groups, sizeof *note);
    const char **head = keep_new(m, SHOWN, sizeof *head);
    fc_bar *bar = keep_new(m, (size_t)(m->r->groups * SHOWN), sizeof *bar);
    for (int i = 0; i < m->r->groups; i++) {
        if (m->r->group[i].finished == 0) {
            continue;
        }
        name[rows] = m->name[i];
        note[rows] = m->r->group[i].terms;
        for (int k = 0; k < columns; k++) {
            bar[rows * columns + k] = bar_of(m, &m->r->group[i], shown[k]);
        }
        rows++;
    }
    for (int k = 0; k < columns; k++) {
        head[k] = keep(m, fc_format("%s, %%", shown[k]->title));
    }
    if (rows == 0 || columns == 0) {
        return;
    }
    fc_figure *f = add_figure(m, "bars", "What each run scores",
                              "Bars: means over seeds; dots: the seeds; lines: one standard "
                              "deviation each way. Every column has a scale of its own.");
    f->rows = rows;
    f->columns = columns;
    f->row_label = name;
    f->row_note = note;
    f->column_label = head;
    f->bar = bar;
}

/* ---- Loss curves ---- */

/* A logged column over steps; neighbours are averaged where there are more than a picture shows. */
static fc_series curve_of(maker *m, const fc_run *run, const double *values, int style)
{
    int64_t bins = run->rows < MOST_POINTS ? run->rows : MOST_POINTS, n = 0;
    double *x = keep_new(m, (size_t)bins, sizeof *x), *y = keep_new(m, (size_t)bins, sizeof *y);
    for (int64_t b = 0; b < bins; b++) {
        int64_t begin = b * run->rows / bins, end = (b + 1) * run->rows / bins, count = 0;
        double sum = 0, step = 0;
        for (int64_t t = begin; t < end; t++) {
            if (isfinite(values[t])) {
                sum += values[t];
                step += (double)run->step[t];
                count++;
            }
        }
        if (count > 0) {
            x[n] = step / (double)count;
            y[n++] = sum / (double)count;
        }
    }
    return (fc_series){.label = m->label[style], .style = style, .n = n, .x = x, .y = y};
}

static const double *term_of(const fc_run *run, const char *name)
{
    for (int i = 0; i < run->terms; i++) {
        if (strcmp(run->term_name[i], name) == 0) {
            return run->term[i];
        }
    }
    return NULL;
}

/* A panel of one term (NULL: the weighted sum) with a curve a run; no curves where nobody has it.
 */
static fc_panel loss_panel(maker *m, const char *term)
{
    fc_panel p = {.title = term != NULL ? term : "weighted sum",
                  .x_label = "step",
                  .y_label = "loss",
                  .series = keep_new(m, (size_t)m->r->runs, sizeof *p.series)};
    for (int g = 0; g < m->r->groups; g++) {
        const fci_group *group = &m->r->group[g];
        for (int i = 0; i < group->count; i++) {
            const fc_run *run = m->r->run[group->run[i]].run;
            const double *values = term != NULL ? term_of(run, term) : run->train[FC_TRAIN_LOSS];
            if (values != NULL && run->rows > 0) {
                fc_series *s = &p.series[p.count];
                *s = curve_of(m, run, values, g);
                s->faint = group->count > 1;
                p.count += s->n > 0;
            }
        }
    }
    return p;
}

static bool is_listed(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_losses(maker *m)
{
    enum { MOST_TERMS = 8 };
    const char *names[MOST_TERMS];
    int terms = 0;
    for (int i = 0; i < m->r->runs; i++) {
        const fc_run *run = m->r->run[i].run;
        for (int k = 0; k < run->terms; k++) {
            if (terms < MOST_TERMS && !is_listed(names, terms, run->term_name[k])) {
                names[terms++] = run->term_name[k];
            }
        }
    }
    qsort(names, (size_t)terms, sizeof *names, by_name);
    fc_panel *panel = keep_new(m, MOST_TERMS + 1, sizeof *panel);
    int panels = 0;
    for (int i = -1; i < terms; i++) {
        if (i < 0 && terms == 1) {
            continue; /* the sum is that term */
        }
        panel[panels] = loss_panel(m, i < 0 ? NULL : names[i]);
        panels += panel[panels].count > 0;
    }
    if (panels > 0) {
        fc_figure *f = add_figure(m, "losses", "Losses in training",
                                  "A line a run, colours as below; unweighted terms as logged, and "
                                  "their weighted sum, which only runs of the same terms share.");
        f->panel = panel;
        f->panel_count = panels;
    }
}

/* ---- Scaling ---- */

/* One line for each set of terms: groups that differ in the number of pictures. */
static fc_panel scaling_panel(maker *m, const fci_measure *measure, int *longest)
{
    int groups = m->r->groups;
    fc_panel p = {.title = measure->title,
                  .x_label = "training pictures",
                  .y_label = "%",
                  .log_x = true,
                  .series = keep_new(m, 2 * (size_t)groups, sizeof *p.series)};
    int style = 0;
    for (int g = 0; g < groups; g++) {
        const char *terms = m->r->group[g].terms;
        bool seen = false;
        for (int before = 0; before < g; before++) {
            seen = seen || strcmp(m->r->group[before].terms, terms) == 0;
        }
        if (seen) {
            continue;
        }
        double *x = keep_new(m, (size_t)groups, sizeof *x),
               *y = keep_new(m, (size_t)groups, sizeof *y);
        double *spread = keep_new(m, (size_t)groups, sizeof *spread);
        double *px = keep_new(m, (size_t)groups, sizeof *px);
        double *py = keep_new(m, (size_t)groups, sizeof *py);
        int n = 0, papers = 0;
        for (int k = g; k < groups; k++) {
            const fci_group *group = &m->r->group[k];
            fci_stat s = fci_report_stat(m->r, group, measure, false);
            if (strcmp(group->terms, terms) != 0 || s.n == 0) {
                continue;
            }
            double images = (double)m->r->run[group->run[0]].run->train_images;
            int at = n++;
            for (; at > 0 && x[at - 1] > images; at--) { /* in order of x */
                x[at] = x[at - 1];
                y[at] = y[at - 1];
                spread[at] = spread[at - 1];
            }
            x[at] = images;
            y[at] = 100 * s.mean;
            spread[at] = 100 * s.deviation;
            bool comparable;
            double paper = fci_report_paper(group, measure, &comparable);
            if (isfinite(paper)) {
                px[papers] = images;
                py[papers++] = paper;
            }
        }
        *longest = n > *longest ? n : *longest;
        p.series[p.count++] = (fc_series){.label = terms[0] != '\0' ? terms : "no training",
                                          .style = style,
                                          .n = n,
                                          .x = x,
                                          .y = y,
                                          .spread = spread,
                                          .markers = true};
        if (papers > 0) {
            p.series[p.count++] =
                (fc_series){.style = style, .n = papers, .x = px, .y = py, .points = true};
        }
        style++;
    }
    return p;
}

static void add_scaling(maker *m)
{
    fc_panel *panel = keep_new(m, (size_t)m->r->measures, sizeof *panel);
    int panels = 0, longest = 0;
    bool sizes = false; /* more than one number of pictures */
    for (int i = 1; i < m->r->runs; i++) {
        sizes = sizes || m->r->run[i].run->train_images != m->r->run[0].run->train_images;
    }
    for (int i = 0; i < m->r->measures && sizes; i++) {
        const fci_measure *one = &m->r->measure[i];
        bool boxes = one->kind == FCI_BOX && one->column == FC_BOX_TOP1;
        bool recall = one->kind == FCI_RETRIEVAL &&
                      (one->column == FC_RETRIEVAL_I2T_R1 || one->column == FC_RETRIEVAL_T2I_R1);
        if (boxes || recall) {
            panel[panels++] = scaling_panel(m, one, &longest);
        }
    }
    if (panels > 0 && longest > 1) {
        fc_figure *f = add_figure(m, "scaling", "With more training pictures",
                                  "Last evaluations over the number of training pictures, "
                                  "logarithmic; lines up and down: one standard deviation.");
        f->panel = panel;
        f->panel_count = panels;
    }
}

/* ---- What was forgotten ---- */

/* Mean over a group's runs that have evaluations at the epochs of its first one. */
static double mean_at(const maker *m, const fci_group *g, int64_t e, const fci_measure *measure)
{
    const fc_run *first = m->r->run[g->run[0]].run;
    double sum = 0;
    int n = 0;
    for (int i = 0; i < g->count; i++) {
        const fci_report_run *r = &m->r->run[g->run[i]];
        double value = r->run->evals == first->evals ? fci_report_value(r, e, measure) : NAN;
        if (isfinite(value) && fabs(r->run->eval_epoch[e] - first->eval_epoch[e]) < 1e-6) {
            sum += value;
            n++;
        }
    }
    return n > 0 ? 100 * sum / n : NAN;
}

static fc_panel path_panel(maker *m, const char *title, const char *x_label, const char *y_label)
{
    return (fc_panel){.title = title,
                      .x_label = x_label,
                      .y_label = y_label,
                      .series = keep_new(m, (size_t)m->r->groups, sizeof(fc_series))};
}

static void add_forgotten(maker *m)
{
    const fci_measure *top1 = find(m, FCI_BOX, FC_BOX_TOP1);
    const fci_measure *i2t = find(m, FCI_RETRIEVAL, FC_RETRIEVAL_I2T_R1);
    const fci_measure *t2i = find(m, FCI_RETRIEVAL, FC_RETRIEVAL_T2I_R1);
    int64_t most = 0;
    for (int i = 0; i < m->r->runs; i++) {
        most = m->r->run[i].run->evals > most ? m->r->run[i].run->evals : most;
    }
    if (top1 == NULL || i2t == NULL || t2i == NULL || most < 2) {
        return;
    }
    fc_panel *panel = keep_new(m, 3, sizeof *panel);
    panel[0] = path_panel(m, "boxes over epochs", "epoch", "box top-1, %");
    panel[1] = path_panel(m, "retrieval over epochs", "epoch", "R@1, mean of both ways, %");
    panel[2] = path_panel(m, "one against the other", "R@1, mean of both ways, %", "box top-1, %");
    for (int g = 0; g < m->r->groups; g++) {
        const fci_group *group = &m->r->group[g];
        const fc_run *first = m->r->run[group->run[0]].run;
        size_t n = (size_t)first->evals;
        double *epoch = keep_new(m, n, sizeof *epoch), *box = keep_new(m, n, sizeof *box);
        double *recall = keep_new(m, n, sizeof *recall);
        for (size_t e = 0; e < n; e++) {
            epoch[e] = first->eval_epoch[e];
            box[e] = mean_at(m, group, (int64_t)e, top1);
            recall[e] =
                (mean_at(m, group, (int64_t)e, i2t) + mean_at(m, group, (int64_t)e, t2i)) / 2;
        }
        fc_series s = {.label = m->label[g],
                       .style = g,
                       .n = (int64_t)n,
                       .x = epoch,
                       .y = box,
                       .markers = true,
                       .hollow_first = n > 0 && epoch[0] <= 0};
        panel[0].series[panel[0].count++] = s;
        s.y = recall;
        panel[1].series[panel[1].count++] = s;
        s.x = recall;
        s.y = box;
        panel[2].series[panel[2].count++] = s;
    }
    fc_figure *f = add_figure(m, "forgotten", "What was learned, and what was forgotten",
                              "Means over seeds. An open dot is before training, a large one the "
                              "end; a path that turns left forgets retrieval.");
    f->panel = panel;
    f->panel_count = 3;
}

/* ---- All ---- */

static void make_labels(maker *m)
{
    char **shorts = fci_report_short_labels(m->r);
    m->name = keep_new(m, (size_t)m->r->groups, sizeof *m->name);
    m->label = keep_new(m, (size_t)m->r->groups, sizeof *m->label);
    for (int i = 0; i < m->r->groups; i++) {
        const char *terms = m->r->group[i].terms;
        m->name[i] = keep(m, shorts[i]);
        m->label[i] = keep(m, terms[0] != '\0' ? fc_format("%s: %s", shorts[i], terms)
                                               : fc_strdup(shorts[i]));
    }
    fc_free(&shorts);
}

fci_figures *fci_figures_create(const fci_report *report)
{
    maker m = {.out = fc_alloc(1, sizeof *m.out), .r = report};
    make_labels(&m);
    add_bars(&m);
    add_scaling(&m);
    add_forgotten(&m);
    add_losses(&m);
    return m.out;
}

void fci_figures_destroy(fci_figures **figures)
{
    if (*figures == NULL) {
        return;
    }
    for (int i = 0; i < (*figures)->owned_count; i++) {
        fc_free(&(*figures)->owned[i]);
    }
    fc_free(&(*figures)->owned);
    fc_free(figures);
}
