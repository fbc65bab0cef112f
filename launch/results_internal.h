/* What the parts of results share. */
#ifndef FC_LAUNCH_RESULTS_INTERNAL_H
#define FC_LAUNCH_RESULTS_INTERNAL_H

#include "launch/results.h"

/** Column of n doubles, NaN; FC_DATA-sized allocations go through here when n comes from a file. */
FC_NODISCARD fc_status fci_run_column(double **out, int64_t n, const char *what);
/** Make room for one more row / evaluation in every column; new places are NaN. */
void fci_run_reserve_row(fc_run *run);
void fci_run_reserve_eval(fc_run *run);
/** The retrieval set of that name, added with NaN in all evaluations where it is new. */
fc_retrieval_set *fci_run_set(fc_run *run, const char *name);
/** The index of a term, added with NaN in all rows where it is new. */
int fci_run_term(fc_run *run, const char *name);

/** Write the record as an HDF5 file: whole or not at all. sync: on disk before the call returns. */
FC_NODISCARD fc_status fci_run_save(const fc_run *run, const char *path, bool sync);
/** What fc_run_load says, but *other_version tells a file of another version of the format from a
 * damaged one (both are FC_DATA). */
FC_NODISCARD fc_status fci_run_load(fc_run **out, const char *path, bool *other_version);

#endif
