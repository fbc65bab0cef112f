/* The tables of a report. Each is a sheet, or NULL where the runs have nothing for it. */
#ifndef FC_LAUNCH_REPORT_TABLES_H
#define FC_LAUNCH_REPORT_TABLES_H

#include "launch/report/report_runs.h"
#include "launch/report/sheet.h"

/** A row a group: what it scored, beside the paper, in per cent. */
fc_sheet *fci_table_results(const fci_report *report);
/** A row for each term added to another group's terms: what it changed, in points, ours and the
 * paper's, and whether that is more than the seeds' noise. */
fc_sheet *fci_table_effects(const fci_report *report);
/** Recall at 1, 5 and 10, both ways. */
fc_sheet *fci_table_retrieval(const fci_report *report);
/** Time an epoch, memory, speed. */
fc_sheet *fci_table_cost(const fci_report *report);
/** Every run with its status. */
fc_sheet *fci_table_runs(const fci_report *report);
/** What a reader must know beside the tables: protocols, differences from the paper's, runs that
 * are left out. One paragraph a line; heap. */
char *fci_report_notes(const fci_report *report);

/** A line a group and measure: row,terms,runs,measure,unit,mean,deviation,paper,difference. Heap.
 */
char *fci_csv_groups(const fci_report *report);
/** A line a run, every value in full precision. Heap. */
char *fci_csv_runs(const fci_report *report);

#endif
