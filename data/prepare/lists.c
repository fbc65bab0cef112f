/* Lists of pictures with their sentences: the published retrieval lists, and Karpathy's splits. */
#include "core/memory.h"
#include "data/prepare/json_stream.h"
#include "data/prepare/sources.h"

#include <string.h>

typedef struct reading {
    fci_plan_builder *b;
    const char *splits; /* NULL: all */
    bool karpathy;
    /* the picture being read */
    fci_bytes name, folder, split, sentences; /* sentences: packed texts */
    bool has_id, has_coco_id;
    int64_t id;
} reading;

static void keep_string(fci_bytes *to, const char *text)
{
    to->count = 0;
    fci_bytes_add(to, text, strlen(text) + 1);
}

static const char *kept(const fci_bytes *b)
{
    return b->count == 0 ? NULL : (const char *)b->data;
}

/* "train+restval" has train and restval. */
static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; p != NULL; p = strchr(p, '+')) {
        p += *p == '+';
        if (strncmp(p, word, n) == 0 && (p[n] == '\0' || p[n] == '+')) {
            return true;
        }
    }
    return false;
}

static fc_status finish(reading *r, int64_t index)
{
    const char *name = kept(&r->name), *folder = kept(&r->folder), *split = kept(&r->split);
    if (name == NULL || *name == '\0') {
        return FC_FAIL(FC_DATA, "picture %lld has no %s", (long long)index,
                       r->karpathy ? "filename" : "image");
    }
    if (r->splits != NULL && (split == NULL || !has_word(r->splits, split))) {
        return FC_OK;
    }
    char *path =
        folder != NULL && *folder != '\0' ? fc_format("%s/%s", folder, name) : fc_strdup(name);
    fci_listed picture = {.has_id = r->has_id, .id = r->id, .name = path, .bytes = -1};
    fci_ref of = {FCI_BY_POSITION, fci_builder_pictures(r->b), NULL};
    fc_status status = fci_builder_picture(r->b, &picture);
    fci_unpack u = {r->sentences.data, r->sentences.count, false};
    while (status == FC_OK && u.left > 0) {
        status = fci_builder_caption(r->b, &of, fci_unpack_text(&u));
    }
    fc_free(&path);
    return status;
}

static void begin(reading *r)
{
    r->name.count = r->folder.count = r->split.count = r->sentences.count = 0;
    r->has_id = r->has_coco_id = false;
    r->id = 0;
}

static bool is_key(const fci_json_event *e, int level, const char *word)
{
    return e->keys[level] != NULL && strcmp(e->keys[level], word) == 0;
}

/* [{"image": NAME, "caption": "..." or ["...", ...]}] */
static fc_status on_retrieval(void *ctx, const fci_json_event *e)
{
    reading *r = ctx;
    bool string = e->kind == FCI_JSON_STRING;
    if ((e->depth == 1 && (e->keys[0] != NULL || e->kind > FCI_JSON_END)) ||
        (e->depth == 0 && e->kind > FCI_JSON_END)) {
        return FC_FAIL(FC_DATA, "not a list of {\"image\": NAME, \"caption\": [...]}");
    }
    if (e->depth == 1) {
        if (e->kind == FCI_JSON_END) {
            return finish(r, e->index[0]);
        }
        begin(r);
    } else if (e->depth == 2 && string && is_key(e, 1, "image")) {
        keep_string(&r->name, e->text);
    } else if (e->depth >= 2 && e->depth <= 3 && is_key(e, 1, "caption")) {
        if (string) {
            fci_pack_text(&r->sentences, e->text);
        } else if (e->kind > FCI_JSON_END) {
            return FC_FAIL(FC_DATA, "picture %lld has a caption that is no string",
                           (long long)e->index[0]);
        }
    }
    return FC_OK;
}

/* {"images": [{"filename":, "filepath":, "split":, "cocoid":, "imgid":, "sentences": [{"raw": }]}]}
 */
static fc_status on_karpathy(void *ctx, const fci_json_event *e)
{
    reading *r = ctx;
    bool string = e->kind == FCI_JSON_STRING;
    if (e->depth == 1 && e->keys[0] == NULL) {
        return FC_FAIL(FC_DATA, "a list; want {\"images\": [...]} as in dataset_coco.json");
    }
    if (e->depth < 2 || !is_key(e, 0, "images")) {
        return FC_OK;
    }
    if (e->depth == 2 && e->kind == FCI_JSON_BEGIN) {
        begin(r);
    } else if (e->depth == 2 && e->kind == FCI_JSON_END) {
        return finish(r, e->index[1]);
    } else if (e->depth == 3 && string && is_key(e, 2, "filename")) {
        keep_string(&r->name, e->text);
    } else if (e->depth == 3 && string && is_key(e, 2, "filepath")) {
        keep_string(&r->folder, e->text);
    } else if (e->depth == 3 && string && is_key(e, 2, "split")) {
        keep_string(&r->split, e->text);
    } else if (e->depth == 3 && e->kind == FCI_JSON_NUMBER && is_key(e, 2, "cocoid")) {
        r->has_id = r->has_coco_id = true;
        r->id = e->integer;
    } else if (e->depth == 3 && e->kind == FCI_JSON_NUMBER && is_key(e, 2, "imgid") &&
               !r->has_coco_id) {
        r->has_id = true;
        r->id = e->integer;
    } else if (e->depth == 5 && string && is_key(e, 2, "sentences") && is_key(e, 4, "raw")) {
        fci_pack_text(&r->sentences, e->text);
    }
    return FC_OK;
}

static fc_status read_list(reading *r, const char *path)
{
    fc_status status = fci_json_read(path, r->karpathy ? on_karpathy : on_retrieval, r);
    fci_bytes *all[] = {&r->name, &r->folder, &r->split, &r->sentences};
    for (int i = 0; i < 4; i++) {
        fc_free(&all[i]->data);
    }
    return status;
}

fc_status fci_source_retrieval(fci_plan_builder *b, const char *path)
{
    reading r = {.b = b};
    FC_TRY(read_list(&r, path));
    return FC_OK;
}

fc_status fci_source_karpathy(fci_plan_builder *b, const char *path, const char *splits)
{
    reading r = {.b = b, .splits = splits, .karpathy = true};
    FC_TRY(read_list(&r, path));
    return FC_OK;
}
