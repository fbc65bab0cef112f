#include "launch/report/report_tables.h"

#include "core/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Cells ---- */

static void stat_cell(fc_sheet *s, fci_stat stat)
{
    if (stat.n == 0) {
        fc_sheet_cell(s, "-");
    } else if (stat.n == 1) {
        fc_sheet_cell(s, "%.1f", 100 * stat.mean);
    } else {
        fc_sheet_cell(s, "%.1f +- %.1f", 100 * stat.mean, 100 * stat.deviation);
    }
}

static void number_cell(fc_sheet *s, const char *fmt, double value)
{
    char text[32];
    snprintf(text, sizeof text, fmt, value);
    fc_sheet_cell(s, "%s", isfinite(value) ? text : "-");
}

/* ---- Results ---- */

/* Which columns a measure takes beside its own. */
typedef struct beside {
    bool paper, difference;
} beside;

static beside columns_of(const fci_report *r, const fci_measure *m)
{
    beside b = {false, false};
    for (int i = 0; i < r->groups; i++) {
        bool comparable;
        b.paper = isfinite(fci_report_paper(&r->group[i], m, &comparable)) || b.paper;
        b.difference = b.difference || comparable;
    }
    return b;
}

static bool is_main(const fci_measure *m)
{
    return m->kind != FCI_RETRIEVAL || m->column == FC_RETRIEVAL_I2T_R1 ||
           m->column == FC_RETRIEVAL_T2I_R1;
}

/* One model under all groups? Then there is one row for what it could do before. */
static bool same_start(const fci_report *r)
{
    static const char *const keys[] = {"config", "init", "image_size"}; /* what trains may differ */
    bool same = true;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        char *first = NULL;
        for (int i = 0; i < r->groups && same; i++) {
            const fc_yaml *model = fc_yaml_get(r->run[r->group[i].run[0]].config, "model");
            const fc_yaml *value = model != NULL ? fc_yaml_get(model, keys[k]) : NULL;
            char *text = NULL;
            same = value != NULL && fc_yaml_emit(value, &text) == FC_OK &&
                   (first == NULL || strcmp(first, text) == 0);
            if (first == NULL) {
                first = text;
            } else {
                fc_free(&text);
            }
        }
        fc_free(&first);
    }
    return same;
}

/* The group whose seeds the row "before training" is of; NULL: there is none. */
static const fci_group *start_group(const fci_report *r, const fci_measure *any)
{
    for (int i = 0; i < r->groups && same_start(r); i++) {
        bool trained = r->run[r->group[i].run[0]].run->rows > 0;
        if (trained && fci_report_stat(r, &r->group[i], any, true).n > 0) {
            return &r->group[i];
        }
    }
    return NULL;
}

/* A measure's cells in a row: ours, the paper's, the difference. */
static void result_cells(fc_sheet *s, const fci_report *r, const fci_group *g, const fci_measure *m,
                         bool before)
{
    beside b = columns_of(r, m);
    fci_stat stat = fci_report_stat(r, g, m, before);
    bool comparable;
    double paper = fci_report_paper(g, m, &comparable);
    stat_cell(s, stat);
    if (b.paper) {
        number_cell(s, "%.1f", before ? NAN : paper);
    }
    if (b.difference) {
        bool given = stat.n > 0 && comparable && !before;
        number_cell(s, "%+.1f", given ? 100 * stat.mean - paper : NAN);
    }
}

static void result_columns(fc_sheet *s, const fci_report *r, const fci_measure *m)
{
    beside b = columns_of(r, m);
    fc_sheet_column(s, false, "%s", m->title);
    if (b.paper) {
        fc_sheet_column(s, false, "paper");
    }
    if (b.difference) {
        fc_sheet_column(s, false, "diff.");
    }
}

static void result_row(fc_sheet *s, const fci_report *r, const fci_group *g, const char *label,
                       bool before)
{
    fci_stat seeds = fci_report_stat(r, g, &r->measure[0], before);
    fc_sheet_cell(s, "%s", label);
    fc_sheet_cell(s, "%s", before ? "" : g->terms);
    fc_sheet_cell(s, "%d", before ? seeds.n : g->finished);
    for (int i = 0; i < r->measures; i++) {
        if (is_main(&r->measure[i])) {
            result_cells(s, r, g, &r->measure[i], before);
        }
    }
    fc_sheet_cell(s, "%s", !before && g->paper != NULL ? g->paper->where : "");
}

fc_sheet *fci_table_results(const fci_report *r)
{
    if (r->measures == 0) {
        return NULL;
    }
    fc_sheet *s = fc_sheet_create();
    fc_sheet_column(s, true, "run");
    fc_sheet_column(s, true, "terms");
    fc_sheet_column(s, false, "seeds");
    for (int i = 0; i < r->measures; i++) {
        if (is_main(&r->measure[i])) {
            result_columns(s, r, &r->measure[i]);
        }
    }
    fc_sheet_column(s, true, "in the paper");
    const fci_group *start = start_group(r, &r->measure[0]);
    if (start != NULL) {
        result_row(s, r, start, "before training", true);
    }
    for (int i = 0; i < r->groups; i++) {
        result_row(s, r, &r->group[i], r->group[i].label, false);
    }
    return s;
}

/* ---- Effects of terms ---- */

static bool has_term(const char *terms, const char *term, size_t length)
{
    while (*terms != '\0') {
        size_t n = strcspn(terms, "+");
        if (n == length && strncmp(terms, term, n) == 0) {
            return true;
        }
        terms += n + (terms[n] == '+');
    }
    return false;
}

/* What `more` has and `fewer` lacks, "RC+SD"; NULL where `fewer` is no proper part of it. Heap. */
static char *added_terms(const char *fewer, const char *more)
{
    for (const char *p = fewer; *p != '\0';) {
        size_t n = strcspn(p, "+");
        if (!has_term(more, p, n)) {
            return NULL;
        }
        p += n + (p[n] == '+');
    }
    char *added = fc_strdup("");
    for (const char *p = more; *p != '\0';) {
        size_t n = strcspn(p, "+");
        if (!has_term(fewer, p, n)) {
            char *longer = fc_format("%s%s%.*s", added, added[0] != '\0' ? "+" : "", (int)n, p);
            fc_free(&added);
            added = longer;
        }
        p += n + (p[n] == '+');
    }
    if (added[0] == '\0') {
        fc_free(&added);
    }
    return added;
}

/* A difference of two means and its standard error, in points; NaN: one of them, or its noise, is
 * not known. */
typedef struct change {
    double points, error, paper;
} change;

static change change_of(const fci_report *r, const fci_group *from, const fci_group *to,
                        const fci_measure *m)
{
    fci_stat a = fci_report_stat(r, from, m, false), b = fci_report_stat(r, to, m, false);
    bool comparable; /* a change of the paper's is one whatever the setting */
    return (change){
        .points = 100 * (b.mean - a.mean),
        .error = 100 * sqrt(a.deviation * a.deviation / a.n + b.deviation * b.deviation / b.n),
        .paper = fci_report_paper(to, m, &comparable) - fci_report_paper(from, m, &comparable)};
}

/* Two standard errors and more are no noise. */
static const char *verdict(change c)
{
    const double clear = 2;
    return !isfinite(c.points) || !isfinite(c.paper) ? "-"
           : !isfinite(c.error)                      ? "one seed"
           : fabs(c.points) <= clear * c.error       ? "within noise"
           : (c.points > 0) == (c.paper > 0)         ? "yes"
                                                     : "no";
}

static bool is_effect_measure(const fci_measure *m)
{
    bool top5 = m->kind == FCI_BOX && m->column == FC_BOX_TOP5;
    return is_main(m) && m->kind != FCI_SEEN && !top5;
}

static void effect_row(fc_sheet *s, const fci_report *r, const fci_group *from, const fci_group *to)
{
    for (int i = 0; i < r->measures; i++) {
        if (!is_effect_measure(&r->measure[i])) {
            continue;
        }
        change c = change_of(r, from, to, &r->measure[i]);
        if (isfinite(c.error)) {
            fc_sheet_cell(s, "%+.1f +- %.1f", c.points, c.error);
        } else {
            number_cell(s, "%+.1f", c.points);
        }
        if (columns_of(r, &r->measure[i]).paper) {
            number_cell(s, "%+.1f", c.paper);
            fc_sheet_cell(s, "%s", verdict(c));
        }
    }
}

static const char *setting_of(const fci_report *r, const fci_group *g)
{
    return r->run[g->run[0]].setting;
}

fc_sheet *fci_table_effects(const fci_report *r)
{
    fc_sheet *s = fc_sheet_create();
    fc_sheet_column(s, true, "added");
    fc_sheet_column(s, true, "to");
    for (int i = 0; i < r->measures; i++) {
        if (is_effect_measure(&r->measure[i])) {
            fc_sheet_column(s, false, "%s", r->measure[i].title);
            if (columns_of(r, &r->measure[i]).paper) {
                fc_sheet_column(s, false, "paper");
                fc_sheet_column(s, true, "as there?");
            }
        }
    }
    for (int to = 0; to < r->groups && r->measures > 0; to++) {
        for (int from = 0; from < r->groups; from++) {
            const fci_group *a = &r->group[from], *b = &r->group[to];
            bool same = strcmp(setting_of(r, a), setting_of(r, b)) == 0 && a->terms[0] != '\0';
            char *added = same ? added_terms(a->terms, b->terms) : NULL;
            if (added != NULL && a->finished > 0 && b->finished > 0) {
                fc_sheet_cell(s, "%s", added);
                fc_sheet_cell(s, "%s", a->terms);
                effect_row(s, r, a, b);
            }
            fc_free(&added);
        }
    }
    if (fc_sheet_rows(s) == 0) {
        fc_sheet_destroy(&s);
    }
    return s;
}

/* ---- Retrieval, cost, runs ---- */

fc_sheet *fci_table_retrieval(const fci_report *r)
{
    fc_sheet *s = fc_sheet_create();
    fc_sheet_column(s, true, "run");
    int found = 0;
    for (int i = 0; i < r->measures; i++) {
        if (r->measure[i].kind == FCI_RETRIEVAL) {
            result_columns(s, r, &r->measure[i]);
            found++;
        }
    }
    for (int g = 0; g < r->groups && found > 0; g++) {
        fc_sheet_cell(s, "%s", r->group[g].label);
        for (int i = 0; i < r->measures; i++) {
            if (r->measure[i].kind == FCI_RETRIEVAL) {
                result_cells(s, r, &r->group[g], &r->measure[i], false);
            }
        }
    }
    if (found == 0) {
        fc_sheet_destroy(&s);
    }
    return s;
}

/* Mean over a group's completed runs. */
static double mean_of(const fci_report *r, const fci_group *g,
                      double (*value)(const fci_report_run *))
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < g->count; i++) {
        double one = value(&r->run[g->run[i]]);
        if (r->run[g->run[i]].finished && isfinite(one)) {
            sum += one;
            n++;
        }
    }
    return n > 0 ? sum / n : NAN;
}

static double device_bytes(const fci_report_run *r)
{
    bool host;
    double bytes = fci_report_peak_bytes(r, &host);
    return host ? NAN : bytes;
}

static double host_bytes(const fci_report_run *r)
{
    bool host;
    double bytes = fci_report_peak_bytes(r, &host);
    return host ? bytes : NAN;
}

fc_sheet *fci_table_cost(const fci_report *r)
{
    const double minute = 60, gigabyte = 1e9;
    bool paper = false;
    for (int i = 0; i < r->groups; i++) {
        paper = paper || (r->group[i].paper != NULL && isfinite(r->group[i].paper->minutes));
    }
    fc_sheet *s = fc_sheet_create();
    fc_sheet_column(s, true, "run");
    fc_sheet_column(s, false, "minutes an epoch");
    if (paper) {
        fc_sheet_column(s, false, "paper");
    }
    fc_sheet_column(s, false, "GB a card");
    if (paper) {
        fc_sheet_column(s, false, "paper");
    }
    fc_sheet_column(s, false, "GB a rank, no card");
    fc_sheet_column(s, false, "pictures/s");
    fc_sheet_column(s, false, "ranks");
    fc_sheet_column(s, true, "on");
    for (int i = 0; i < r->groups; i++) {
        const fci_group *g = &r->group[i];
        const fc_run *first = r->run[g->run[0]].run;
        double paper_minutes = g->paper != NULL ? g->paper->minutes : NAN;
        double paper_gb = g->paper != NULL ? g->paper->gigabytes : NAN;
        fc_sheet_cell(s, "%s", g->label);
        number_cell(s, "%.3g", mean_of(r, g, fci_report_epoch_seconds) / minute);
        if (paper) {
            number_cell(s, "%.0f", paper_minutes);
        }
        number_cell(s, "%.3g", mean_of(r, g, device_bytes) / gigabyte);
        if (paper) {
            number_cell(s, "%.0f", paper_gb);
        }
        number_cell(s, "%.3g", mean_of(r, g, host_bytes) / gigabyte);
        number_cell(s, "%.4g", mean_of(r, g, fci_report_speed));
        fc_sheet_cell(s, "%lld", (long long)first->world_size);
        fc_sheet_cell(s, "%s, %s", first->device, first->precision);
    }
    return s;
}

fc_sheet *fci_table_runs(const fci_report *r)
{
    fc_sheet *s = fc_sheet_create();
    fc_sheet_column(s, true, "run");
    fc_sheet_column(s, true, "status");
    fc_sheet_column(s, false, "seed");
    fc_sheet_column(s, false, "steps");
    fc_sheet_column(s, false, "epoch");
    for (int i = 0; i < r->measures; i++) {
        if (is_main(&r->measure[i])) {
            fc_sheet_column(s, false, "%s", r->measure[i].title);
        }
    }
    for (int i = 0; i < r->runs; i++) {
        const fci_report_run *one = &r->run[i];
        const fc_run *run = one->run;
        fc_sheet_cell(s, "%s", run->name);
        fc_sheet_cell(s, "%s", run->status[0] != '\0' ? run->status : "unknown");
        fc_sheet_cell(s, "%s", one->seed != NULL ? one->seed : "-");
        fc_sheet_cell(s, "%lld", (long long)(run->rows > 0 ? run->step[run->rows - 1] : 0));
        number_cell(s, "%.4g", one->final >= 0 ? run->eval_epoch[one->final] : NAN);
        for (int k = 0; k < r->measures; k++) {
            if (is_main(&r->measure[k])) {
                number_cell(s, "%.1f", 100 * fci_report_value(one, one->final, &r->measure[k]));
            }
        }
    }
    return s;
}
