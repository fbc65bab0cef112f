/* An experiment brought to life: model, stores, step, schedule. What train, eval, bench and
 * --dry-run have in common. */
#ifndef FC_LAUNCH_EXPERIMENT_H
#define FC_LAUNCH_EXPERIMENT_H

#include "launch/device.h"
#include "launch/schedule.h"
#include "launch/step.h"
#include "launch/summary.h"

typedef struct fc_experiment {
    const fc_config *config;
    fc_comm *comm;
    fc_device device;
    fc_clip *model;
    fc_store *train, *box, *retrieval; /* NULL: not asked for; may be one store */
    fc_store *more[FC_MOST_SETS];      /* of eval.retrieval.more; may be one of these, too */
    fc_concepts *concepts;             /* NULL: no term needs them */
    fc_step_options step;
    fc_schedule schedule;
    fc_sampler *sampler; /* NULL without training */
    int64_t global_batch, steps_per_epoch, total_steps;
    bool quiet; /* no table of its results on stdout: the sweep it belongs to prints one of all */
} fc_experiment;

/** Words of the configuration that say how a step is done, without weights or data. FC_USAGE: an
 * impossible combination. */
FC_NODISCARD fc_status fc_experiment_step_options(const fc_config *config, int ranks,
                                                  fc_step_options *out);
/** FC_FREEZE_... bits and FC_TRAIN_LAST_BLOCKS of the model. */
unsigned fc_experiment_freeze(const fc_config *config);
/** Model with its weights (random or from model.init), and a copy of them in model->initial where
 * the run goes on needing it. All ranks read the file. */
FC_NODISCARD fc_status fc_experiment_model(const fc_config *config, const fc_device *device,
                                           unsigned purpose, fc_clip **out);
/** The file that model.init means: of a run's folder its newest model, else as it stands ("random",
 * too). Heap. FC_NOINPUT: the folder has none. */
FC_NODISCARD fc_status fc_experiment_init_file(const fc_config *config, char **path);
/** Load the weights to look at: the newest checkpoint in the experiment's output or the one that
 * train.resume names, over those that `model` has from model.init. Collective.
 *  from   the file (or "random"); heap
 *  epoch  as that file says, else 0 */
FC_NODISCARD fc_status fc_experiment_weights(const fc_config *config, fc_comm *comm, fc_clip *model,
                                             char **from, double *epoch);

/** Open everything for `purpose` (FC_FOR_TRAIN | FC_FOR_EVAL; with FC_FOR_PLAN nothing will be
 * computed, and random weights are not drawn). Synthetic scenes are rendered once
 * into <output>/data by rank 0. Checks that stores have what terms and evaluations need, and that
 * tokens fit the model. Collective; every rank gets the same outcome. */
FC_NODISCARD fc_status fc_experiment_open(fc_experiment *x, const fc_config *config, fc_comm *comm,
                                          unsigned purpose);
void fc_experiment_close(fc_experiment *x);

/** Embed the concepts regions are told apart by, once the weights are those to start from.
 * Collective. */
FC_NODISCARD fc_status fc_experiment_embed_concepts(fc_experiment *x);

/** Open one source of the experiment, which says its key in errors; a store that `x` has open
 * already is that one. Collective. */
FC_NODISCARD fc_status fc_experiment_store(fc_experiment *x, const fc_source *source,
                                           const char *key, fc_store **out);

/** Loader options of this rank for batches [begin, total_steps + skipped): rollbacks leave batches
 * out, so that more are needed than there are steps. */
fc_loader_options fc_experiment_loader(const fc_experiment *x, int64_t begin, int64_t skipped);
/** Epochs done after `step` updates. */
double fc_experiment_epoch(const fc_experiment *x, int64_t step);

/** Run what eval: asks for with the model as it is. Collective. */
FC_NODISCARD fc_status fc_experiment_evaluate(fc_experiment *x, double epoch, fc_evaluation *out);

#endif
