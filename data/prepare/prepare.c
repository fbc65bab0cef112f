#include "data/prepare/prepare.h"

#include "core/fatal.h"
#include "core/log.h"
#include "core/memory.h"
#include "data/file.h"
#include "data/prepare/prepare_parts.h"
#include "data/scenes/scenes.h"

#include <string.h>
#include <unistd.h>

static fc_status agree(const fc_prepare_watch *watch, fc_status status)
{
    return watch->agree != NULL ? watch->agree(status) : status;
}

/* Whether any sentence will be tokenized. */
static bool has_text(const fci_recipe *r)
{
    bool boxes = r->instances != NULL || r->panoptic != NULL;
    bool listed = r->source != FCI_SOURCE_COCO && r->source != FCI_SOURCE_FOLDER;
    return listed || r->captions != NULL || r->region_captions != NULL || r->detections != NULL ||
           (boxes && r->prompts.count > 0);
}

/* After a failure: what whole blocks there are is kept for the next run, a mere plan is not. */
static void tidy(const fci_recipe *recipe, const fci_plan *plan)
{
    bool any = false;
    for (int64_t i = 0; i < fci_block_count(plan) && !any; i++) {
        char *path = fci_block_path(recipe, i);
        any = access(path, F_OK) == 0;
        fc_free(&path);
    }
    if (!any) {
        fci_prepare_remove_work(recipe);
    }
}

static fc_status make_plan(const fci_recipe *recipe, fci_plan *plan)
{
    bool resumed;
    char *inside =
        recipe->export != NULL ? fc_format("%s/", recipe->export) : fc_strdup(recipe->output);
    fc_status status = fci_file_make_folder(inside);
    fc_free(&inside);
    FC_TRY(status);
    FC_TRY(fci_prepare_plan(recipe, plan, &resumed));
    if (resumed) {
        fc_log_info("going on with what an earlier run left in %s", recipe->work);
    }
    return FC_OK;
}

/* Rank 0, at the end. */
static fc_status finish(const fci_recipe *recipe, const fci_plan *plan, const fc_tokenizer *t,
                        const fc_prepare_watch *watch)
{
    fci_counts counts;
    if (recipe->export != NULL) {
        FC_TRY(fci_blocks_counts(recipe, plan, &counts));
    } else {
        FC_TRY(fci_prepare_store(recipe, plan, t, watch, &counts));
    }
    fci_counts_log(&counts);
    if (recipe->export == NULL) {
        fc_log_info("categories: %lld with %d prompts each", (long long)plan->categories,
                    recipe->prompts.count);
        fc_log_info("written: %s", recipe->output);
    } else {
        fc_log_info("written: %lld shards in %s; captions come back as JSON lines {\"key\": , "
                    "\"caption\": }: region_captions=FILE.jsonl export_crops=none",
                    (long long)fci_block_count(plan), recipe->export);
    }
    fci_prepare_remove_work(recipe);
    return FC_OK;
}

static fc_status run_recipe(const fci_recipe *recipe, const fc_prepare_watch *watch)
{
    fci_plan plan = {.fd = -1};
    fc_tokenizer *t = NULL;
    fc_status status = FC_OK;
    if (has_text(recipe)) {
        status = fc_tokenizer_create(&t, recipe->vocabulary);
    }
    FC_TRY_GOTO(status, agree(watch, status), done);
    if (watch->rank == 0) {
        status = make_plan(recipe, &plan);
    }
    FC_TRY_GOTO(status, agree(watch, status), done);
    if (watch->rank != 0) {
        status = fci_prepare_open_plan(recipe, &plan);
    }
    if (status == FC_OK) {
        status = fci_blocks_run(recipe, &plan, t, watch);
    }
    if (status != FC_OK && status != FC_INTERRUPTED && watch->ranks > 1) {
        fc_fatal(status); /* the others are hours from where they would hear of it */
    }
    FC_TRY_GOTO(status, agree(watch, status), done);
    if (watch->rank == 0) {
        status = finish(recipe, &plan, t, watch);
    }
    FC_TRY_GOTO(status, agree(watch, status), done);
done:
    if (watch->rank == 0 && status != FC_OK && plan.path != NULL) {
        tidy(recipe, &plan);
    }
    fci_plan_close(&plan);
    fc_tokenizer_destroy(&t);
    return status;
}

static fc_status prepare_pictures(const fc_yaml *yaml, const fc_prepare_watch *watch)
{
    fci_recipe recipe;
    fc_status status = fci_recipe_read(&recipe, yaml);
    bool read = status == FC_OK;
    if (read) {
        status = fc_yaml_check_unknown(yaml, NULL);
    }
    status = agree(watch, status);
    if (status == FC_OK) {
        status = run_recipe(&recipe, watch);
    }
    if (read) {
        fci_recipe_free(&recipe);
    }
    return status;
}

static fc_status prepare_synthetic(const fc_yaml *yaml)
{
    fc_scene_options options;
    const fc_yaml *output = fc_yaml_get(yaml, "output");
    if (output == NULL || fc_yaml_text(output) == NULL) {
        return fc_yaml_error(yaml, "the key output (the store to write) is missing");
    }
    FC_TRY(fc_scene_options_read(&options, fc_yaml_get(yaml, "synthetic")));
    FC_TRY(fc_yaml_check_unknown(yaml, NULL));
    FC_TRY(fci_file_make_folder(fc_yaml_text(output)));
    FC_TRY(fc_scenes_write(fc_yaml_text(output), &options));
    fc_log_info("pictures: %lld made up", (long long)options.images);
    fc_log_info("written: %s", fc_yaml_text(output));
    return FC_OK;
}

fc_status fc_prepare(const fc_yaml *recipe, const fc_prepare_watch *watch)
{
    static const fc_prepare_watch alone;
    const fc_yaml *source = fc_yaml_get(recipe, "source");
    watch = watch == NULL ? &alone : watch;
    bool scalar = source != NULL && fc_yaml_type(source) == FC_YAML_SCALAR;
    const char *word = scalar ? fc_yaml_text(source) : NULL;
    if (word != NULL && strcmp(word, "synthetic") == 0) {
        return agree(watch, watch->rank == 0 ? prepare_synthetic(recipe) : FC_OK);
    }
    return prepare_pictures(recipe, watch);
}
