/* What the parts of results share. */
#ifndef FC_LAUNCH_RESULTS_INTERNAL_H
#define FC_LAUNCH_RESULTS_INTERNAL_H

#include "data/store/hdf5_util.h"
#include "launch/results/results.h"

/** Column of n doubles, NaN; FC_DATA-sized allocations go through here when n comes from a file. */
FC_NODISCARD fc_status fci_run_column(double **out, int64_t n, const char *what);
/** Make room for one more row / evaluation in every column; new places are NaN. */
void fci_run_reserve_row(fc_run *run);
void fci_run_reserve_eval(fc_run *run);
/** The retrieval set of that name, added with NaN in all evaluations where it is new. */
fc_retrieval_set *fci_run_set(fc_run *run, const char *name);
/** The index of a term, added with NaN in all rows where it is new. */
int fci_run_term(fc_run *run, const char *name);

/* ---- Incidents ---- */

/** Append; *incident is left empty. */
void fci_run_add_incident(fc_run *run, fc_incident *incident);
/** Forget those of batch and later, unless they ended the run. */
void fci_run_cut_incidents(fc_run *run, int64_t batch);
void fci_run_free_incidents(fc_run *run);
FC_NODISCARD fc_status fci_run_write_incidents(hid_t group, const fc_run *run);

/* An open file that is being loaded. */
typedef struct fci_run_source {
    hid_t file;
    const char *path;
    int64_t bytes;
} fci_run_source;
FC_NODISCARD fc_status fci_run_read_incidents(const fci_run_source *s, fc_run *run);

/* ---- Files ---- */

/** Write a dataset of `stored` type from memory of `type`. */
FC_NODISCARD fc_status fci_run_write_array(hid_t group, const char *where, const char *name,
                                           hid_t stored, hid_t type, int rank, const hsize_t *dims,
                                           const void *values);
FC_NODISCARD fc_status fci_run_write_reals(hid_t group, const char *where, const char *name,
                                           int64_t n, const double *values);
FC_NODISCARD fc_status fci_run_write_integers(hid_t group, const char *where, const char *name,
                                              int64_t n, const int64_t *values);

/** Write the record as an HDF5 file: whole or not at all. sync: on disk before the call returns. */
FC_NODISCARD fc_status fci_run_save(const fc_run *run, const char *path, bool sync);
/** What fc_run_load says, but *other_version tells a file of another version of the format from a
 * damaged one (both are FC_DATA). */
FC_NODISCARD fc_status fci_run_load(fc_run **out, const char *path, bool *other_version);

#endif
