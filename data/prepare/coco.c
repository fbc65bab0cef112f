/* COCO's captions, instances and panoptic files. */
#include "core/memory.h"
#include "data/prepare/json_stream.h"
#include "data/prepare/sources.h"

#include <stdlib.h>
#include <string.h>

typedef struct reading {
    fci_plan_builder *b;
    fci_coco_kind kind;
    bool take_images, take_categories;
    /* the object being read */
    int64_t id, image_id, category_id;
    fci_bytes string, url; /* file_name, caption or name; coco_url */
    bool has_id, has_image, has_category, crowd, thing;
    int width, height, box_values;
    double box[4], score;
    /* segments of a panoptic annotation, whose image_id may stand behind them */
    fci_plan_region *segments;
    int segment_count, segment_room;
} reading;

static void forget_object(reading *r)
{
    r->id = r->image_id = r->category_id = 0;
    r->string.count = r->url.count = 0;
    r->has_id = r->has_image = r->has_category = r->crowd = false;
    r->thing = true;
    r->width = r->height = r->box_values = r->segment_count = 0;
    r->score = 1;
}

static fc_status missing(const char *what, const char *key, int64_t index)
{
    return FC_FAIL(FC_DATA, "%s %lld has no %s", what, (long long)index, key);
}

/* The string that was read, or NULL. */
static const char *string_of(const fci_bytes *b)
{
    return b->count == 0 ? NULL : (const char *)b->data;
}

static fc_status add_image(reading *r, int64_t index)
{
    const char *name = string_of(&r->string), *url = string_of(&r->url);
    if (name == NULL && url != NULL) { /* the published proposals have either */
        const char *slash = strrchr(url, '/');
        name = slash == NULL ? url : slash + 1;
    }
    if (!r->has_id || name == NULL || *name == '\0') {
        return missing("images", r->has_id ? "file_name" : "id", index);
    }
    fci_listed picture = {.has_id = true,
                          .id = r->id,
                          .name = name,
                          .bytes = -1,
                          .width = r->width,
                          .height = r->height};
    FC_TRY(fci_builder_picture(r->b, &picture));
    return FC_OK;
}

static fc_status add_category(reading *r, int64_t index)
{
    if (!r->has_id || r->string.count == 0) {
        return missing("categories", r->has_id ? "name" : "id", index);
    }
    fci_builder_category(r->b, r->id, string_of(&r->string), r->thing);
    return FC_OK;
}

static fc_status check_region(const reading *r, bool has_owner, const char *owner, int64_t index)
{
    if (r->box_values != 4) {
        return missing("annotations", "bbox of four numbers", index);
    }
    return has_owner ? FC_OK : missing("annotations", owner, index);
}

static fci_plan_region region_of(const reading *r)
{
    fci_plan_region region = {.segment = r->kind == FCI_COCO_PANOPTIC ? r->id : -1,
                              .category = r->has_category ? r->category_id : -1,
                              .score = r->score};
    memcpy(region.box, r->box, sizeof region.box);
    return region;
}

static fc_status add_instance(reading *r, int64_t index)
{
    FC_TRY(check_region(r, r->has_image, "image_id", index));
    if (r->crowd) {
        fci_counts *counts = fci_builder_counts(r->b);
        counts->of[FCI_COUNT_regions_read]++;
        counts->of[FCI_COUNT_regions_crowd]++;
        return FC_OK;
    }
    fci_plan_region region = region_of(r);
    FC_TRY(fci_builder_region(r->b, &(fci_ref){FCI_BY_ID, r->image_id, NULL}, &region));
    return FC_OK;
}

static fc_status add_annotation(reading *r, int64_t index)
{
    if (r->kind == FCI_COCO_INSTANCES) {
        return add_instance(r, index);
    }
    if (!r->has_image || r->string.count == 0) {
        const char *text = r->kind == FCI_COCO_CAPTIONS ? "caption" : "file_name";
        return missing("annotations", r->has_image ? text : "image_id", index);
    }
    const fci_ref of = {FCI_BY_ID, r->image_id, NULL};
    if (r->kind == FCI_COCO_CAPTIONS) {
        return fci_builder_caption(r->b, &of, string_of(&r->string));
    }
    FC_TRY(fci_builder_mask(r->b, &of, string_of(&r->string)));
    for (int i = 0; i < r->segment_count; i++) {
        FC_TRY(fci_builder_region(r->b, &of, &r->segments[i]));
    }
    return FC_OK;
}

static bool is_key(const char *key, const char *word)
{
    return key != NULL && strcmp(key, word) == 0;
}

static void take_number(reading *r, const char *key, const fci_json_event *e)
{
    if (is_key(key, "id")) {
        r->id = e->integer;
        r->has_id = true;
    } else if (is_key(key, "image_id")) {
        r->image_id = e->integer;
        r->has_image = true;
    } else if (is_key(key, "category_id")) {
        r->category_id = e->integer;
        r->has_category = true;
    } else if (is_key(key, "iscrowd")) {
        r->crowd = e->integer != 0;
    } else if (is_key(key, "isthing")) {
        r->thing = e->integer != 0;
    } else if (is_key(key, "width") || is_key(key, "height")) {
        int side = e->integer < 0 || e->integer > INT32_MAX ? 0 : (int)e->integer;
        *(key[0] == 'w' ? &r->width : &r->height) = side;
    } else if (is_key(key, "score")) {
        r->score = e->number;
        fci_builder_scored(r->b);
    }
}

static void keep_string(fci_bytes *to, const char *text)
{
    to->count = 0;
    fci_bytes_add(to, text, strlen(text) + 1);
}

/* A scalar `below` levels down, in the object being read. */
static void take_value(reading *r, const fci_json_event *e, int below, const char *string_key)
{
    const char *key = e->keys[below];
    if (e->depth == below + 1) {
        if (e->kind == FCI_JSON_NUMBER || e->kind == FCI_JSON_BOOL) {
            take_number(r, key, e);
        } else if (e->kind == FCI_JSON_STRING && string_key != NULL && is_key(key, string_key)) {
            keep_string(&r->string, e->text);
        } else if (e->kind == FCI_JSON_STRING && is_key(key, "coco_url")) {
            keep_string(&r->url, e->text);
        }
    } else if (e->depth == below + 2 && e->kind == FCI_JSON_NUMBER && is_key(key, "bbox")) {
        if (r->box_values < 4) {
            r->box[r->box_values] = e->number;
        }
        r->box_values++;
    }
}

/* "segments_info"[j] of a panoptic annotation: depth 4; its fields must not be taken for the
 * annotation's. */
static fc_status on_segment(reading *r, const fci_json_event *e)
{
    if (e->depth == 4 && e->kind == FCI_JSON_BEGIN) {
        r->has_id = r->has_category = r->crowd = false;
        r->box_values = 0;
        r->score = 1;
    } else if (e->depth == 4 && e->kind == FCI_JSON_END) {
        FC_TRY(check_region(r, r->has_id, "id", e->index[1]));
        if (r->segment_count == r->segment_room) {
            r->segment_room = 2 * r->segment_room + 32;
            r->segments = fc_realloc(r->segments, (size_t)r->segment_room, sizeof *r->segments);
        }
        r->segments[r->segment_count++] = region_of(r);
    } else if (e->depth > 4) {
        take_value(r, e, 4, NULL);
    }
    return FC_OK;
}

static fc_status on_event(void *ctx, const fci_json_event *e)
{
    reading *r = ctx;
    if ((e->depth == 1 && e->keys[0] == NULL) || (e->depth == 0 && e->kind > FCI_JSON_END)) {
        return FC_FAIL(FC_DATA, "a list; want {\"images\": [...], \"annotations\": [...]}");
    }
    if (e->depth == 0 || (e->depth == 1 && e->kind != FCI_JSON_BEGIN)) {
        return FC_OK;
    }
    const char *section = e->keys[0];
    bool images = is_key(section, "images"), annotations = is_key(section, "annotations");
    if (!(images && r->take_images) && !annotations &&
        !(is_key(section, "categories") && r->take_categories)) {
        return FC_OK;
    }
    if (e->depth == 2 && e->kind == FCI_JSON_BEGIN) {
        forget_object(r);
    } else if (e->depth == 2 && e->kind == FCI_JSON_END) {
        FC_TRY(images        ? add_image(r, e->index[1])
               : annotations ? add_annotation(r, e->index[1])
                             : add_category(r, e->index[1]));
    } else if (annotations && r->kind == FCI_COCO_PANOPTIC && e->depth > 3 &&
               is_key(e->keys[2], "segments_info")) {
        FC_TRY(on_segment(r, e));
    } else if (e->depth > 2) {
        const char *string_key = images                         ? "file_name"
                                 : !annotations                 ? "name"
                                 : r->kind == FCI_COCO_CAPTIONS ? "caption"
                                                                : "file_name";
        take_value(r, e, 2, string_key);
    }
    return FC_OK;
}

fc_status fci_source_coco(fci_plan_builder *b, fci_coco_kind kind, const char *path, bool images,
                          bool categories)
{
    reading r = {.b = b, .kind = kind, .take_images = images, .take_categories = categories};
    fc_status status = fci_json_read(path, on_event, &r);
    fc_free(&r.string.data);
    fc_free(&r.url.data);
    fc_free(&r.segments);
    FC_TRY(status);
    return FC_OK;
}
