/* Regions' crops as webdataset shards, for whatever writes captions: KEY.jpg beside KEY.json, which
 * says what the crop is of. The captions come back by the key (`region_captions` of a recipe). */
#include "core/memory.h"
#include "data/prepare/plan_build.h"
#include "data/prepare/prepare_parts.h"
#include "data/prepare/tar.h"

#include <stdio.h>
#include <string.h>

#include <yajl/yajl_gen.h>

static fc_status add_member(fci_bytes *shard, const char *key, const char *suffix, const void *data,
                            size_t bytes)
{
    char *name = fc_format("%s.%s", key, suffix);
    fc_status status = fci_tar_pack(shard, name, data, bytes);
    fc_free(&name);
    return status;
}

static void put_word(yajl_gen g, const char *word)
{
    yajl_gen_string(g, (const unsigned char *)word, strlen(word));
}

static fc_status add_metadata(fci_picture_job *job, const char *key, const fci_plan_region *r,
                              const double box[4])
{
    yajl_gen g = yajl_gen_alloc(NULL);
    if (g == NULL) {
        return FC_FAIL(FC_NOMEM, "no memory for yajl");
    }
    yajl_gen_map_open(g);
    put_word(g, "key");
    put_word(g, key);
    put_word(g, "image");
    put_word(g, job->plan->name);
    put_word(g, "image_id");
    yajl_gen_integer(g, job->plan->id);
    put_word(g, "bbox");
    yajl_gen_array_open(g);
    for (int i = 0; i < 4; i++) {
        yajl_gen_double(g, box[i]);
    }
    yajl_gen_array_close(g);
    put_word(g, "score");
    yajl_gen_double(g, r->score);
    if (r->category >= 0) {
        put_word(g, "category");
        yajl_gen_integer(g, r->category);
    }
    yajl_gen_map_close(g);
    const unsigned char *text;
    size_t bytes;
    yajl_gen_get_buf(g, &text, &bytes);
    fc_status status = add_member(&job->shard, key, "json", text, bytes);
    yajl_gen_free(g);
    return status;
}

static fc_status add_crop(fci_picture_job *job, const fci_recipe *recipe, const char *key,
                          const float box[4])
{
    const fc_picture *p = &job->picture;
    fc_rect rect = fc_crop_rect(box, recipe->export_scale, p->width, p->height);
    int size = recipe->export_size;
    fc_picture crop = {.width = size > 0 ? size : rect.x1 - rect.x0,
                       .height = size > 0 ? size : rect.y1 - rect.y0};
    uint8_t *bytes = NULL;
    size_t count = 0;
    fc_status status;
    FC_TRY_GOTO(
        status,
        fc_try_alloc((void **)&crop.rgb, (size_t)crop.width * (size_t)crop.height, 3, "crop"),
        done);
    FC_TRY_GOTO(status, fc_resize(p, rect, FC_BILINEAR, crop.width, crop.height, crop.rgb), done);
    FC_TRY_GOTO(status,
                fc_picture_encode(&crop, FC_CODEC_JPEG, recipe->export_quality, &bytes, &count),
                done);
    FC_TRY_GOTO(status, add_member(&job->shard, key, "jpg", bytes, count), done);
done:
    fc_free(&crop.rgb);
    fc_free(&bytes);
    return status;
}

static fc_status add_crops(fci_picture_job *job, const fci_recipe *recipe, const double (*boxes)[4])
{
    const fci_plan_image *plan = job->plan;
    char **keys = fc_alloc((size_t)plan->regions, sizeof *keys);
    fc_status status = FC_OK;
    for (int i = 0; i < plan->regions && status == FC_OK; i++) {
        float box[4];
        bool repeated = false;
        if (!fci_job_place_box(job, boxes[i], box)) {
            continue;
        }
        keys[i] = fci_region_key(plan->name, plan->region[i].box);
        for (int k = 0; k < i && !repeated; k++) {
            repeated = keys[k] != NULL && strcmp(keys[k], keys[i]) == 0;
        }
        job->counts.of[FCI_COUNT_regions_written]++;
        job->counts.of[FCI_COUNT_crops_repeated] += repeated;
        job->counts.of[FCI_COUNT_crops_written] += !repeated;
        if (!repeated) {
            status = add_crop(job, recipe, keys[i], box);
        }
        if (!repeated && status == FC_OK) {
            status = add_metadata(job, keys[i], &plan->region[i], boxes[i]);
        }
    }
    for (int i = 0; i < plan->regions; i++) {
        fc_free(&keys[i]);
    }
    fc_free(&keys);
    return status;
}

void fci_crops_job_run(fci_picture_job *job, const fci_recipe *recipe)
{
    double(*boxes)[4] = fc_alloc((size_t)job->plan->regions, sizeof *boxes);
    uint8_t *source = NULL;
    size_t count = 0;
    fc_codec codec;
    if (job->plan->captions < recipe->min_captions) {
        fci_job_drop(job, FCI_COUNT_pictures_few_captions);
    } else if (fci_job_load(job, recipe, boxes, &source, &count, &codec)) {
        job->status = add_crops(job, recipe, (const double(*)[4])boxes);
        if (job->status != FC_OK) {
            snprintf(job->message, sizeof job->message, "%s: %s", job->plan->name,
                     fc_error_message());
        }
        job->counts.of[FCI_COUNT_pictures_written]++;
        job->counts.of[FCI_COUNT_captions_written] += job->plan->captions;
    }
    fc_picture_free(&job->picture);
    fc_free(&source);
    fc_free(&boxes);
}
