/* `fineclip report`: results of several runs as tables (Markdown, CSV), pictures and one page that
 * needs nothing but itself. Every number comes out of a results.h5, or out of
 * launch/report/paper.def. */
#ifndef FC_LAUNCH_REPORT_H
#define FC_LAUNCH_REPORT_H

#include "core/status.h"

typedef struct fc_report_options {
    const char *name;   /* the title */
    const char *output; /* folder; made where it is not there */
    int count;
    const char *const *paths; /* (count) results files */
    bool missing_ok;          /* those that are not there are named and left out */
    bool png;                 /* pictures as PNG files, too */
} fc_report_options;

/** Write report.html, report.md, report.csv and report_runs.csv (and report_*.png) into the folder;
 * print the Markdown tables on stdout and the files' names to the log. For rank 0.
 *  Errors FC_NOINPUT a file is not there; FC_DATA no results, damaged; FC_RUNTIME cannot write */
FC_NODISCARD fc_status fc_report_write(const fc_report_options *options);

#endif
