/* What detectors and captioners wrote. */
#include "core/memory.h"
#include "data/prepare/json_stream.h"
#include "data/prepare/records.h"
#include "data/prepare/sources.h"

#include <stdlib.h>
#include <string.h>

/* Whose record this is. */
static fc_status picture_of(const fci_json_record *r, fci_ref *out)
{
    if (r->name == NULL && !r->has_id) {
        return FC_FAIL(FC_DATA, "record %lld has no image_id", (long long)r->number);
    }
    *out = (fci_ref){r->has_id ? FCI_BY_ID : FCI_BY_NAME, r->id, r->name};
    return FC_OK;
}

static fc_status on_detection(void *ctx, const fci_json_record *r)
{
    fci_plan_builder *b = ctx;
    fci_ref of;
    FC_TRY(picture_of(r, &of));
    if (!r->has_box) {
        return FC_FAIL(FC_DATA, "record %lld has no bbox", (long long)r->number);
    }
    if (r->has_score) {
        fci_builder_scored(b);
    }
    fci_plan_region region = {
        .segment = -1, .category = r->category, .score = r->score, .caption = r->caption};
    memcpy(region.box, r->box, sizeof region.box);
    return fci_builder_region(b, &of, &region);
}

fc_status fci_source_detections(fci_plan_builder *b, const char *path)
{
    FC_TRY(fci_records_read(path, on_detection, b));
    return FC_OK;
}

static fc_status on_caption(void *ctx, const fci_json_record *r)
{
    fci_ref of;
    FC_TRY(picture_of(r, &of));
    if (r->caption == NULL) {
        return FC_FAIL(FC_DATA, "record %lld has no caption", (long long)r->number);
    }
    return fci_builder_caption(ctx, &of, r->caption);
}

fc_status fci_source_caption_records(fci_plan_builder *b, const char *path)
{
    FC_TRY(fci_records_read(path, on_caption, b));
    return FC_OK;
}

static fc_status on_region_caption(void *ctx, const fci_json_record *r)
{
    fci_plan_builder *b = ctx;
    if (r->caption == NULL) {
        return FC_FAIL(FC_DATA, "record %lld has no caption", (long long)r->number);
    }
    if (r->key != NULL) {
        return fci_builder_region_caption(b, r->key, r->caption);
    }
    if (r->name == NULL || !r->has_box) {
        return FC_FAIL(FC_DATA,
                       "record %lld has neither the key of a crop nor the picture's file name as "
                       "image_id with a bbox",
                       (long long)r->number);
    }
    char *key = fci_region_key(r->name, r->box);
    fc_status status = fci_builder_region_caption(b, key, r->caption);
    fc_free(&key);
    return status;
}

/* "FILE_X_Y_W_H.jpg": four whole numbers before the suffix, and something before them. */
static bool is_region_key(const char *key)
{
    size_t n = strlen(key);
    if (n < 4 || strcmp(key + n - 4, ".jpg") != 0) {
        return false;
    }
    n -= 4;
    for (int i = 0; i < 4; i++) {
        size_t end = n;
        while (n > 0 && key[n - 1] != '_') {
            n--;
        }
        char *stop;
        if (n == 0 || n == end) {
            return false;
        }
        strtoll(key + n, &stop, 10);
        if (stop != key + end) {
            return false;
        }
        n--;
    }
    return n > 0;
}

static fc_status on_event(void *ctx, const fci_json_event *e)
{
    if (e->depth == 0 && e->kind > FCI_JSON_END) {
        return FC_FAIL(FC_DATA, "not an object of region captions");
    }
    if (e->depth != 1) {
        return FC_OK;
    }
    if (e->keys[0] == NULL || e->kind != FCI_JSON_STRING || !is_region_key(e->keys[0])) {
        return FC_FAIL(FC_DATA, "\"%s\": not \"FILE.jpg_X_Y_W_H.jpg\": \"sentence\"",
                       e->keys[0] == NULL ? "[" : e->keys[0]);
    }
    return fci_builder_region_caption(ctx, e->keys[0], e->text);
}

fc_status fci_source_region_captions(fci_plan_builder *b, const char *path)
{
    bool records;
    FC_TRY(fci_source_is_records(path, &records));
    FC_TRY(records ? fci_records_read(path, on_region_caption, b)
                   : fci_json_read(path, on_event, b));
    return FC_OK;
}
