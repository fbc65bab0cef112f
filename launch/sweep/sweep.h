/* What the parts of `fineclip sweep` share. */
#ifndef FC_LAUNCH_SWEEP_H
#define FC_LAUNCH_SWEEP_H

#include "launch/sweep/sweep_plan.h"

/* What a run's folder says of it. */
typedef enum {
    FC_SWEEP_NEW,       /* no results yet */
    FC_SWEEP_COMPLETED, /* with the configuration it would have now */
    FC_SWEEP_STARTED,   /* interrupted, or ended without a word: it goes on from its checkpoint */
    FC_SWEEP_FAILED     /* an earlier attempt failed */
} fc_sweep_state;

/** How far a run is, from its results.h5, for going on with so many ranks; reads files, local.
 *  Errors FC_USAGE the folder holds a run of another configuration: the first key that differs, and
 *         the way out. Keys that do not touch what is trained (logging, checkpoints, run) may
 *         differ; where `eval` does, a completed run counts as started: it evaluates anew. */
FC_NODISCARD fc_status fc_sweep_look(const fc_sweep_run *run, int ranks, fc_sweep_state *out);

typedef struct fc_sweep_jobs {
    const char *file; /* the sweep, and its key=value, for the job that reports */
    int overrides;
    char *const *override;
    int at_once;         /* jobs that may run at one time */
    const char *options; /* words of sbatch for every run, separated by blanks; NULL: none */
    bool dry_run;        /* print the commands */
} fc_sweep_jobs;

/** One job a run through sbatch (launch/slurm/train.sbatch EXPERIMENT key=value ...; FINECLIP in
 * its environment is this program), each after the one `at_once` before it, and one for the report
 * after all. states: of every run; completed ones are left out.
 *  Errors FC_NOINPUT no launch/slurm/train.sbatch; FC_RUNTIME sbatch is not there or refuses */
FC_NODISCARD fc_status fc_sweep_submit(const fc_sweep_plan *plan, const fc_sweep_state *states,
                                       const fc_sweep_jobs *jobs);

#endif
