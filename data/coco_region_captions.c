/* Sentences of regions by the published key, and the index that finds pictures and regions. */
#include "core/memory.h"
#include "data/coco_parts.h"
#include "data/json_stream.h"

#include <stdlib.h>
#include <string.h>

void fci_index_init(fci_index *x, int64_t count)
{
    size_t slots = 16;
    while (slots < 2 * (size_t)count) {
        slots *= 2;
    }
    x->mask = slots - 1;
    x->hash = fc_alloc(slots, sizeof *x->hash);
    x->position = fc_alloc(slots, sizeof *x->position);
    memset(x->position, -1, slots * sizeof *x->position);
}

void fci_index_free(fci_index *x)
{
    fc_free(&x->hash);
    fc_free(&x->position);
}

void fci_index_add(fci_index *x, uint64_t hash, int64_t position)
{
    uint64_t at = hash;
    while (x->position[at & x->mask] >= 0) {
        at++;
    }
    x->hash[at & x->mask] = hash;
    x->position[at & x->mask] = position;
}

int64_t fci_index_next(const fci_index *x, uint64_t hash, uint64_t *at)
{
    for (;; (*at)++) {
        size_t slot = *at & x->mask;
        if (x->position[slot] < 0) {
            return -1;
        }
        if (x->hash[slot] == hash) {
            (*at)++;
            return x->position[slot];
        }
    }
}

uint64_t fci_hash_integer(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

uint64_t fci_hash_bytes(const void *bytes, size_t count)
{
    const uint8_t *p = bytes;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    return fci_hash_integer(h);
}

typedef struct matching {
    fci_coco *c;
    uint64_t *text_count, *text_room;
    fci_index names, regions;
} matching;

static uint64_t hash_region(int64_t image, const int64_t box[4])
{
    int64_t key[5] = {image, box[0], box[1], box[2], box[3]};
    return fci_hash_bytes(key, sizeof key);
}

static void truncate_box(const double box[4], int64_t out[4])
{
    for (int i = 0; i < 4; i++) {
        bool sane = box[i] > -9e15 && box[i] < 9e15;
        out[i] = sane ? (int64_t)box[i] : INT64_MIN;
    }
}

/* "FILE_X_Y_W_H.jpg", FILE with its own suffix: cuts off the numbers from the right. */
static bool split_key(const char *key, size_t *name_bytes, int64_t box[4])
{
    size_t n = strlen(key);
    if (n < 4 || strcmp(key + n - 4, ".jpg") != 0) {
        return false;
    }
    n -= 4;
    for (int i = 3; i >= 0; i--) {
        size_t end = n;
        while (n > 0 && key[n - 1] != '_') {
            n--;
        }
        char *stop;
        if (n == 0 || n == end) {
            return false;
        }
        box[i] = strtoll(key + n, &stop, 10);
        if (stop != key + end) {
            return false;
        }
        n--;
    }
    *name_bytes = n;
    return n > 0;
}

static int64_t find_name(const matching *m, const char *name, size_t bytes)
{
    uint64_t hash = fci_hash_bytes(name, bytes), at = hash;
    for (int64_t k; (k = fci_index_next(&m->names, hash, &at)) >= 0;) {
        const char *known = m->c->text + m->c->image[k].name;
        if (strlen(known) == bytes && memcmp(known, name, bytes) == 0) {
            return k;
        }
    }
    return -1;
}

static fc_status on_event(void *ctx, const fci_json_event *e)
{
    matching *m = ctx;
    fci_coco *c = m->c;
    if (e->depth == 0 && e->kind != FCI_JSON_BEGIN && e->kind != FCI_JSON_END) {
        return FC_FAIL(FC_DATA, "not an object of region captions");
    }
    if (e->depth != 1) {
        return FC_OK;
    }
    size_t name_bytes;
    int64_t want[4], have[4];
    if (e->keys[0] == NULL || e->kind != FCI_JSON_STRING ||
        !split_key(e->keys[0], &name_bytes, want)) {
        return FC_FAIL(FC_DATA, "\"%s\": not \"FILE.jpg_X_Y_W_H.jpg\": \"sentence\"",
                       e->keys[0] == NULL ? "[" : e->keys[0]);
    }
    c->region_captions++;
    int64_t image = find_name(m, e->keys[0], name_bytes);
    uint64_t hash = hash_region(image, want), at = hash, text = FCI_COCO_NO_TEXT;
    for (int64_t k; image >= 0 && (k = fci_index_next(&m->regions, hash, &at)) >= 0;) {
        truncate_box(c->region[k].box, have);
        if (c->region[k].image == image && memcmp(have, want, sizeof have) == 0) {
            if (text == FCI_COCO_NO_TEXT) {
                text = fci_coco_keep_text(c, m->text_count, m->text_room, e->text, strlen(e->text));
            }
            c->region[k].text = text;
        }
    }
    c->region_captions_unused += text == FCI_COCO_NO_TEXT;
    return FC_OK;
}

fc_status fci_coco_read_region_captions(fci_coco *c, uint64_t *text_count, uint64_t *text_room,
                                        const char *path)
{
    matching m = {.c = c, .text_count = text_count, .text_room = text_room};
    fci_index_init(&m.names, c->images);
    fci_index_init(&m.regions, c->regions);
    for (int64_t i = 0; i < c->images; i++) {
        const char *name = c->text + c->image[i].name;
        fci_index_add(&m.names, fci_hash_bytes(name, strlen(name)), i);
    }
    for (int64_t i = 0; i < c->regions; i++) {
        int64_t box[4];
        truncate_box(c->region[i].box, box);
        fci_index_add(&m.regions, hash_region(c->region[i].image, box), i);
    }
    fc_status status = fci_json_read(path, on_event, &m);
    fci_index_free(&m.names);
    fci_index_free(&m.regions);
    FC_TRY(status);
    return FC_OK;
}
