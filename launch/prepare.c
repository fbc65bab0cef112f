#include "data/prepare.h"

#include "core/log.h"
#include "core/memory.h"
#include "core/paths.h"
#include "core/yaml.h"
#include "launch/dist.h"
#include "launch/progress.h"
#include "launch/signals.h"
#include "launch/verbs.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: fineclip prepare RECIPE.yaml [key=value ...]\n"
    "\n"
    "Make an HDF5 store out of pictures, annotations and captions. The recipe's keys:\n"
    "\n"
    "  output: data/coco_train2017.h5    the store; its folder is made where it is missing\n"
    "  source: coco                      coco | synthetic\n"
    "\n"
    "source: synthetic\n"
    "  synthetic: {images: 2000, ...}    options of the made-up scenes\n"
    "\n"
    "source: coco\n"
    "  root: coco                        folder the next five are relative to (default: here)\n"
    "  images: train2017                 folder of the pictures\n"
    "  captions: FILE.json               COCO captions (optional, as the next three)\n"
    "  instances: FILE.json              COCO boxes and categories, crowds left out\n"
    "  panoptic: {json: FILE.json, masks: FOLDER}\n"
    "                                    things and stuff; beside instances it adds the stuff\n"
    "  region_captions: FILE.json        {\"FILE.jpg_X_Y_W_H.jpg\": \"sentence\"}\n"
    "  vocabulary: FILE                  default: bpe_simple_vocab_16e6.txt.gz beside the store\n"
    "  context_length: 77                longer rows of tokens are cut\n"
    "  prompts: ensemble                 ensemble | none | a file, one template a line with {}\n"
    "                                    for the name and {article} for a or an\n"
    "  picture: {size: original, codec: jpeg, quality: 95}\n"
    "                                    size: original | squash | longest, these with pixels: N\n"
    "                                    codec: jpeg | png | raw\n"
    "  crops: {size: 224, scale: 1.5, codec: jpeg, quality: 95}, or none\n"
    "  text: true                        keep the sentences beside the tokens\n"
    "  max_bad_fraction: 0.001           share of the pictures that may be missing or damaged\n";

/* A line a stage. */
typedef struct stages {
    fc_progress progress;
    const char *what;
} stages;

static void step(void *ctx, const char *what, int64_t done, int64_t total)
{
    stages *s = ctx;
    if (fc_log_rank() != 0) {
        return;
    }
    if (s->what == NULL || strcmp(s->what, what) != 0) {
        fc_progress_end(&s->progress);
        fc_progress_begin(&s->progress, what, done, total, 0);
        s->what = what;
    }
    fc_progress_step(&s->progress, done, NULL);
    if (done == total) {
        fc_progress_end(&s->progress);
    }
}

static bool stop(void)
{
    return fc_signals_pending() != 0;
}

fc_status fc_verb_prepare(int argc, char **argv)
{
    if (argc < 2) {
        return FC_FAIL(FC_USAGE,
                       "prepare needs a recipe: fineclip prepare RECIPE.yaml [key=value ...]");
    }
    if (strcmp(argv[1], "--help") == 0) {
        if (fc_log_rank() == 0) {
            fputs(help, stdout);
        }
        return FC_OK;
    }
    fc_yaml *recipe = NULL;
    fc_status status;
    stages s = {.what = NULL};
    char *file = fc_path_find(argv[1]); /* shipped recipes work from any folder */
    FC_TRY_GOTO(status, fc_yaml_load(&recipe, file == NULL ? argv[1] : file), done);
    for (int i = 2; i < argc; i++) {
        FC_TRY_GOTO(status, fc_yaml_override(recipe, argv[i]), done);
    }
    FC_TRY_GOTO(status, fc_signals_install(), done);
    fc_prepare_watch watch = {.rank = fc_log_rank(),
                              .ranks = fc_log_size(),
                              .agree = fc_dist_agree,
                              .stop = stop,
                              .step = step,
                              .ctx = &s};
    FC_TRY_GOTO(status, fc_prepare(recipe, &watch), done);
done:
    fc_progress_end(&s.progress);
    fc_yaml_destroy(&recipe);
    fc_free(&file);
    return status;
}
