/* The pictures of a report. */
#ifndef FC_LAUNCH_REPORT_FIGURES_H
#define FC_LAUNCH_REPORT_FIGURES_H

#include "launch/report/figure.h"
#include "launch/report/report_runs.h"

enum { FCI_MOST_FIGURES = 4 };

typedef struct fci_figures {
    int count;
    fc_figure figure[FCI_MOST_FIGURES];
    const char *key[FCI_MOST_FIGURES];  /* in file names: report_KEY.png */
    const char *text[FCI_MOST_FIGURES]; /* what it shows, a sentence or two */
    void **owned;                       /* what the figures point to */
    int owned_count;
} fci_figures;

/** Bars of what each group scores, loss curves, scores over the number of training pictures, top-1
 * against retrieval over epochs: those the runs have data for. Points into the report. */
fci_figures *fci_figures_create(const fci_report *report);
void fci_figures_destroy(fci_figures **figures);

#endif
