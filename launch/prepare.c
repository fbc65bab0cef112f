#include "data/prepare/prepare.h"

#include "core/log.h"
#include "core/memory.h"
#include "core/paths.h"
#include "core/yaml.h"
#include "launch/dist.h"
#include "launch/guard/signals.h"
#include "launch/progress.h"
#include "launch/verbs.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: fineclip prepare RECIPE.yaml [key=value ...]\n"
    "\n"
    "Make an HDF5 store out of pictures, annotations and captions. Recipes to begin with: "
    "experiments/prepare/.\n"
    "Under mpirun all ranks work (they share the folders named here); the store does not depend on "
    "their number.\n"
    "Interrupted, the same command goes on from the blocks that are done (OUTPUT.work). The "
    "recipe's keys:\n"
    "\n"
    "  output: data/coco_train2017.h5    the store; its folder is made where it is missing\n"
    "  source: coco                      what lists the pictures: coco | folder | shards | "
    "retrieval |\n"
    "                                    karpathy | synthetic\n"
    "  root: coco                        folder the inputs below are relative to (default: here)\n"
    "  images: train2017                 folder of the pictures (of all sources but shards)\n"
    "\n"
    "Lists of pictures\n"
    "  source: coco                      captions, instances or panoptic, the first of them given\n"
    "  source: folder                    every .jpg, .jpeg and .png below images, sorted by path\n"
    "  source: shards                    webdataset tars, as img2dataset writes them\n"
    "    shards: cc3m/{00000..00331}.tar a folder, a pattern (*, ?, {a,b}, {0..9}), or a list of "
    "these\n"
    "  source: retrieval                 [{\"image\": NAME, \"caption\": [...]}, ...]\n"
    "    retrieval: FILE.json\n"
    "  source: karpathy                  dataset_coco.json, dataset_flickr30k.json\n"
    "    karpathy: {json: FILE, split: test}      splits joined by +; default: all\n"
    "  source: synthetic                 made-up scenes\n"
    "    synthetic: {images: 2000, ...}\n"
    "\n"
    "What is in them (each optional, beside any list)\n"
    "  captions: FILE                    COCO captions, or a list or JSON lines (.jsonl) of\n"
    "                                    {\"image_id\": number or name, \"caption\": }\n"
    "  instances: FILE.json              COCO boxes and categories, crowds left out; published "
    "proposals\n"
    "  panoptic: {json: FILE.json, masks: FOLDER}\n"
    "                                    things and stuff; beside instances it adds the stuff\n"
    "  detections: FILE                  a list or JSON lines of {\"image_id\": number or name,\n"
    "                                    \"bbox\": [x, y, w, h], \"score\":, \"category_id\":, "
    "\"caption\":}\n"
    "  region_captions: FILE             {\"FILE.jpg_X_Y_W_H.jpg\": \"sentence\"}, or a list or "
    "JSON lines of\n"
    "                                    {\"key\": of an exported crop, \"caption\": } or "
    "{\"image\": FILE,\n"
    "                                    \"bbox\": [x, y, w, h], \"caption\": }\n"
    "\n"
    "What is kept\n"
    "  samples: all                      or N pictures of a fixed permutation of their names: N1 < "
    "N2 are\n"
    "                                    nested; pictures that filter's sizes drop do not count\n"
    "  filter: {min_side: 0, max_aspect: 0, min_captions: 0, min_regions: 0}\n"
    "                                    pixels of the shorter side; longer over shorter side; 0: "
    "any\n"
    "  proposals: {min_score: 0.4, nms_iou: 0.6, min_side: 32, max_side: 0, max_boxes: 20}, or "
    "none\n"
    "                                    which boxes become regions, best score first; overlaps "
    "whatever\n"
    "                                    the category; 0: no limit. Default: on with detections, "
    "else none\n"
    "  duplicates: keep                  keep | drop: pictures with the content of an earlier one\n"
    "  drop_repeated_captions: false     of regions, where their picture has the sentence already\n"
    "  max_bad_fraction: 0.001           share of the pictures that may be missing or damaged\n"
    "\n"
    "What is written\n"
    "  vocabulary: FILE                  default: bpe_simple_vocab_16e6.txt.gz beside the store\n"
    "  context_length: 77                longer rows of tokens are cut\n"
    "  prompts: ensemble                 ensemble | none | a file, one template a line with {}\n"
    "                                    for the name and {article} for a or an\n"
    "  picture: {size: original, codec: jpeg, quality: 95}\n"
    "                                    size: original | squash | longest, these with pixels: N\n"
    "                                    codec: jpeg | png | raw; original + jpeg keeps the file's "
    "bytes\n"
    "  crops: {size: 224, scale: 1.5, codec: jpeg, quality: 95}, or none\n"
    "  text: true                        keep the sentences beside the tokens\n"
    "  export_crops: {output: FOLDER, scale: 1, size: 0, quality: 95}, or none\n"
    "                                    instead of a store: regions' crops as webdataset shards "
    "for any\n"
    "                                    captioner, whose lines come back as region_captions\n";

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
    fc_memory_keep();
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
