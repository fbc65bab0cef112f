/* The table of verbs, and the help of those that take an experiment. */
#include "launch/verbs.h"

#include "launch/cli.h"

#include <stddef.h>

static const char train_help[] =
    "usage: fineclip [train] EXPERIMENT.yaml [key=value ...] [--dry-run]\n"
    "\n"
    "Train one experiment, evaluate it as it says, and leave results.h5 and checkpoints in its\n"
    "output folder. Started again, it goes on from the newest whole checkpoint (train.resume).\n"
    "\n"
    "  key=value   set one key by its dotted path: train.batch_size=16; fineclip --help-keys\n"
    "  --dry-run   check all that can be checked without training (keys, files, shapes) and print\n"
    "              the resolved configuration, parameters, steps, FLOPs and memory a rank needs\n"
    "\n"
    "Examples\n"
    "  fineclip experiments/quickstart.yaml\n"
    "  fineclip experiments/quickstart.yaml name=seed1 seed=1\n"
    "  mpirun -np 4 fineclip experiments/coco_vitb16.yaml train.steps=100 train.log_every=1\n"
    "  fineclip experiments/coco_vitb16.yaml losses.self_distillation.stop_gradient=crops "
    "--dry-run\n"
    "\n"
    "SIGTERM, SIGINT and SIGUSR1 finish the step, save a checkpoint and leave with status 75: the\n"
    "same command goes on from there.\n";

static const char eval_help[] =
    "usage: fineclip eval EXPERIMENT.yaml [key=value ...]\n"
    "\n"
    "Evaluate without training: the newest checkpoint of the experiment's output where there is\n"
    "one and train.resume allows it, otherwise the initial model (model.init). What is measured\n"
    "and on which data is the experiment's `eval`. The table goes to stdout, the figures to "
    "eval.h5\n"
    "in the output folder.\n"
    "\n"
    "Examples\n"
    "  fineclip eval experiments/quickstart.yaml\n"
    "  fineclip eval experiments/coco_vitb16.yaml train.resume=never          the initial model\n"
    "  fineclip eval experiments/coco_vitb16.yaml model.init=epoch_10.safetensors \\\n"
    "      train.resume=never eval.retrieval.resize=center_crop\n"
    "  mpirun -np 4 fineclip eval experiments/coco_vitb16.yaml model.image_size=336\n";

static const char bench_help[] =
    "usage: fineclip bench EXPERIMENT.yaml [key=value ...]\n"
    "\n"
    "Time training steps of an experiment on made-up data, so that neither stores nor weights\n"
    "need to be there: step time, images/s, FLOP/s, share of the machine's peak, memory.\n"
    "\n"
    "Examples\n"
    "  fineclip bench experiments/coco_vitb16.yaml train.batch_size=4\n"
    "  mpirun -np 2 fineclip bench experiments/quickstart.yaml\n"
    "  fineclip bench experiments/coco_vitb16.yaml train.recompute=blocks\n";

static const fc_verb verbs[] = {
    {"train", "train (and evaluate) one experiment; the word may be left out", train_help,
     fc_verb_train},
    {"eval", "evaluate a checkpoint or an initial model", eval_help, fc_verb_eval},
    {"explain", "where a model looks in a picture for a sentence and for its words", NULL,
     fc_verb_explain},
    {"prepare", "make an HDF5 store out of pictures, annotations and captions", NULL,
     fc_verb_prepare},
    {"inspect", "what is in a store, a results file or a checkpoint", NULL, fc_verb_inspect},
    {"bench", "time training steps on made-up data", bench_help, fc_verb_bench},
    {NULL, NULL, NULL, NULL},
};

const fc_verb *fc_verbs(void)
{
    return verbs;
}
