/* The commands of `fineclip`. argv[0] is the command's own word, the rest its arguments. */
#ifndef FC_LAUNCH_VERBS_H
#define FC_LAUNCH_VERBS_H

#include "core/status.h"

/** `fineclip EXPERIMENT.yaml [key=value ...] [--dry-run]`: train and evaluate. */
FC_NODISCARD fc_status fc_verb_train(int argc, char **argv);

/** `fineclip eval EXPERIMENT.yaml [key=value ...]`: evaluate, train nothing. */
FC_NODISCARD fc_status fc_verb_eval(int argc, char **argv);

/** `fineclip bench EXPERIMENT.yaml [key=value ...] [--ranks N]`: time steps on made-up data,
 * predict those on more ranks. */
FC_NODISCARD fc_status fc_verb_bench(int argc, char **argv);

/** `fineclip explain EXPERIMENT.yaml image=... text=... | regions=... [key=value ...]`: what a
 * model looks at. */
FC_NODISCARD fc_status fc_verb_explain(int argc, char **argv);

/** `fineclip features EXPERIMENT.yaml [key=value ...]`: features of a store to HDF5. */
FC_NODISCARD fc_status fc_verb_features(int argc, char **argv);

/** `fineclip sweep SWEEP.yaml [key=value ...] [--dry-run] [--jobs slurm]`: several experiments. */
FC_NODISCARD fc_status fc_verb_sweep(int argc, char **argv);

/** `fineclip report RUN [RUN ...]`: tables and pictures out of results. */
FC_NODISCARD fc_status fc_verb_report(int argc, char **argv);

/** `fineclip prepare RECIPE.yaml [key=value ...]`: make a store; `--help` prints the recipe's keys.
 */
FC_NODISCARD fc_status fc_verb_prepare(int argc, char **argv);

/** `fineclip inspect FILE [--check] [--all]`: what is in a store, results or weights, on stdout. */
FC_NODISCARD fc_status fc_verb_inspect(int argc, char **argv);

#endif
