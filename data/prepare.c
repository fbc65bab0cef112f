#include "data/prepare.h"

#include "core/log.h"
#include "core/memory.h"
#include "data/file.h"
#include "data/prepare_parts.h"
#include "data/scenes.h"

#include <stdio.h>
#include <string.h>

#include <omp.h>

typedef struct totals {
    int64_t written, fate[FCI_PICTURE_OTHER_SIZE + 1];
    int64_t captions, captions_cut, without_captions;
    int64_t regions, with_caption, empty, outside, cut;
    fc_status first_bad;
    char first_message[512];
} totals;

static void count_job(totals *sum, const fci_picture_job *job)
{
    sum->written++;
    sum->captions += job->captions;
    sum->without_captions += job->captions == 0;
    sum->captions_cut += job->captions_cut;
    sum->regions += job->regions;
    sum->empty += job->empty_boxes;
    sum->outside += job->boxes_outside;
    sum->cut += job->boxes_cut;
    for (int i = 0; i < job->regions; i++) {
        sum->with_caption += job->region[i].caption.count > 0;
    }
}

/* A picture that is missing or damaged: tolerated up to a share of all, so that a wrong folder ends
 * at once. */
static fc_status count_bad(totals *sum, const fci_picture_job *job, const fci_recipe *recipe,
                           int64_t images)
{
    enum { NAMED = 10 };
    sum->fate[job->fate]++;
    int64_t bad = sum->fate[FCI_PICTURE_MISSING] + sum->fate[FCI_PICTURE_DAMAGED] +
                  sum->fate[FCI_PICTURE_OTHER_SIZE];
    if (bad == 1) {
        sum->first_bad = job->fate == FCI_PICTURE_MISSING ? FC_NOINPUT : FC_DATA;
        snprintf(sum->first_message, sizeof sum->first_message, "%s", job->message);
    }
    if ((double)bad > recipe->max_bad_fraction * (double)images) {
        return FC_FAIL(sum->first_bad,
                       "%s (%lld of %lld pictures are missing or damaged so far; max_bad_fraction: "
                       "%g allows no more)",
                       sum->first_message, (long long)bad, (long long)images,
                       recipe->max_bad_fraction);
    }
    if (bad <= NAMED) {
        fc_log_warn("left out: %s", job->message);
    }
    return FC_OK;
}

static fc_status append(fc_store_writer *w, const fci_picture_job *job, const fci_coco *c)
{
    const fci_coco_image *image = &c->image[job->image];
    FC_TRY(fc_store_writer_put(w, &(fc_store_image){.id = image->id,
                                                    .name = c->text + image->name,
                                                    .width = job->width,
                                                    .height = job->height,
                                                    .encoded = job->bytes,
                                                    .bytes = job->count,
                                                    .hash = job->hash,
                                                    .captions = job->captions,
                                                    .caption = job->caption,
                                                    .regions = job->regions,
                                                    .region = job->region}));
    return FC_OK;
}

/* Pictures in windows: threads work on those of a window, then they are appended in order. */
static fc_status write_pictures(fc_store_writer *w, const fci_recipe *recipe, const fci_coco *c,
                                const fc_tokenizer *t, const fc_prepare_watch *watch, totals *sum)
{
    int64_t window = 8 * (int64_t)omp_get_max_threads();
    fci_picture_job *jobs = fc_alloc((size_t)window, sizeof *jobs);
    fc_status status = FC_OK;
    for (int64_t first = 0; first < c->images && status == FC_OK; first += window) {
        int count = (int)(c->images - first < window ? c->images - first : window);
#pragma omp parallel for schedule(dynamic, 1)
        for (int i = 0; i < count; i++) {
            jobs[i] = (fci_picture_job){.image = first + i};
            fci_picture_job_run(&jobs[i], recipe, c, t);
        }
        for (int i = 0; i < count; i++) {
            if (status != FC_OK) {
                /* only to be freed */
            } else if (jobs[i].status != FC_OK) {
                status = FC_FAIL(jobs[i].status, "%s", jobs[i].message);
            } else if (jobs[i].fate != FCI_PICTURE_FINE) {
                status = count_bad(sum, &jobs[i], recipe, c->images);
            } else {
                status = append(w, &jobs[i], c);
                count_job(sum, &jobs[i]);
            }
            fci_picture_job_free(&jobs[i]);
        }
        if (watch != NULL && watch->step != NULL) {
            watch->step(watch->ctx, first + count, c->images);
        }
    }
    fc_free(&jobs);
    return status;
}

static fc_status write_category(fc_store_writer *w, const fci_recipe *recipe, const fci_coco *c,
                                const fc_tokenizer *t, int64_t k)
{
    int prompts = recipe->prompts.count, length = recipe->context_length;
    const char *name = c->text + c->category[k].name;
    fc_store_caption *prompt = fc_alloc((size_t)prompts, sizeof *prompt);
    int32_t *ids = fc_alloc((size_t)prompts * (size_t)length, sizeof *ids);
    for (int i = 0; i < prompts; i++) {
        char *sentence = fc_prompt_sentence(&recipe->prompts, i, name);
        prompt[i].tokens = ids + (size_t)i * (size_t)length;
        prompt[i].count = fc_tokenize(t, sentence, length, ids + (size_t)i * (size_t)length, NULL);
        fc_free(&sentence);
    }
    fc_status status = fc_store_writer_category(w, name, c->category[k].isthing, prompts, prompt);
    fc_free(&prompt);
    fc_free(&ids);
    return status;
}

static void summarise(const fci_recipe *recipe, const fci_coco *c, const totals *s)
{
    typedef long long ll;
    fc_log_info("pictures: %lld listed, %lld written (%lld without a caption); dropped: %lld "
                "missing, %lld damaged, %lld of "
                "another size than annotated",
                (ll)c->images, (ll)s->written, (ll)s->without_captions,
                (ll)s->fate[FCI_PICTURE_MISSING], (ll)s->fate[FCI_PICTURE_DAMAGED],
                (ll)s->fate[FCI_PICTURE_OTHER_SIZE]);
    fc_log_info("captions: %lld written; %lld for pictures not listed; %lld texts cut to %d tokens",
                (ll)s->captions, (ll)c->captions_elsewhere, (ll)s->captions_cut,
                recipe->context_length);
    fc_log_info("regions: %lld written, %lld of them captioned, %lld cut at the border; dropped: "
                "%lld crowds, %lld empty, "
                "%lld outside their picture, %lld of pictures not listed",
                (ll)s->regions, (ll)s->with_caption, (ll)s->cut, (ll)c->crowd, (ll)s->empty,
                (ll)s->outside, (ll)c->regions_elsewhere);
    if (c->region_captions > 0) {
        fc_log_info("region captions: %lld read, %lld of them for no known box",
                    (ll)c->region_captions, (ll)c->region_captions_unused);
    }
    fc_log_info("categories: %lld with %d prompts each", (ll)c->categories, recipe->prompts.count);
    fc_log_info("written: %s", recipe->output);
}

static fc_status write_store(const fci_recipe *recipe, const fci_coco *c, const fc_tokenizer *t,
                             const fc_prepare_watch *watch)
{
    char *source = fc_format("coco: %s", recipe->images);
    fc_store_options options = {.context_length = recipe->context_length,
                                .vocab_size = t == NULL ? 49408 : fc_tokenizer_vocab_size(t),
                                .tokenizer = "clip-bpe",
                                .source = source,
                                .codec = recipe->codec,
                                .crops = recipe->crops,
                                .crop_size = recipe->crop_size,
                                .crop_scale = recipe->crop_scale,
                                .crop_codec = recipe->crop_codec,
                                .text = recipe->text,
                                .names = true,
                                .scores = c->has_scores};
    fc_store_writer *w = NULL;
    totals sum = {0};
    fc_status status;
    FC_TRY_GOTO(status, fc_store_writer_create(&w, recipe->output, &options), done);
    FC_TRY_GOTO(status, write_pictures(w, recipe, c, t, watch, &sum), done);
    for (int64_t k = 0; k < c->categories; k++) {
        FC_TRY_GOTO(status, write_category(w, recipe, c, t, k), done);
    }
    FC_TRY_GOTO(status, fc_store_writer_finish(w), done);
    summarise(recipe, c, &sum);
done:
    fc_store_writer_destroy(&w);
    fc_free(&source);
    return status;
}

static fc_status prepare_coco(const fc_yaml *yaml, const fc_prepare_watch *watch)
{
    fci_recipe recipe;
    fci_coco coco = {0};
    fc_tokenizer *t = NULL;
    FC_TRY(fci_recipe_read(&recipe, yaml));
    fc_status status;
    FC_TRY_GOTO(status, fc_yaml_check_unknown(yaml, NULL), done);
    FC_TRY_GOTO(status, fci_file_make_folder(recipe.output), done);
    bool boxes = recipe.instances != NULL || recipe.panoptic != NULL;
    if (recipe.captions != NULL || recipe.region_captions != NULL ||
        (boxes && recipe.prompts.count > 0)) {
        FC_TRY_GOTO(status, fc_tokenizer_create(&t, recipe.vocabulary), done);
    }
    fci_coco_files files = {recipe.captions, recipe.instances, recipe.panoptic,
                            recipe.region_captions};
    FC_TRY_GOTO(status, fci_coco_read(&coco, &files), done);
    if (coco.images == 0) {
        const char *first = recipe.captions != NULL    ? recipe.captions
                            : recipe.instances != NULL ? recipe.instances
                                                       : recipe.panoptic;
        status = FC_FAIL(FC_DATA, "%s lists no pictures: its \"images\" are missing or empty",
                         first != NULL ? first : "the recipe");
        goto done;
    }
    FC_TRY_GOTO(status, write_store(&recipe, &coco, t, watch), done);
done:
    fci_coco_free(&coco);
    fc_tokenizer_destroy(&t);
    fci_recipe_free(&recipe);
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
    static const char *const sources[] = {"coco", "synthetic", NULL};
    const fc_yaml *source = fc_yaml_get(recipe, "source");
    int which = 0;
    if (fc_log_rank() != 0) {
        return FC_OK;
    }
    if (source == NULL) {
        return fc_yaml_error(recipe, "the key source (coco or synthetic) is missing");
    }
    FC_TRY(fc_yaml_choice(source, sources, &which));
    FC_TRY(which == 0 ? prepare_coco(recipe, watch) : prepare_synthetic(recipe));
    return FC_OK;
}
