/* The runs of a report, and the groups they form: runs that differ in their seed alone are one row.
 * Shares are in 0..1, as in results.h5; NaN where a run has none. */
#ifndef FC_LAUNCH_REPORT_RUNS_H
#define FC_LAUNCH_REPORT_RUNS_H

#include "core/yaml.h"
#include "launch/report/paper.h"
#include "launch/results/results.h"

typedef struct fci_report_run {
    fc_run *run;
    fc_yaml *config;  /* as recorded */
    char *label;      /* the name without its seed */
    char *terms;      /* "GC+RC+SD", weights other than 1 in front; "" where nothing is trained */
    char *key;        /* all but name, seed and output: what a group shares */
    char *setting;    /* and without the terms: runs whose terms alone differ */
    const char *seed; /* owned by config; NULL: not recorded */
    int64_t final;    /* index of the last evaluation; -1: none */
    bool finished;    /* completed: only such runs enter a mean */
    bool scenes;      /* tested on the built-in scenes with combinations never seen */
} fci_report_run;

/* The retrieval set the paper has numbers of, as eval.retrieval.more calls it. */
#define FCI_FLICKR "flickr30k"

/* What is measured: one column of the tables. */
typedef enum {
    FCI_BOX,      /* column: FC_BOX_... */
    FCI_SEEN,     /* top-1 over categories that training scenes have */
    FCI_UNSEEN,   /* ... that they leave out */
    FCI_RETRIEVAL /* column: FC_RETRIEVAL_..., of `set` */
} fci_measure_kind;

typedef struct fci_measure {
    fci_measure_kind kind;
    int column;
    const char *set;   /* retrieval set; "": the one there always was */
    const char *key;   /* in CSV files: box_top1 */
    const char *title; /* in tables */
    int paper;         /* FC_PAPER_...; -1: the paper has none */
} fci_measure;

typedef struct fci_group {
    const char *label, *terms; /* of its first run */
    int count, *run;           /* indices */
    int finished;
    const fc_paper_row *paper;  /* NULL: none */
    char *differences;          /* from the paper's setting; "": none, and so comparable */
    const fc_paper_row *flickr; /* the same for the retrieval set flickr30k */
    char *flickr_differences;
} fci_group;

typedef struct fci_report {
    int runs, groups, measures;
    fci_report_run *run;
    fci_group *group;
    fci_measure *measure; /* those of which some run has a value, in the tables' order */
} fci_report;

typedef struct fci_stat {
    int n;
    double mean, deviation; /* NaN: n is 0, below 2 */
} fci_stat;

/** Load files and group them, in the order given. Errors of fc_run_load; missing_ok: files that are
 * not there are left out with a line in the log. */
FC_NODISCARD fc_status fci_report_load(fci_report **out, int count, const char *const *paths,
                                       bool missing_ok);
void fci_report_destroy(fci_report **report);

/** Value of a measure in evaluation e of a run. */
double fci_report_value(const fci_report_run *r, int64_t e, const fci_measure *m);
/** Mean and deviation (of n - 1) over a group's completed runs: at their last evaluations, or
 * before training. */
fci_stat fci_report_stat(const fci_report *report, const fci_group *group, const fci_measure *m,
                         bool before);
fci_stat fci_report_stat_of(int n, const double *values);

/** The paper's value beside a group's, per cent; NaN: none. *comparable: it was measured in the
 * same setting. */
double fci_report_paper(const fci_group *group, const fci_measure *m, bool *comparable);
/** Values of column m->column of a retrieval set in a run, (E); NULL: it has none. */
const double *fci_report_recall(const fc_run *run, const fci_measure *m);
/** Fill report->measure; fci_report_load does. */
void fci_report_find_measures(fci_report *report);
/** Seconds an epoch took, mean over a run's epochs; bytes a rank held, the most of all ranks, on
 * its device or, *host, in memory. NaN: not recorded. */
double fci_report_epoch_seconds(const fci_report_run *r);
double fci_report_peak_bytes(const fci_report_run *r, bool *host);
/** Training pictures a second, the median over logged steps. */
double fci_report_speed(const fci_report_run *r);
/** Labels of all groups without the words they begin with in common; heap, each and the list. */
char **fci_report_short_labels(const fci_report *report);

#endif
