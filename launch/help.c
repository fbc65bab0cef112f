/* What `fineclip --help` says; the verbs' own screens are in launch/verbs.c. */
#include "core/memory.h"
#include "launch/cli.h"

char *fc_help_text(const fc_verb *verbs)
{
    char *list = fc_strdup("");
    for (; verbs->name != NULL; verbs++) {
        char *longer = fc_format("%s  %-8s %s\n", list, verbs->name, verbs->summary);
        fc_free(&list);
        list = longer;
    }
    char *text = fc_format(
        "usage: fineclip EXPERIMENT.yaml [key=value ...] [--dry-run]\n"
        "       fineclip COMMAND FILE [key=value ...]\n"
        "       fineclip --help | --help-keys | --version | COMMAND --help\n"
        "\n"
        "Train CLIP-style models with region-level objectives. Under mpirun or srun every rank "
        "takes\n"
        "its share; the result does not depend on their number.\n"
        "\n"
        "Commands\n"
        "%s"
        "\n"
        "Examples\n"
        "  fineclip experiments/quickstart.yaml                     minutes on a CPU, nothing to "
        "download\n"
        "  fineclip experiments/quickstart.yaml --dry-run           check everything, train "
        "nothing\n"
        "  mpirun -np 8 fineclip experiments/coco_vitb16.yaml       the paper's main result\n"
        "  fineclip experiments/coco_vitb16.yaml train.batch_size=16 losses.self_distillation=0\n"
        "  fineclip inspect runs/quickstart/results.h5\n"
        "\n"
        "key=value sets one key of the experiment by its dotted path; --help-keys lists them all.\n"
        "\n"
        "Exit status: 0 done; 64 command line or experiment file; 65 bad data; 66 missing file;\n"
        "70 a bug of ours; 71 CUDA, MPI, HDF5 or memory failed; 75 stopped by a signal, "
        "everything\n"
        "saved: the same command goes on. Scripts should repeat 71 and 75 alone.\n"
        "\n"
        "$FINECLIP_SHARE names the folder of models/configs and experiments where these are "
        "neither\n"
        "installed next to the program nor in the source tree it was built from.\n"
        "$FINECLIP_CACHE names the folder for what is measured once a device model, which "
        "algorithm is\n"
        "fastest for a matrix product (~/.cache/fineclip); deterministic=true measures nothing.\n",
        list);
    fc_free(&list);
    return text;
}
