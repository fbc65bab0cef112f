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
    "usage: fineclip bench EXPERIMENT.yaml [key=value ...] [--ranks N]\n"
    "\n"
    "Time training steps of an experiment on made-up data, so that neither stores nor weights\n"
    "need to be there: step time, images/s, FLOP/s, share of the machine's peak, memory.\n"
    "\n"
    "  --ranks N               predict the step on 1, 2, 4 ... N ranks from what is measured on\n"
    "                          those there are, and say what that assumes\n"
    "  --ranks-per-host 8      N is at most that, or a multiple of it\n"
    "  --link 450e9            bytes a second, each way, of a rank to others of its host\n"
    "  --link-latency 3e-6     seconds a hop\n"
    "  --network 50e9          bytes a second, each way, of a rank's share of the network cards\n"
    "  --network-latency 1e-5  seconds a hop\n"
    "The values shown are the defaults, of a DGX H100. Under mpirun the prediction stands beside\n"
    "what is measured, and the bandwidth found is given.\n"
    "\n"
    "Examples\n"
    "  fineclip bench experiments/coco_vitb16.yaml train.batch_size=4\n"
    "  mpirun -np 2 fineclip bench experiments/quickstart.yaml\n"
    "  fineclip bench experiments/coco_vitb16.yaml train.recompute=blocks\n"
    "  fineclip bench experiments/coco_vitb16.yaml --ranks 64\n"
    "  fineclip bench experiments/coco_vitb16.yaml --ranks 32 --ranks-per-host 4 --network 25e9\n";

static const char explain_help[] =
    "usage: fineclip explain EXPERIMENT.yaml image=... text=... [phrase=...] [key=value ...]\n"
    "       fineclip explain EXPERIMENT.yaml regions=eval|train|STORE.h5 [key=value ...]\n"
    "\n"
    "Where the model looks in a picture for a sentence and for its words: relevance maps\n"
    "(GAE), the relevance of the sentence's tokens, and the similarity of dense features. The\n"
    "weights are the newest checkpoint's or model.init's, as for eval. Into <output>/explain\n"
    "go sheet.png with everything, a PNG a map, and maps.h5 with the raw maps.\n"
    "\n"
    "  image=FILE            a JPEG or PNG, STORE.h5:INDEX, or eval:INDEX and train:INDEX of\n"
    "                        the experiment's stores; several may be named. What follows one\n"
    "                        belongs to it, what stands before the first belongs to all\n"
    "  text=SENTENCE         what to look for; default: a store's picture's first caption\n"
    "  phrase=WORDS          a map of its own for a part of the sentence before it; several;\n"
    "                        default: the sentence's words; phrase= (empty): none\n"
    "  phrase_as=text        text: as a text of its own | token: its tokens in the sentence\n"
    "  layers=last           blocks whose attention counts: last | all\n"
    "  image_size=N          side of the model's input; default: the experiment's\n"
    "  vocabulary=FILE       CLIP's bpe_simple_vocab_16e6.txt.gz where it is not beside the\n"
    "                        store, or scene-words for the built-in scenes; default: as the\n"
    "                        model was trained\n"
    "  folder=PATH           where it goes; default: <output>/explain\n"
    "  regions=STORE.h5      over all regions of a store (eval, train: the experiment's): the\n"
    "                        share of the map of a region's caption, and of its category,\n"
    "                        inside its box, over the box's share of the picture; a table and\n"
    "                        regions.h5\n"
    "\n"
    "Examples\n"
    "  fineclip explain experiments/quickstart.yaml image=eval:0 image=eval:1\n"
    "  fineclip explain experiments/coco_vitb16.yaml image=street.jpg \\\n"
    "      text=\"a boy with a red helmet on a bike\" phrase=\"red helmet\" phrase=bike\n"
    "  fineclip explain experiments/coco_vitb16.yaml text=\"a dog\" image=1.jpg image=2.jpg\n"
    "  mpirun -np 2 fineclip explain experiments/quickstart.yaml regions=eval\n";

static const char features_help[] =
    "usage: fineclip features EXPERIMENT.yaml [store=...] [key=value ...]\n"
    "\n"
    "Features of a store's pictures, regions and texts to one HDF5 file, for use elsewhere,\n"
    "with how they were made as attributes. The weights are the newest checkpoint's or\n"
    "model.init's, as for eval. Under mpirun ranks share the work; the file is the same.\n"
    "\n"
    "  store=eval            eval or train: the experiment's; or the path of a store\n"
    "  kinds=global,box,text of: global, dense, box, crop, text\n"
    "  dtype=f32             f32 | f16\n"
    "  normalize=true        unit length; false: as the towers yield them (dense features and\n"
    "                        class embeddings are of unit length always)\n"
    "  resize=squash         squash | longest | center_crop (the last without dense and box)\n"
    "  image_size=N          side of the model's input; default: the experiment's\n"
    "  file=PATH             default: <output>/features/<name of the store>\n"
    "\n"
    "Datasets: /images/global [N,D], /images/dense [N,patches,D]; /regions/box, /regions/crop\n"
    "and /regions/text [R,D]; /captions/text [C,D]; /categories/text [K,D]; and the store's\n"
    "ids, offsets, boxes and categories.\n"
    "\n"
    "Examples\n"
    "  fineclip features experiments/quickstart.yaml\n"
    "  mpirun -np 4 fineclip features experiments/coco_vitb16.yaml kinds=global,dense \\\n"
    "      store=data/coco_val2017.h5 dtype=f16 file=coco_val2017_features.h5\n"
    "  fineclip features experiments/coco_vitb16.yaml train.resume=never kinds=text\n";

static const char sweep_help[] =
    "usage: fineclip sweep SWEEP.yaml [key=value ...] [--dry-run | --report]\n"
    "       fineclip sweep SWEEP.yaml [key=value ...] --jobs slurm [--at-once N] "
    "[--sbatch \"WORDS\"]\n"
    "\n"
    "Run several experiments one after the other, then write the report. All are checked before\n"
    "the first one starts. What is completed is skipped, what was interrupted goes on, and a run\n"
    "that fails does not keep the others from their turn: the sweep says so at its end, with the\n"
    "status of the first that failed. The same command tries failed runs again, after the others.\n"
    "\n"
    "  name: ablation                        default: the file's name without .yaml\n"
    "  output: runs/${name}                  every run gets a folder in it, the report goes there\n"
    "  runs: [row1.yaml, row2.yaml]          relative to the sweep file\n"
    "  matrix: {seed: [0, 1, 2]}             every combination of these for each run\n"
    "  set: {train.epochs: 2}                keys of every run\n"
    "  start_from: pretrain.yaml             trained first, once, without matrix and set: its "
    "model\n"
    "                                        is the others' model.init; in no table\n"
    "\n"
    "  key=value     name, output, start_from, runs, matrix.KEY and set.KEY change the sweep; any\n"
    "                other key changes every run\n"
    "  --dry-run     check everything and print what would run\n"
    "  --report      run nothing: the report of what is there so far\n"
    "  --jobs slurm  submit one job a run (launch/slurm/train.sbatch) and one for the report\n"
    "  --at-once N   each job waits for the N-th before it; default 1: one after the other\n"
    "  --sbatch \"W\"  words for sbatch, for every run: \"--ntasks-per-node=4 --time=8:00:00\". "
    "What\n"
    "                the report's job needs, too, goes into SBATCH_PARTITION, SBATCH_ACCOUNT ...\n"
    "\n"
    "Examples\n"
    "  fineclip sweep experiments/quickstart_ablation.yaml\n"
    "  mpirun -np 8 fineclip sweep experiments/ablation.yaml\n"
    "  mpirun -np 8 fineclip sweep experiments/ablation.yaml matrix.seed=[0] "
    "output=/scratch/ablation\n"
    "  fineclip sweep experiments/ablation.yaml --jobs slurm --at-once 4\n"
    "\n"
    "SIGTERM, SIGINT and SIGUSR1 save the run that is under way and leave with status 75: the "
    "same\n"
    "command goes on from there.\n";

static const char report_help[] =
    "usage: fineclip report RUN [RUN ...] [output=FOLDER] [name=TITLE] [--png]\n"
    "\n"
    "Tables and pictures out of results. RUN is a run's folder, a results.h5 (or eval.h5), or a\n"
    "folder of runs as a sweep leaves it. Runs that differ in their seed alone are one row: mean "
    "and\n"
    "standard deviation. Rows are set beside the paper's by the terms they train with; the\n"
    "difference is given only where the setting is the paper's, and otherwise what differs.\n"
    "\n"
    "  report.html      everything, in one file that needs no network\n"
    "  report.md        the tables; those that matter most are printed as well\n"
    "  report.csv       a line a row and measure; report_runs.csv: a line a run, all digits\n"
    "  --png            the pictures as report_*.png, too\n"
    "  output=FOLDER    where to; default: the folder, if one is given alone, else report\n"
    "\n"
    "Examples\n"
    "  fineclip report runs/ablation --png\n"
    "  fineclip report runs/quickstart runs/seed1 output=compared\n";

static const fc_verb verbs[] = {
    {"train", "train (and evaluate) one experiment; the word may be left out", train_help,
     fc_verb_train},
    {"eval", "evaluate a checkpoint or an initial model", eval_help, fc_verb_eval},
    {"explain", "where a model looks in a picture for a sentence and for its words", explain_help,
     fc_verb_explain},
    {"features", "features of a store's pictures, regions and texts to HDF5", features_help,
     fc_verb_features},
    {"sweep", "run several experiments one after the other, then report", sweep_help,
     fc_verb_sweep},
    {"report", "tables and pictures out of results", report_help, fc_verb_report},
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
