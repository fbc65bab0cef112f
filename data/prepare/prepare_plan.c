/* The first stage: what the sources say becomes a plan, or an interrupted run's plan is found
 * again. */
#include "core/log.h"
#include "core/memory.h"
#include "data/file.h"
#include "data/prepare/plan_build.h"
#include "data/prepare/prepare_parts.h"
#include "data/prepare/sources.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SORT_MEMORY = 32 << 20 };

static char *plan_path(const fci_recipe *recipe)
{
    return fc_format("%s/plan", recipe->work);
}

/* The list of pictures, with what comes with it. */
static fc_status read_list(const fci_recipe *r, fci_plan_builder *b)
{
    switch (r->source) {
    case FCI_SOURCE_FOLDER:
        return fci_source_folder(b, r->images);
    case FCI_SOURCE_SHARDS:
        return fci_source_shards(b, r->shards, r->shard_count);
    case FCI_SOURCE_RETRIEVAL:
        return fci_source_retrieval(b, r->retrieval);
    case FCI_SOURCE_KARPATHY:
        return fci_source_karpathy(b, r->karpathy, r->splits);
    default:
        return FC_OK; /* coco: the first of its files */
    }
}

static fc_status read_captions(const fci_recipe *r, fci_plan_builder *b, bool *list)
{
    bool records;
    FC_TRY(fci_source_is_records(r->captions, &records));
    if (records) {
        return fci_source_caption_records(b, r->captions);
    }
    FC_TRY(fci_source_coco(b, FCI_COCO_CAPTIONS, r->captions, *list, false));
    *list = false;
    return FC_OK;
}

static fc_status read_sources(const fci_recipe *r, fci_plan_builder *b)
{
    bool list = r->source == FCI_SOURCE_COCO; /* the next COCO file says which pictures there are */
    FC_TRY(read_list(r, b));
    if (r->captions != NULL) {
        FC_TRY(read_captions(r, b, &list));
    }
    if (r->instances != NULL) {
        FC_TRY(fci_source_coco(b, FCI_COCO_INSTANCES, r->instances, list, r->panoptic == NULL));
        list = false;
    }
    if (r->panoptic != NULL) {
        if (r->instances != NULL) {
            fci_builder_stuff_only(b);
        }
        FC_TRY(fci_source_coco(b, FCI_COCO_PANOPTIC, r->panoptic, list, true));
    }
    if (r->detections != NULL) {
        FC_TRY(fci_source_detections(b, r->detections));
    }
    if (r->region_captions != NULL) {
        FC_TRY(fci_source_region_captions(b, r->region_captions));
    }
    return FC_OK;
}

static fc_status build(const fci_recipe *r, const char *path)
{
    const fci_plan_options options = {.folder = r->work,
                                      .images = r->images,
                                      .samples = r->samples,
                                      .size = r->filter,
                                      .proposals = r->proposals,
                                      .filter_regions = r->filter_regions,
                                      .drop_repeated = r->drop_repeated,
                                      .memory = SORT_MEMORY};
    fci_plan_builder *b;
    FC_TRY(fci_builder_create(&b, &options));
    fc_status status;
    FC_TRY_GOTO(status, read_sources(r, b), done);
    if (fci_builder_pictures(b) == 0) {
        const char *first = r->captions != NULL    ? r->captions
                            : r->instances != NULL ? r->instances
                            : r->panoptic != NULL  ? r->panoptic
                            : r->retrieval != NULL ? r->retrieval
                            : r->karpathy != NULL  ? r->karpathy
                                                   : r->images;
        status =
            FC_FAIL(FC_DATA, "%s lists no pictures%s", first != NULL ? first : "the recipe",
                    r->source == FCI_SOURCE_COCO ? ": its \"images\" are missing or empty" : "");
        goto done;
    }
    FC_TRY_GOTO(status, fci_builder_finish(b, path, r->fingerprint), done);
done:
    fci_builder_destroy(&b);
    return status;
}

/* Files of ours in a folder: all of them. */
static void empty_folder(const char *path)
{
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        bool ours =
            strncmp(entry->d_name, "part.", 5) == 0 || strncmp(entry->d_name, "plan", 4) == 0;
        if (ours) {
            char *name = fc_format("%s/%s", path, entry->d_name);
            unlink(name);
            fc_free(&name);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

void fci_prepare_remove_work(const fci_recipe *recipe)
{
    empty_folder(recipe->work);
    rmdir(recipe->work);
}

/* Shards of another run would be taken for this one's. */
static fc_status check_export_folder(const fci_recipe *recipe)
{
    DIR *folder = recipe->export == NULL ? NULL : opendir(recipe->export);
    bool taken = false;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        size_t n = strlen(entry->d_name);
        taken = taken || (n > 4 && strcmp(entry->d_name + n - 4, ".tar") == 0);
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return taken ? FC_FAIL(FC_USAGE,
                           "%s holds shards already: remove them or export to another folder",
                           recipe->export)
                 : FC_OK;
}

fc_status fci_prepare_plan(const fci_recipe *recipe, fci_plan *plan, bool *resumed)
{
    char *path = plan_path(recipe);
    fc_status status;
    FC_TRY_GOTO(status, fci_plan_open(plan, path, recipe->fingerprint, resumed), done);
    if (!*resumed) {
        FC_TRY_GOTO(status, check_export_folder(recipe), done);
        empty_folder(recipe->work);
        FC_TRY_GOTO(status, fci_file_make_folder(path), done);
        status = build(recipe, path);
        if (status != FC_OK) {
            rmdir(recipe->work); /* only if nothing is in it */
            goto done;
        }
        bool same;
        FC_TRY_GOTO(status, fci_plan_open(plan, path, recipe->fingerprint, &same), done);
        FC_ASSERT(same);
    }
done:
    fc_free(&path);
    return status;
}

fc_status fci_prepare_open_plan(const fci_recipe *recipe, fci_plan *plan)
{
    char *path = plan_path(recipe);
    bool same;
    fc_status status = fci_plan_open(plan, path, recipe->fingerprint, &same);
    if (status == FC_OK && !same) {
        status = FC_FAIL(FC_RUNTIME,
                         "rank 0 has made %s, but this rank sees another file there or none: all "
                         "ranks must share the folder of the output",
                         path);
    }
    fc_free(&path);
    return status;
}
