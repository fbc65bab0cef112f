/* A sweep file (FORMATS.md section 2) as the list of runs it stands for: every experiment with
 * every combination of the matrix, each under a name and in a folder of its own. */
#ifndef FC_LAUNCH_SWEEP_PLAN_H
#define FC_LAUNCH_SWEEP_PLAN_H

#include "launch/config/config.h"

typedef struct fc_sweep_run {
    char *file;        /* the experiment, as it can be opened */
    char *name;        /* ablation_row5-seed1 */
    char *with;        /* its combination: "seed=1" */
    int overrides;     /* key=value: set, matrix, command line, name, output */
    char **override;   /* heap, each and the list */
    fc_config *config; /* the experiment with these */
} fc_sweep_run;

typedef struct fc_sweep_plan {
    char *name, *output; /* the folder that holds the runs' folders and the report */
    bool has_start;      /* run[0] trains the model that the others start from */
    int count;
    fc_sweep_run *run; /* in order: the first experiment with all combinations, the next one ... */
} fc_sweep_plan;

/** Read a sweep and the experiments it names; stores and weights are not looked for.
 *  path      as given, else below the share folders (core/paths.h)
 *  override  key=value: name, output, runs, matrix.KEY and set.KEY change the sweep, any other key
 *            changes every run
 *  share_scenes  made-up scenes are rendered into one folder for all, as runs that go one after
 *            the other can
 *  Errors FC_USAGE or FC_NOINPUT with file, line and key: of the sweep or of an experiment; two
 *         runs of one name */
FC_NODISCARD fc_status fc_sweep_plan_load(fc_sweep_plan **out, const char *path, int overrides,
                                          char *const *override, bool share_scenes);
void fc_sweep_plan_destroy(fc_sweep_plan **plan);

#endif
