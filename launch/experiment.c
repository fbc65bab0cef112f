#include "launch/experiment.h"

#include "core/log.h"
#include "core/memory.h"
#include "data/scenes/scenes.h"
#include "launch/checkpoint/checkpoint.h"
#include "launch/dist.h"
#include "launch/folder.h"
#include "launch/guard/leak_guard.h"
#include "launch/output.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

fc_status fc_experiment_step_options(const fc_config *config, int ranks, fc_step_options *out)
{
    *out = (fc_step_options){.local_loss = config->train.local_loss,
                             .gather_with_grad = config->train.gather_with_grad,
                             .accumulate = config->train.accumulate,
                             .seed = (uint64_t)config->seed};
    if (config->train.recompute == FC_RECOMPUTE_BLOCKS) {
        out->recompute = (fc_recompute){FC_ALL_BLOCKS, FC_ALL_BLOCKS};
    }
    out->unsynced_gradients =
        (config->train.compat & FC_COMPAT_UNSYNCED_GRADIENTS) != 0 && ranks > 1;
    out->adamw = (fc_adamw_options){.weight_decay = config->train.optimizer.weight_decay,
                                    .beta1 = config->train.optimizer.betas[0],
                                    .beta2 = config->train.optimizer.betas[1],
                                    .eps = config->train.optimizer.eps,
                                    .clip_grad_norm = config->train.clip_grad_norm,
                                    .shard = config->train.shard_optimizer && ranks > 1};
    if (out->unsynced_gradients && out->adamw.shard) {
        return fc_config_error(
            config, FC_USAGE, "train.shard_optimizer",
            "ranks with unsynced gradients have nothing to share an optimizer for");
    }
    FC_ASSERT(config->loss_count <= FC_MAX_TERMS);
    for (int i = 0; i < config->loss_count; i++) {
        out->terms[out->term_count++] = (fc_step_term){.def = config->losses[i].def,
                                                       .weight = config->losses[i].weight,
                                                       .options = config->losses[i].options};
    }
    return FC_OK;
}

unsigned fc_experiment_freeze(const fc_config *config)
{
    return config->model.freeze | FC_TRAIN_LAST_BLOCKS(config->model.unlocked_blocks);
}

/* Whether a run looks back at the model it began with: as a teacher, to ensemble with it, or for
 * text embeddings that training would move. */
static bool needs_initial(const fc_config *config)
{
    bool text_moves = (config->model.freeze & FC_FREEZE_TEXT) == 0;
    unsigned needs = 0;
    for (int i = 0; i < config->loss_count; i++) {
        needs |= config->losses[i].def->needs;
    }
    return (needs & FC_NEED_TEACHER) != 0 || config->train.ensemble_alpha < 1 ||
           ((needs & FC_NEED_CONCEPT) != 0 && text_moves);
}

fc_status fc_experiment_init_file(const fc_config *config, char **path)
{
    struct stat about;
    const char *init = config->model.init;
    if (stat(init, &about) == 0 && S_ISDIR(about.st_mode)) {
        return fc_checkpoint_newest_model(init, path);
    }
    *path = fc_strdup(init);
    return FC_OK;
}

static fc_status load_initial(const fc_config *config, fc_clip *model)
{
    char *path;
    FC_TRY(fc_experiment_init_file(config, &path));
    fc_status status = fc_clip_load(model, path);
    fc_free(&path);
    return status;
}

fc_status fc_experiment_model(const fc_config *config, const fc_device *device, unsigned purpose,
                              fc_clip **out)
{
    FC_TRY(fc_clip_create_on(out, device->backend, &config->model.config, config->model.image_size,
                             device->compute, fc_experiment_freeze(config)));
    (*out)->ensemble_alpha = config->train.ensemble_alpha;
    fc_status status = FC_OK;
    if (strcmp(config->model.init, "random") != 0) {
        status = load_initial(config, *out);
    } else if ((purpose & FC_FOR_PLAN) == 0) {
        fc_clip_init(*out, (uint64_t)config->seed);
    }
    if (status == FC_OK && needs_initial(config)) {
        status = fc_clip_keep_initial(*out);
    }
    if (status != FC_OK) {
        fc_clip_destroy(out);
    }
    return status;
}

/* ---- Stores ---- */

/* Two runs that start at once must not render the same file. */
static fc_status render(const char *folder, const char *path, const fc_scene_options *scenes)
{
    fc_output *folder_lock;
    FC_TRY(fc_output_lock(&folder_lock, folder));
    fc_status status = FC_OK;
    if (access(path, R_OK) != 0) {
        fc_log_info("rendering %lld scenes into %s", (long long)scenes->images, path);
        status = fc_scenes_write(path, scenes);
    }
    fc_output_release(&folder_lock);
    return status;
}

/* Path of a source's store; scenes are rendered by rank 0 where they are not there yet. Heap. */
static fc_status source_path(const fc_experiment *x, const fc_source *source, char **path)
{
    if (!source->synthetic) {
        *path = fc_strdup(source->path);
        return FC_OK;
    }
    const char *scenes = x->config->data.scenes;
    char *folder = scenes != NULL ? fc_strdup(scenes) : fc_format("%s/data", x->config->output);
    fc_status status = FC_OK;
    *path = NULL;
    if (fc_comm_rank(x->comm) == 0) {
        status = fc_folder_make(folder);
        if (status == FC_OK) {
            status = fc_scenes_path(folder, &source->scenes, path);
        }
        if (status == FC_OK && access(*path, R_OK) != 0) {
            status = render(folder, *path, &source->scenes);
        }
    }
    status = fc_dist_agree(status);
    if (status == FC_OK && *path == NULL) {
        status = fc_scenes_path(folder, &source->scenes, path);
    }
    fc_free(&folder);
    return status;
}

static fc_status check_store(const fc_experiment *x, const fc_store *s, const char *key)
{
    const fc_model_config *model = &x->config->model.config;
    if (s->vocab_size > model->text.vocab_size) {
        return fc_config_error(x->config, FC_USAGE, key,
                               "%s has tokens of a vocabulary of %d, the model one of %d", s->path,
                               s->vocab_size, model->text.vocab_size);
    }
    return FC_OK;
}

enum { OPEN_STORES = 3 + FC_MOST_SETS };

static void list_stores(const fc_experiment *x, fc_store *all[OPEN_STORES])
{
    all[0] = x->train;
    all[1] = x->box;
    all[2] = x->retrieval;
    memcpy(all + 3, x->more, sizeof x->more);
}

fc_status fc_experiment_store(fc_experiment *x, const fc_source *source, const char *key,
                              fc_store **out)
{
    char *path;
    FC_TRY(source_path(x, source, &path));
    fc_store *already[OPEN_STORES];
    list_stores(x, already);
    for (int i = 0; i < OPEN_STORES; i++) {
        if (already[i] != NULL && strcmp(already[i]->path, path) == 0) {
            *out = already[i];
        }
    }
    fc_status status = *out != NULL ? FC_OK : fc_store_open(out, path);
    fc_free(&path);
    if (status == FC_OK) {
        status = check_store(x, *out, key);
    }
    return fc_dist_agree(status);
}

/* What the terms read must be in the training store. */
static fc_status check_needs(const fc_experiment *x)
{
    unsigned needs = fc_step_needs(&x->step);
    const fc_store *s = x->train;
    const char *lacks = NULL;
    if ((needs & FC_NEED_TEXT) != 0 && s->captions == 0) {
        lacks = "captions";
    } else if ((needs & (FC_NEED_BOX | FC_NEED_CROP)) != 0 && s->regions == 0 &&
               x->config->data.regions != FC_PICK_GRID) {
        lacks = "regions";
    } else if ((needs & FC_NEED_REGION_TEXT) != 0 && s->region_offsets[s->regions] == 0) {
        lacks = "region captions";
    }
    for (int64_t i = 0; (needs & FC_NEED_TEXT) != 0 && lacks == NULL && i < s->images; i++) {
        if (s->caption_of[i] == s->caption_of[i + 1]) {
            return FC_FAIL(
                FC_DATA,
                "%s:/captions/image_offsets: image %lld has no caption, and a loss term needs one",
                s->path, (long long)i);
        }
    }
    if (lacks != NULL) {
        for (int i = 0; i < x->step.term_count; i++) {
            const fc_loss_def *def = x->step.terms[i].def;
            unsigned need =
                strcmp(lacks, "captions") == 0 ? FC_NEED_TEXT : FC_NEED_BOX | FC_NEED_REGION_TEXT;
            if ((def->needs & need) != 0) {
                return FC_FAIL(FC_DATA, "%s has no %s, and losses.%s needs them", s->path, lacks,
                               def->name);
            }
        }
    }
    return FC_OK;
}

static fc_status open_concepts(fc_experiment *x)
{
    for (int i = 0; i < x->step.term_count; i++) {
        const fc_step_term *term = &x->step.terms[i];
        if ((term->def->needs & FC_NEED_CONCEPT) == 0) {
            continue;
        }
        const char *path = NULL; /* the option that names a store */
        for (int k = 0; k < FC_LOSS_OPTIONS; k++) {
            path = term->options.text[k] != NULL ? term->options.text[k] : path;
        }
        FC_TRY(fc_concepts_open(&x->concepts, x->train, path));
        FC_TRY(check_store(x, x->concepts->store, "losses"));
        x->step.concepts = x->concepts;
        return FC_OK;
    }
    return FC_OK;
}

fc_status fc_experiment_embed_concepts(fc_experiment *x)
{
    return x->concepts != NULL ? fc_concepts_embed(x->concepts, x->model, x->comm) : FC_OK;
}

static fc_status plan_training(fc_experiment *x)
{
    const fc_config *c = x->config;
    int ranks = fc_comm_size(x->comm);
    x->global_batch = (int64_t)c->train.batch_size * ranks;
    FC_TRY(check_needs(x));
    FC_TRY(fc_dist_agree(open_concepts(x)));
    if (c->train.accumulate > c->train.batch_size) {
        return fc_config_error(c, FC_USAGE, "train.accumulate", "%d micro-batches of a batch of %d",
                               c->train.accumulate, c->train.batch_size);
    }
    int64_t images = x->train->images;
    if (c->data.samples > images) {
        return fc_config_error(c, FC_USAGE, "data.samples", "%lld, but %s has %lld images",
                               (long long)c->data.samples, x->train->path, (long long)images);
    }
    int64_t used = c->data.samples > 0 ? c->data.samples : images;
    if (c->data.shuffle && used > 0 && used < x->global_batch) {
        return fc_config_error(c, FC_USAGE, "train.batch_size",
                               "%lld images (of %s) do not fill one batch of %d on %d rank%s; use "
                               "a smaller batch or fewer ranks",
                               (long long)used, x->train->path, c->train.batch_size, ranks,
                               ranks > 1 ? "s" : "");
    }
    FC_TRY(fc_sampler_create(&x->sampler, (uint64_t)c->seed, x->train->images, c->data.samples,
                             x->global_batch, c->data.shuffle));
    x->steps_per_epoch = fc_sampler_steps_per_epoch(x->sampler);
    x->total_steps = c->train.steps > 0 ? c->train.steps : c->train.epochs * x->steps_per_epoch;
    x->schedule = (fc_schedule){.kind = c->train.schedule.kind,
                                .lr = c->train.optimizer.lr,
                                .warmup_steps = c->train.schedule.warmup_steps,
                                .total_steps = x->total_steps,
                                .cooldown_steps = c->train.schedule.cooldown_steps,
                                .end_lr = c->train.schedule.end_lr,
                                .power = c->train.schedule.power};
    return FC_OK;
}

static fc_status open_sets(fc_experiment *x)
{
    const fc_eval_sets *more = &x->config->eval.retrieval.more;
    for (int i = 0; i < more->count; i++) {
        char *key = fc_format("eval.retrieval.more.%s", more->set[i].name);
        fc_status status = fc_experiment_store(x, &more->set[i].data, key, &x->more[i]);
        fc_free(&key);
        FC_TRY(status);
        FC_TRY(fc_eval_retrieval_check(x->more[i]));
    }
    return FC_OK;
}

fc_status fc_experiment_open(fc_experiment *x, const fc_config *config, fc_comm *comm,
                             unsigned purpose)
{
    *x = (fc_experiment){.config = config, .comm = comm};
    FC_TRY((purpose & FC_FOR_PLAN) != 0 ? fc_device_plan(&x->device, config, comm)
                                        : fc_device_open(&x->device, config, comm));
    FC_TRY(fc_experiment_step_options(config, fc_comm_size(comm), &x->step));
    if ((purpose & FC_FOR_TRAIN) != 0) {
        FC_TRY(fc_experiment_store(x, &config->data.train, "data.train", &x->train));
        FC_TRY(plan_training(x));
    }
    if (config->eval.box_classification.data.node != NULL) {
        FC_TRY(fc_experiment_store(x, &config->eval.box_classification.data,
                                   "eval.box_classification", &x->box));
        FC_TRY(fc_eval_boxes_check(x->box));
    }
    if (config->eval.retrieval.data.node != NULL) {
        FC_TRY(
            fc_experiment_store(x, &config->eval.retrieval.data, "eval.retrieval", &x->retrieval));
        FC_TRY(fc_eval_retrieval_check(x->retrieval));
    }
    FC_TRY(open_sets(x));
    FC_TRY(fc_leak_guard(x));
    return fc_dist_agree(fc_experiment_model(config, &x->device, purpose, &x->model));
}

void fc_experiment_close(fc_experiment *x)
{
    fc_sampler_destroy(&x->sampler);
    fc_clip_destroy(&x->model);
    fc_concepts_close(&x->concepts);
    fc_store *all[OPEN_STORES];
    list_stores(x, all);
    for (int i = 0; i < OPEN_STORES; i++) {
        fc_store *one = all[i];
        for (int k = i + 1; k < OPEN_STORES; k++) {
            all[k] = all[k] == one ? NULL : all[k];
        }
        fc_store_close(&one);
    }
}

static int auto_workers(void)
{
    int cores = fc_dist_cores();
    return cores > 8 ? 8 : cores;
}

fc_loader_options fc_experiment_loader(const fc_experiment *x, int64_t begin, int64_t skipped)
{
    const fc_config *c = x->config;
    unsigned needs = fc_step_needs(&x->step);
    return (fc_loader_options){
        .seed = (uint64_t)c->seed,
        .steps_begin = begin,
        .steps_end = x->total_steps + skipped,
        .first = (int64_t)fc_comm_rank(x->comm) * c->train.batch_size,
        .count = c->train.batch_size,
        .image_size = x->model->image_size,
        .fit = FC_FIT_SQUASH,
        .max_boxes = c->data.max_boxes,
        .min_box_size = c->data.min_box_size,
        .max_box_size = c->data.max_box_size,
        .caption_random = c->data.caption == FC_PICK_RANDOM,
        .regions_random = c->data.regions == FC_PICK_RANDOM,
        .need_captions = (needs & FC_NEED_TEXT) != 0,
        .need_regions = (needs & (FC_NEED_BOX | FC_NEED_CROP | FC_NEED_REGION_TEXT)) != 0,
        .need_crops = (needs & (FC_NEED_CROP | FC_NEED_TEACHER)) != 0,
        .need_region_captions = (needs & FC_NEED_REGION_TEXT) != 0,
        .grid_split = c->data.regions == FC_PICK_GRID ? c->data.grid_split : 0,
        .dummy_region = (c->train.compat & FC_COMPAT_DUMMY_REGION) != 0,
        .context_length = c->model.config.text.context_length,
        .vocab_size = c->model.config.text.vocab_size,
        .workers = c->data.workers > 0 ? c->data.workers : auto_workers(),
        .depth = 4,
    };
}

double fc_experiment_epoch(const fc_experiment *x, int64_t step)
{
    return (double)step / (double)x->steps_per_epoch;
}
