/* Settings against each other, and against what is on disk. */
#include "core/log.h"
#include "core/memory.h"
#include "launch/checkpoint/checkpoint.h"
#include "launch/config/config_table.h"
#include "models/clip.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static fc_status check_image_size(const fc_config *c, const char *key, int size)
{
    int patch = c->model.config.vision.patch_size;
    if (size % patch != 0) {
        return fc_config_error(c, FC_USAGE, key, "%d is not a multiple of the model's patch, %d",
                               size, patch);
    }
    return FC_OK;
}

static fc_status check_sets(const fc_config *c)
{
    const fc_eval_sets *more = &c->eval.retrieval.more;
    if (more->count > 0 && c->eval.retrieval.data.node == NULL) {
        return fc_config_error(c, FC_USAGE, "eval.retrieval.more",
                               "further stores, but eval.retrieval.data is not set");
    }
    for (int i = 0; i < more->count; i++) {
        char *key = fc_format("eval.retrieval.more.%s.image_size", more->set[i].name);
        fc_status status = check_image_size(c, key, more->set[i].image_size);
        fc_free(&key);
        FC_TRY(status);
    }
    return FC_OK;
}

static fc_status check_schedule(const fc_config *c)
{
    bool cooldown = c->train.schedule.kind == FC_SCHEDULE_CONSTANT_COOLDOWN;
    if (cooldown && c->train.schedule.cooldown_steps == 0) {
        return fc_config_error(c, FC_USAGE, "train.schedule.kind",
                               "constant_cooldown needs train.schedule.cooldown_steps");
    }
    if (!cooldown && c->train.schedule.cooldown_steps != 0) {
        return fc_config_error(c, FC_USAGE, "train.schedule.cooldown_steps",
                               "only kind: constant_cooldown has a cool-down");
    }
    if (cooldown && c->train.steps > 0 && c->train.schedule.cooldown_steps > c->train.steps) {
        return fc_config_error(c, FC_USAGE, "train.schedule.cooldown_steps",
                               "%lld steps of cool-down in a run of %lld",
                               (long long)c->train.schedule.cooldown_steps,
                               (long long)c->train.steps);
    }
    return FC_OK;
}

static fc_status check_tower(const fc_config *c)
{
    int layers = c->model.config.vision.layers;
    if (c->model.unlocked_blocks > layers) {
        return fc_config_error(c, FC_USAGE, "model.unlocked_blocks",
                               "%d, the model's picture tower has %d blocks",
                               c->model.unlocked_blocks, layers);
    }
    if (c->model.unlocked_blocks > 0 && (c->model.freeze & FC_FREEZE_IMAGE) != 0) {
        return fc_config_error(c, FC_USAGE, "model.unlocked_blocks",
                               "model.freeze has image: no block of it trains");
    }
    return FC_OK;
}

/* Cells of a grid have neither captions nor categories. */
static fc_status check_grid(const fc_config *c)
{
    for (int i = 0; c->data.regions == FC_PICK_GRID && i < c->loss_count; i++) {
        const fc_loss_def *def = c->losses[i].def;
        if ((def->needs & (FC_NEED_REGION_TEXT | FC_NEED_CONCEPT)) != 0) {
            return fc_config_error(c, FC_USAGE, "data.regions",
                                   "grid: cells have no captions and no categories, and "
                                   "losses.%s needs them",
                                   def->name);
        }
    }
    return FC_OK;
}

fc_status fci_config_cross_check(fc_config *c)
{
    /* The table counts words; box_classification offers every other one of fc_fit. */
    if (c->eval.box_classification.resize == FC_FIT_CENTER_CROP) {
        c->eval.box_classification.resize = FC_FIT_LONGEST;
    }
    if (c->model.image_size == 0) {
        c->model.image_size = c->model.config.vision.image_size;
    }
    FC_TRY(check_image_size(c, "model.image_size", c->model.image_size));
    FC_TRY(check_image_size(c, "eval.box_classification.image_size",
                            c->eval.box_classification.image_size));
    FC_TRY(check_image_size(c, "eval.retrieval.image_size", c->eval.retrieval.image_size));
    FC_TRY(check_sets(c));
    FC_TRY(check_tower(c));
    FC_TRY(check_grid(c));
    if (c->data.min_box_size > c->data.max_box_size) {
        return fc_config_error(c, FC_USAGE, "data.min_box_size", "%g is more than max_box_size, %g",
                               c->data.min_box_size, c->data.max_box_size);
    }
    if (c->train.batch_size < c->train.accumulate) {
        return fc_config_error(c, FC_USAGE, "train.accumulate",
                               "%d micro-batches of a batch of %d images", c->train.accumulate,
                               c->train.batch_size);
    }
    if (c->precision == FC_PRECISION_FP64 && c->device == FC_DEVICE_CUDA) {
        return fc_config_error(c, FC_USAGE, "precision", "fp64 is for device: cpu");
    }
    if (c->output == NULL || c->output[0] == '\0') {
        return fc_config_error(c, FC_USAGE, "output", "want a folder");
    }
    if (c->model.init[0] == '\0') {
        return fc_config_error(c, FC_USAGE, "model.init", "want a file, or random");
    }
    return check_schedule(c);
}

void fci_config_warn(const fc_config *c)
{
    if (c->train.local_loss && !c->train.gather_with_grad) {
        fc_log_warn("train.local_loss without gather_with_grad is not the gradient of the loss: "
                    "the features of other ranks count as constants");
    }
    if (c->train.steps > 0 && c->train.schedule.warmup_steps >= c->train.steps) {
        fc_log_warn("train.schedule.warmup_steps (%lld) is no less than train.steps (%lld): the "
                    "learning rate never arrives",
                    (long long)c->train.schedule.warmup_steps, (long long)c->train.steps);
    }
}

/* ---- Files ---- */

static fc_status check_file(const fc_config *c, const char *key, const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0 || access(path, R_OK) != 0) {
        return fc_config_error(c, FC_NOINPUT, key, "cannot open %s: %s", path, strerror(errno));
    }
    if (S_ISDIR(about.st_mode)) {
        return fc_config_error(c, FC_NOINPUT, key, "%s is a folder, want a file", path);
    }
    return FC_OK;
}

/* A file, or a run's folder that has a model. */
static fc_status check_init(const fc_config *c)
{
    const char *init = c->model.init;
    struct stat about;
    if (strcmp(init, "random") == 0) {
        return FC_OK;
    }
    if (stat(init, &about) != 0 || !S_ISDIR(about.st_mode)) {
        return check_file(c, "model.init", init);
    }
    char *path;
    if (fc_checkpoint_newest_model(init, &path) != FC_OK) {
        char *why = fc_strdup(fc_error_message());
        fc_status status = fc_config_error(c, FC_NOINPUT, "model.init", "%s", why);
        fc_free(&why);
        return status;
    }
    fc_status status = check_file(c, "model.init", path);
    fc_free(&path);
    return status;
}

static fc_status check_source(const fc_config *c, const char *key, const fc_source *source)
{
    return source->path != NULL ? check_file(c, key, source->path) : FC_OK;
}

static fc_status check_set_files(const fc_config *c)
{
    for (int i = 0; i < c->eval.retrieval.more.count; i++) {
        const struct fc_eval_set *set = &c->eval.retrieval.more.set[i];
        char *key = fc_format("eval.retrieval.more.%s.data", set->name);
        fc_status status = check_source(c, key, &set->data);
        fc_free(&key);
        FC_TRY(status);
    }
    return FC_OK;
}

/* Stores that a term's options name. */
static fc_status check_loss_files(const fc_config *c, const fc_loss_choice *choice)
{
    const fc_loss_option *options = choice->def->options;
    for (int i = 0; options != NULL && options[i].key != NULL; i++) {
        if (choice->options.text[i] != NULL) {
            char *key = fc_format("losses.%s.%s", choice->def->name, options[i].key);
            fc_status status = check_file(c, key, choice->options.text[i]);
            fc_free(&key);
            FC_TRY(status);
        }
    }
    return FC_OK;
}

fc_status fc_config_check(const fc_config *c, unsigned purpose)
{
    const bool train = (purpose & FC_FOR_TRAIN) != 0, eval = (purpose & FC_FOR_EVAL) != 0;
    const unsigned everything = 1 | 2 | 4;
    if (train && c->data.train.node == NULL) {
        return fc_config_error(c, FC_USAGE, "data.train",
                               "not set; want the path of a store or {synthetic: {images: 2000}}");
    }
    if (train && c->loss_count == 0) {
        return fc_config_error(c, FC_USAGE, "losses", "every term is off: nothing to train for");
    }
    for (int i = 0; train && i < c->loss_count; i++) {
        FC_TRY(check_loss_files(c, &c->losses[i]));
    }
    if (train && c->model.freeze == everything) {
        return fc_config_error(c, FC_USAGE, "model.freeze", "all parts are frozen");
    }
    if (eval && !train && c->eval.box_classification.data.node == NULL &&
        c->eval.retrieval.data.node == NULL) {
        return fc_config_error(c, FC_USAGE, "eval",
                               "neither box_classification nor retrieval is set");
    }
    if (train) {
        FC_TRY(check_source(c, "data.train", &c->data.train));
    }
    if (eval) {
        FC_TRY(check_source(c, "eval.box_classification.data", &c->eval.box_classification.data));
        FC_TRY(check_source(c, "eval.retrieval.data", &c->eval.retrieval.data));
        FC_TRY(check_set_files(c));
    }
    FC_TRY(check_init(c));
    if (train && strcmp(c->train.resume, "auto") != 0 && strcmp(c->train.resume, "never") != 0 &&
        access(c->train.resume, R_OK) != 0) {
        return fc_config_error(c, FC_NOINPUT, "train.resume", "cannot open %s: %s", c->train.resume,
                               strerror(errno));
    }
    return FC_OK;
}
