/* Webdataset shards: members that share a name up to the first dot of its last part are a sample.
 */
#include "core/log.h"
#include "core/memory.h"
#include "data/prepare/sources.h"
#include "data/prepare/tar.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_tree.h>

enum { MOST_TEXT = 1 << 20 }; /* bytes of a txt or json that is looked at */

typedef struct sample {
    char *key;  /* NULL: none begun */
    char *name; /* of the picture; NULL: none yet */
    int64_t offset, bytes;
    char *text, *json_caption;
    int64_t width, height;
} sample;

static void forget(sample *s)
{
    fc_free(&s->key);
    fc_free(&s->name);
    fc_free(&s->text);
    fc_free(&s->json_caption);
    *s = (sample){0};
}

static fc_status finish(fci_plan_builder *b, const fci_tar *tar, sample *s)
{
    fc_status status = FC_OK;
    if (s->name != NULL) {
        bool sized = s->width > 0 && s->width <= INT_MAX && s->height > 0 && s->height <= INT_MAX;
        const fci_ref of = {FCI_BY_POSITION, fci_builder_pictures(b), NULL};
        const fci_listed picture = {.name = s->name,
                                    .file = tar->path,
                                    .offset = s->offset,
                                    .bytes = s->bytes,
                                    .width = sized ? (int)s->width : 0,
                                    .height = sized ? (int)s->height : 0};
        status = fci_builder_picture(b, &picture);
        const char *caption = s->text != NULL ? s->text : s->json_caption;
        if (status == FC_OK && caption != NULL) {
            status = fci_builder_caption(b, &of, caption);
        }
    } else if (s->key != NULL) { /* a sample all the same: its picture is missing */
        fci_counts *counts = fci_builder_counts(b);
        counts->of[FCI_COUNT_pictures_listed]++;
        counts->of[FCI_COUNT_pictures_missing]++;
    }
    forget(s);
    return status;
}

static int64_t member_number(yajl_val tree, const char *key)
{
    const char *path[] = {key, NULL};
    yajl_val v = yajl_tree_get(tree, path, yajl_t_number);
    return v != NULL && YAJL_IS_INTEGER(v) ? YAJL_GET_INTEGER(v) : 0;
}

/* img2dataset's metadata; what is no JSON has none. */
static fc_status read_metadata(fci_tar *tar, sample *s)
{
    char *text, error[16];
    FC_TRY(fci_tar_text(tar, MOST_TEXT, &text));
    yajl_val tree = text == NULL ? NULL : yajl_tree_parse(text, error, sizeof error);
    fc_free(&text);
    if (tree != NULL) {
        const char *path[] = {"caption", NULL};
        yajl_val caption = yajl_tree_get(tree, path, yajl_t_string);
        if (caption != NULL && s->json_caption == NULL) {
            s->json_caption = fc_strdup(YAJL_GET_STRING(caption));
        }
        s->width = member_number(tree, "width");
        s->height = member_number(tree, "height");
        yajl_tree_free(tree);
    }
    return FC_OK;
}

static bool is_word(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

static fc_status take_member(fci_plan_builder *b, fci_tar *tar, sample *s)
{
    const char *slash = strrchr(tar->name, '/');
    const char *base = slash == NULL ? tar->name : slash + 1;
    const char *dot = strchr(base, '.');
    if (dot == NULL || *base == '.') { /* no sample: a read-me, a file system's own */
        fci_builder_counts(b)->of[FCI_COUNT_files_ignored]++;
        return FC_OK;
    }
    size_t key = (size_t)(dot - tar->name);
    if (s->key == NULL || strlen(s->key) != key || strncmp(s->key, tar->name, key) != 0) {
        FC_TRY(finish(b, tar, s));
        s->key = fc_format("%.*s", (int)key, tar->name);
    }
    if (is_word(dot + 1, "jpg", "jpeg", "png") && s->name == NULL) {
        s->name = fc_strdup(tar->name);
        s->offset = tar->offset;
        s->bytes = tar->bytes;
    } else if (strcmp(dot + 1, "txt") == 0 && s->text == NULL) {
        FC_TRY(fci_tar_text(tar, MOST_TEXT, &s->text));
    } else if (strcmp(dot + 1, "json") == 0) {
        FC_TRY(read_metadata(tar, s));
    } else {
        fci_builder_counts(b)->of[FCI_COUNT_files_ignored]++;
    }
    return FC_OK;
}

static fc_status read_shard(fci_plan_builder *b, const char *path)
{
    fci_tar tar;
    sample s = {0};
    bool found;
    fc_status status;
    FC_TRY(fci_tar_open(&tar, path));
    FC_TRY_GOTO(status, fci_tar_next(&tar, &found), done);
    while (found) {
        FC_TRY_GOTO(status, take_member(b, &tar, &s), done);
        FC_TRY_GOTO(status, fci_tar_next(&tar, &found), done);
    }
    FC_TRY_GOTO(status, finish(b, &tar, &s), done);
    fci_counts *counts = fci_builder_counts(b);
    counts->of[FCI_COUNT_shards_read]++;
    counts->of[FCI_COUNT_shards_cut] += tar.cut;
    if (tar.cut) {
        fc_log_warn("%s ends too early, or is damaged at byte %lld: what comes behind is lost",
                    path, (long long)tar.next);
    }
done:
    forget(&s);
    fci_tar_close(&tar);
    return status;
}

fc_status fci_source_shards(fci_plan_builder *b, char *const *paths, int count)
{
    for (int i = 0; i < count; i++) {
        FC_TRY(read_shard(b, paths[i]));
    }
    return FC_OK;
}
