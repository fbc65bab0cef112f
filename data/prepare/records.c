#include "data/prepare/records.h"

#include "core/memory.h"
#include "data/prepare/json_stream.h"
#include "data/prepare/pack.h"
#include "data/prepare/sources.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef enum { IMAGE, KEY, CAPTION, STRINGS } string_name;

typedef struct reading {
    fci_record_handler handler;
    void *ctx;
    int level; /* of a record: 0 in lines, 1 in a list */
    fci_json_record now;
    int box_values;
    fci_bytes string[STRINGS];
} reading;

static bool is_key(const fci_json_event *e, int level, const char *word)
{
    return e->keys[level] != NULL && strcmp(e->keys[level], word) == 0;
}

static void keep(reading *r, string_name which, const char *text)
{
    r->string[which].count = 0;
    fci_bytes_add(&r->string[which], text, strlen(text) + 1);
}

static const char *kept(const reading *r, string_name which)
{
    return r->string[which].count == 0 ? NULL : (const char *)r->string[which].data;
}

static void take_scalar(reading *r, const fci_json_event *e)
{
    fci_json_record *now = &r->now;
    bool number = e->kind == FCI_JSON_NUMBER, string = e->kind == FCI_JSON_STRING;
    bool image = is_key(e, r->level, "image_id") || is_key(e, r->level, "image");
    if (image && number) {
        now->has_id = true;
        now->id = e->integer;
    } else if (image && string) {
        keep(r, IMAGE, e->text);
    } else if (string && is_key(e, r->level, "key")) {
        keep(r, KEY, e->text);
    } else if (string && (is_key(e, r->level, "caption") || is_key(e, r->level, "text"))) {
        keep(r, CAPTION, e->text);
    } else if (number && is_key(e, r->level, "score")) {
        now->has_score = true;
        now->score = e->number;
    } else if (number && is_key(e, r->level, "category_id")) {
        now->has_category = true;
        now->category = e->integer;
    }
}

static fc_status finish(reading *r)
{
    fci_json_record *now = &r->now;
    now->has_box = r->box_values == 4;
    if (r->box_values != 0 && r->box_values != 4) {
        return FC_FAIL(FC_DATA, "record %lld: a bbox of %d numbers, want x, y, width, height",
                       (long long)now->number, r->box_values);
    }
    now->name = kept(r, IMAGE);
    now->key = kept(r, KEY);
    now->caption = kept(r, CAPTION);
    FC_TRY(r->handler(r->ctx, now));
    int64_t next = now->number + 1;
    *now = (fci_json_record){.number = next, .score = 1, .category = -1};
    r->box_values = 0;
    for (int i = 0; i < STRINGS; i++) {
        r->string[i].count = 0;
    }
    return FC_OK;
}

static fc_status on_event(void *ctx, const fci_json_event *e)
{
    reading *r = ctx;
    if (e->depth == r->level) {
        if (e->kind > FCI_JSON_END) {
            return FC_FAIL(FC_DATA, "record %lld is not an object", (long long)r->now.number);
        }
        return e->kind == FCI_JSON_END ? finish(r) : FC_OK;
    }
    if (e->depth == r->level + 1 && e->keys[r->level] == NULL) {
        return FC_FAIL(FC_DATA, "record %lld is not an object", (long long)r->now.number);
    }
    if (e->depth == r->level + 1) {
        take_scalar(r, e);
    } else if (e->depth == r->level + 2 && is_key(e, r->level, "bbox")) {
        if (e->kind == FCI_JSON_NUMBER && r->box_values < 4) {
            r->now.box[r->box_values] = e->number;
        }
        r->box_values++; /* what is no number also counts, and is found out at the end */
        if (e->kind != FCI_JSON_NUMBER) {
            return FC_FAIL(FC_DATA, "record %lld: a bbox with something else than numbers",
                           (long long)r->now.number);
        }
    }
    return FC_OK;
}

/* The first character that is no white space; 0 in an empty file. */
static fc_status first_character(const char *path, int *out)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: %s", path, strerror(errno));
    }
    int c = fgetc(f);
    while (c != EOF && isspace(c)) {
        c = fgetc(f);
    }
    *out = c == EOF ? 0 : c;
    fclose(f);
    return FC_OK;
}

fc_status fci_source_is_records(const char *path, bool *records)
{
    int c;
    const char *dot = strrchr(path, '.');
    FC_TRY(first_character(path, &c));
    bool lines = dot != NULL && (strcasecmp(dot, ".jsonl") == 0 || strcasecmp(dot, ".ndjson") == 0);
    *records = lines || c == '[';
    return FC_OK;
}

fc_status fci_records_read(const char *path, fci_record_handler handler, void *ctx)
{
    int c;
    FC_TRY(first_character(path, &c));
    reading r = {.handler = handler,
                 .ctx = ctx,
                 .level = c == '[' ? 1 : 0,
                 .now = {.score = 1, .category = -1}};
    fc_status status =
        c == '[' ? fci_json_read(path, on_event, &r) : fci_json_read_lines(path, on_event, &r);
    for (int i = 0; i < STRINGS; i++) {
        fc_free(&r.string[i].data);
    }
    FC_TRY(status);
    return FC_OK;
}
