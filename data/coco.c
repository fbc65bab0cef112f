#include "data/coco.h"

#include "core/memory.h"
#include "data/coco_parts.h"
#include "data/json_stream.h"

#include <stdlib.h>
#include <string.h>

typedef enum { CAPTIONS, INSTANCES, PANOPTIC } file_kind;

typedef struct reading {
    fci_coco *c;
    file_kind kind;
    bool take_images, take_categories, stuff_only;
    int64_t image_room, caption_room, region_room, category_room;
    uint64_t text_count, text_room;
    int64_t first_region; /* of this file */
    /* the object being read */
    int64_t id, image_id, category_id;
    uint64_t string; /* file_name, caption or name */
    bool has_id, has_image, has_category, crowd, thing;
    int width, height, box_values;
    double box[4];
    float score;
    /* masks of the panoptic file: image id and file name */
    fci_coco_caption *masks;
    int64_t mask_count, mask_room;
} reading;

uint64_t fci_coco_keep_text(fci_coco *c, uint64_t *text_count, uint64_t *text_room,
                            const char *string, size_t bytes)
{
    if (*text_count + bytes + 1 > *text_room) {
        *text_room = 2 * *text_room + bytes + 1;
        c->text = fc_realloc(c->text, *text_room, 1);
    }
    uint64_t at = *text_count;
    memcpy(c->text + at, string, bytes);
    c->text[at + bytes] = '\0';
    *text_count += bytes + 1;
    return at;
}

static void forget_object(reading *r)
{
    r->id = r->image_id = r->category_id = 0;
    r->string = FCI_COCO_NO_TEXT;
    r->has_id = r->has_image = r->has_category = r->crowd = false;
    r->thing = true;
    r->width = r->height = r->box_values = 0;
    r->score = 1;
}

static fc_status missing(const char *what, const char *key, int64_t index)
{
    return FC_FAIL(FC_DATA, "%s %lld has no %s", what, (long long)index, key);
}

static fc_status add_image(reading *r, int64_t index)
{
    fci_coco *c = r->c;
    if (!r->has_id || r->string == FCI_COCO_NO_TEXT) {
        return missing("images", r->has_id ? "file_name" : "id", index);
    }
    FCI_GROW(c->image, c->images, r->image_room);
    c->image[c->images++] =
        (fci_coco_image){r->id, r->string, FCI_COCO_NO_TEXT, r->width, r->height};
    return FC_OK;
}

static fc_status add_category(reading *r, int64_t index)
{
    fci_coco *c = r->c;
    if (!r->has_id || r->string == FCI_COCO_NO_TEXT) {
        return missing("categories", r->has_id ? "name" : "id", index);
    }
    FCI_GROW(c->category, c->categories, r->category_room);
    c->category[c->categories++] = (fci_coco_category){r->id, r->string, r->thing};
    return FC_OK;
}

/* An instance, or a segment of a panoptic annotation (whose image_id may stand behind its
 * segments). */
static fc_status add_region(reading *r, int64_t index)
{
    fci_coco *c = r->c;
    bool segment = r->kind == PANOPTIC;
    if (r->box_values != 4 || (segment && !r->has_id) || (!segment && !r->has_image)) {
        return missing("annotations",
                       r->box_values != 4 ? "bbox of four numbers"
                       : segment          ? "id"
                                          : "image_id",
                       index);
    }
    if (r->crowd && !segment) {
        c->crowd++;
        return FC_OK;
    }
    FCI_GROW(c->region, c->regions, r->region_room);
    fci_coco_region *region = &c->region[c->regions++];
    *region = (fci_coco_region){.image = r->image_id,
                                .segment = segment ? r->id : -1,
                                .category = r->has_category ? r->category_id : -1,
                                .text = FCI_COCO_NO_TEXT,
                                .score = r->score};
    memcpy(region->box, r->box, sizeof region->box);
    return FC_OK;
}

static fc_status add_annotation(reading *r, int64_t index)
{
    fci_coco *c = r->c;
    if (r->kind == INSTANCES) {
        return add_region(r, index);
    }
    if (!r->has_image || r->string == FCI_COCO_NO_TEXT) {
        const char *text = r->kind == CAPTIONS ? "caption" : "file_name";
        return missing("annotations", r->has_image ? text : "image_id", index);
    }
    fci_coco_caption found = {r->image_id, r->string};
    if (r->kind == CAPTIONS) {
        FCI_GROW(c->caption, c->captions, r->caption_room);
        c->caption[c->captions++] = found;
    } else {
        FCI_GROW(r->masks, r->mask_count, r->mask_room);
        r->masks[r->mask_count++] = found;
        for (; r->first_region < c->regions; r->first_region++) {
            c->region[r->first_region].image = r->image_id;
        }
    }
    return FC_OK;
}

static bool is_key(const char *key, const char *word)
{
    return key != NULL && strcmp(key, word) == 0;
}

static void take_integer(reading *r, const char *key, const fci_json_event *e)
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
        r->score = (float)e->number;
        r->c->has_scores = true;
    }
}

/* A scalar `depth` below the object being read. */
static void take_value(reading *r, const fci_json_event *e, int below, const char *string_key)
{
    const char *key = e->keys[below];
    if (e->depth == below + 1) {
        if (e->kind == FCI_JSON_NUMBER || e->kind == FCI_JSON_BOOL) {
            take_integer(r, key, e);
        } else if (e->kind == FCI_JSON_STRING && string_key != NULL && is_key(key, string_key)) {
            r->string =
                fci_coco_keep_text(r->c, &r->text_count, &r->text_room, e->text, strlen(e->text));
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
        FC_TRY(add_region(r, e->index[1]));
    } else if (e->depth > 4) {
        take_value(r, e, 4, NULL);
    }
    return FC_OK;
}

static fc_status on_event(void *ctx, const fci_json_event *e)
{
    reading *r = ctx;
    if (e->depth == 1 && e->keys[0] == NULL) {
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
    } else if (annotations && r->kind == PANOPTIC && e->depth > 3 &&
               is_key(e->keys[2], "segments_info")) {
        FC_TRY(on_segment(r, e));
    } else if (e->depth > 2) {
        const char *string_key = images                ? "file_name"
                                 : !annotations        ? "name"
                                 : r->kind == CAPTIONS ? "caption"
                                                       : "file_name";
        take_value(r, e, 2, string_key);
    }
    return FC_OK;
}

static fc_status read_file(reading *r, file_kind kind, const char *path)
{
    r->kind = kind;
    r->first_region = r->c->regions;
    FC_TRY(fci_json_read(path, on_event, r));
    return FC_OK;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const fci_coco_category *)a)->id, y = ((const fci_coco_category *)b)->id;
    return (x > y) - (x < y);
}

static fc_status sort_categories(fci_coco *c)
{
    if (c->categories > 0) {
        qsort(c->category, (size_t)c->categories, sizeof *c->category, by_id);
    }
    for (int64_t i = 1; i < c->categories; i++) {
        if (c->category[i].id == c->category[i - 1].id) {
            return FC_FAIL(FC_DATA, "category id %lld occurs twice", (long long)c->category[i].id);
        }
    }
    return FC_OK;
}

static fc_status index_images(const fci_coco *c, fci_index *x)
{
    fci_index_init(x, c->images);
    for (int64_t i = 0; i < c->images; i++) {
        uint64_t hash = fci_hash_integer((uint64_t)c->image[i].id), at = hash;
        for (int64_t k; (k = fci_index_next(x, hash, &at)) >= 0;) {
            if (c->image[k].id == c->image[i].id) {
                return FC_FAIL(FC_DATA, "image id %lld occurs twice (%s)",
                               (long long)c->image[i].id, c->text + c->image[i].name);
            }
        }
        fci_index_add(x, hash, i);
    }
    return FC_OK;
}

static int64_t find_image(const fci_coco *c, const fci_index *x, int64_t id)
{
    uint64_t hash = fci_hash_integer((uint64_t)id), at = hash;
    for (int64_t k; (k = fci_index_next(x, hash, &at)) >= 0;) {
        if (c->image[k].id == id) {
            return k;
        }
    }
    return -1;
}

/* Group items by their image, keeping file order within one; items of unknown pictures (-1) go.
 * Each item begins with its image's index. Returns the new items; *offsets gets images + 1 entries.
 */
static void *group(int64_t images, void *items, int64_t *count, size_t size, int64_t **offsets,
                   int64_t *elsewhere)
{
    const char *from = items;
    int64_t *start = fc_alloc((size_t)images + 1, sizeof *start);
    int64_t *next = fc_alloc((size_t)images + 1, sizeof *next), image;
    for (int64_t i = 0; i < *count; i++) {
        memcpy(&image, from + (size_t)i * size, sizeof image);
        if (image >= 0) {
            start[image + 1]++;
        }
    }
    for (int64_t i = 0; i < images; i++) {
        start[i + 1] += start[i];
    }
    memcpy(next, start, ((size_t)images + 1) * sizeof *next);
    *elsewhere += *count - start[images];
    char *to = fc_alloc((size_t)start[images], size);
    for (int64_t i = 0; i < *count; i++) {
        memcpy(&image, from + (size_t)i * size, sizeof image);
        if (image >= 0) {
            memcpy(to + (size_t)next[image]++ * size, from + (size_t)i * size, size);
        }
    }
    *count = start[images];
    *offsets = start;
    fc_free(&next);
    fc_free(&items);
    return to;
}

static fc_status resolve_category(fci_coco *c, fci_coco_region *region)
{
    if (region->category < 0 || c->categories == 0) {
        region->category = -1;
        return FC_OK;
    }
    fci_coco_category key = {.id = region->category}, *found;
    found = bsearch(&key, c->category, (size_t)c->categories, sizeof key, by_id);
    if (found == NULL) {
        return FC_FAIL(FC_DATA, "an annotation of image %lld has the unknown category id %lld",
                       (long long)region->image, (long long)region->category);
    }
    region->category = found - c->category;
    return FC_OK;
}

/* Ids become indices, panoptic things get their annotated boxes, and everything is grouped by
 * image. */
static fc_status resolve(reading *r)
{
    fci_coco *c = r->c;
    fci_index x = {0};
    fc_status status;
    FC_TRY_GOTO(status, index_images(c, &x), done);
    FC_TRY_GOTO(status, sort_categories(c), done);
    for (int64_t i = 0; i < c->captions; i++) {
        c->caption[i].image = find_image(c, &x, c->caption[i].image);
    }
    for (int64_t i = 0; i < r->mask_count; i++) {
        int64_t image = find_image(c, &x, r->masks[i].image);
        if (image >= 0) {
            c->image[image].mask = r->masks[i].text;
        }
    }
    int64_t kept = 0;
    for (int64_t i = 0; i < c->regions; i++) {
        fci_coco_region region = c->region[i];
        FC_TRY_GOTO(status, resolve_category(c, &region), done);
        bool thing = region.category < 0 || c->category[region.category].isthing;
        if (region.segment >= 0 && thing) {
            if (r->stuff_only) {
                continue;
            }
            region.segment = -1;
        }
        region.image = find_image(c, &x, region.image);
        c->region[kept++] = region;
    }
    c->regions = kept;
    c->caption = group(c->images, c->caption, &c->captions, sizeof *c->caption, &c->caption_of,
                       &c->captions_elsewhere);
    c->region = group(c->images, c->region, &c->regions, sizeof *c->region, &c->region_of,
                      &c->regions_elsewhere);
done:
    fci_index_free(&x);
    return status;
}

static fc_status read_all(reading *r, const fci_coco_files *files)
{
    if (files->captions == NULL && files->instances == NULL && files->panoptic == NULL) {
        return FC_FAIL(FC_BUG, "no file lists pictures");
    }
    r->take_images = true;
    if (files->captions != NULL) {
        FC_TRY(read_file(r, CAPTIONS, files->captions));
        r->take_images = false;
    }
    if (files->instances != NULL) {
        r->take_categories = files->panoptic == NULL;
        FC_TRY(read_file(r, INSTANCES, files->instances));
        r->take_images = false;
    }
    if (files->panoptic != NULL) {
        r->take_categories = true;
        r->stuff_only = files->instances != NULL;
        FC_TRY(read_file(r, PANOPTIC, files->panoptic));
    }
    FC_TRY(resolve(r));
    if (files->region_captions != NULL) {
        FC_TRY(fci_coco_read_region_captions(r->c, &r->text_count, &r->text_room,
                                             files->region_captions));
    }
    return FC_OK;
}

fc_status fci_coco_read(fci_coco *out, const fci_coco_files *files)
{
    *out = (fci_coco){0};
    reading r = {.c = out};
    fc_status status = read_all(&r, files);
    fc_free(&r.masks);
    if (status != FC_OK) {
        fci_coco_free(out);
    }
    FC_TRY(status);
    return FC_OK;
}

void fci_coco_free(fci_coco *c)
{
    fc_free(&c->image);
    fc_free(&c->caption);
    fc_free(&c->caption_of);
    fc_free(&c->region);
    fc_free(&c->region_of);
    fc_free(&c->category);
    fc_free(&c->text);
}
