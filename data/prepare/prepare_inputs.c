/* The keys of a recipe that say where pictures, captions and regions come from. */
#include "core/memory.h"
#include "core/paths.h"
#include "data/prepare/prepare_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <glob.h>

enum { MOST_SHARDS = 1000000 };

static bool is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static char *below(const char *root, const char *name)
{
    return root == NULL || name[0] == '/' ? fc_strdup(name) : fc_format("%s/%s", root, name);
}

/* A file or folder that a key names, below root; NULL where the key is absent. */
static fc_status get_path(const fc_yaml *m, const char *key, const char *root, bool folder,
                          char **out)
{
    const char *name;
    FC_TRY(fci_recipe_text(m, key, &name));
    if (name == NULL) {
        return FC_OK;
    }
    *out = below(root, name);
    if (folder ? !is_folder(*out) : !fc_path_is_file(*out)) {
        return fc_yaml_fail(FC_NOINPUT, fc_yaml_get(m, key), "there is no %s %s",
                            folder ? "folder" : "file", *out);
    }
    return FC_OK;
}

/* Numbers in a pattern, "{00000..00331}": webdataset's way to name shards. */
typedef struct range {
    const char *begin, *end; /* its "{"; what follows its "}" */
    long long first, last;
    int digits;  /* numbers are filled up with zeros to so many */
    bool nested; /* inside other braces */
} range;

static bool find_range(const char *pattern, range *out)
{
    int depth = 0;
    for (const char *at = pattern; *at != '\0'; at++) {
        char first[10], last[10];
        int length = 0;
        if (sscanf(at, "{%9[0-9]..%9[0-9]}%n", first, last, &length) == 2 && length > 0) {
            bool filled = (first[0] == '0' && first[1] != '\0') || last[0] == '0';
            size_t a = strlen(first), b = strlen(last);
            *out = (range){.begin = at,
                           .end = at + length,
                           .first = strtoll(first, NULL, 10),
                           .last = strtoll(last, NULL, 10),
                           .digits = filled ? (int)(a > b ? a : b) : 1,
                           .nested = depth > 0};
            return true;
        }
        depth += (*at == '{') - (*at == '}');
    }
    return false;
}

static fc_status add_matches(fci_recipe *r, const fc_yaml *node, const char *pattern, bool ranged)
{
    glob_t found;
    if (glob(pattern, GLOB_BRACE, NULL, &found) != 0) {
        return fc_yaml_fail(FC_NOINPUT, node, "no shard matches %s%s", pattern,
                            ranged ? "; of a range all must be there (* takes those that are)"
                                   : "");
    }
    int count = (int)found.gl_pathc;
    r->shards = fc_realloc(r->shards, (size_t)(r->shard_count + count), sizeof *r->shards);
    for (int i = 0; i < count; i++) {
        r->shards[r->shard_count++] = fc_strdup(found.gl_pathv[i]);
    }
    globfree(&found);
    return FC_OK;
}

/* What each number of each range of the pattern matches, in this order. */
static fc_status add_ranges(fci_recipe *r, const fc_yaml *node, const char *pattern, bool ranged)
{
    range x;
    if (!find_range(pattern, &x)) {
        return add_matches(r, node, pattern, ranged);
    }
    if (x.nested || x.first > x.last || x.last - x.first >= MOST_SHARDS) {
        return fc_yaml_error(node,
                             "%.*s: a range counts up, to a million shards at most, and is "
                             "not inside other braces",
                             (int)(x.end - x.begin), x.begin);
    }
    fc_status status = FC_OK;
    for (long long n = x.first; n <= x.last && status == FC_OK; n++) {
        char *one =
            fc_format("%.*s%0*lld%s", (int)(x.begin - pattern), pattern, x.digits, n, x.end);
        status = add_ranges(r, node, one, true);
        fc_free(&one);
    }
    return status;
}

/* Shards by a pattern, or all of a folder, in the order of their names. */
static fc_status add_shards(fci_recipe *r, const fc_yaml *node, const char *root)
{
    const char *name = fc_yaml_type(node) == FC_YAML_SCALAR ? fc_yaml_text(node) : NULL;
    if (name == NULL || *name == '\0') {
        return fc_yaml_error(node, "a folder of shards, a pattern as shards/*.tar or "
                                   "shards/{00000..00331}.tar, or a list of these is wanted");
    }
    char *pattern = below(root, name);
    if (is_folder(pattern)) {
        char *all = fc_format("%s/*.tar", pattern);
        fc_free(&pattern);
        pattern = all;
    }
    fc_status status = add_ranges(r, node, pattern, false);
    fc_free(&pattern);
    return status;
}

static fc_status read_shards(fci_recipe *r, const fc_yaml *recipe, const char *root)
{
    const fc_yaml *node = fc_yaml_get(recipe, "shards");
    if (node == NULL || fc_yaml_type(node) == FC_YAML_NULL) {
        return FC_OK;
    }
    if (fc_yaml_type(node) != FC_YAML_SEQUENCE) {
        return add_shards(r, node, root);
    }
    for (int i = 0; i < fc_yaml_size(node); i++) {
        FC_TRY(add_shards(r, fc_yaml_item(node, i), root));
    }
    return FC_OK;
}

static fc_status read_panoptic(fci_recipe *r, const fc_yaml *recipe, const char *root)
{
    const fc_yaml *node;
    bool none;
    FC_TRY(fci_recipe_mapping(recipe, "panoptic", "{json: FILE, masks: FOLDER}", &node, &none));
    if (node == NULL) {
        return FC_OK;
    }
    FC_TRY(get_path(node, "json", root, false, &r->panoptic));
    FC_TRY(get_path(node, "masks", root, true, &r->masks));
    return r->panoptic != NULL && r->masks != NULL
               ? FC_OK
               : fc_yaml_error(node, "both json and masks are needed");
}

static fc_status read_karpathy(fci_recipe *r, const fc_yaml *recipe, const char *root)
{
    const fc_yaml *node;
    bool none;
    const char *splits;
    FC_TRY(fci_recipe_mapping(recipe, "karpathy", "{json: dataset_coco.json, split: test}", &node,
                              &none));
    if (node == NULL) {
        return FC_OK;
    }
    FC_TRY(get_path(node, "json", root, false, &r->karpathy));
    FC_TRY(fci_recipe_text(node, "split", &splits));
    r->splits = splits != NULL ? fc_strdup(splits) : NULL;
    return r->karpathy != NULL ? FC_OK : fc_yaml_error(node, "json is needed");
}

/* What the source is made of must be there, and nothing that another source is made of. */
static fc_status check_source(const fci_recipe *r, const fc_yaml *recipe)
{
    bool coco = r->captions != NULL || r->instances != NULL || r->panoptic != NULL;
    const struct {
        const char *key;
        fci_source source;
        bool given;
    } own[] = {{"shards", FCI_SOURCE_SHARDS, r->shard_count > 0},
               {"retrieval", FCI_SOURCE_RETRIEVAL, r->retrieval != NULL},
               {"karpathy", FCI_SOURCE_KARPATHY, r->karpathy != NULL}};
    for (int i = 0; i < 3; i++) {
        if (own[i].given && r->source != own[i].source) {
            return fc_yaml_error(fc_yaml_get(recipe, own[i].key), "belongs to source: %s",
                                 own[i].key);
        }
        if (!own[i].given && r->source == own[i].source) {
            return fc_yaml_error(recipe, "the key %s is missing", own[i].key);
        }
    }
    if (r->images == NULL && r->source != FCI_SOURCE_SHARDS) {
        return fc_yaml_error(recipe, "the key images (the folder of the pictures) is missing");
    }
    if (r->images != NULL && r->source == FCI_SOURCE_SHARDS) {
        return fc_yaml_error(fc_yaml_get(recipe, "images"), "the pictures of shards lie in them");
    }
    if (r->source == FCI_SOURCE_COCO && !coco) {
        return fc_yaml_error(
            recipe, "one of captions, instances, panoptic must say which pictures there are");
    }
    if (r->region_captions != NULL && r->instances == NULL && r->panoptic == NULL &&
        r->detections == NULL) {
        return fc_yaml_error(
            fc_yaml_get(recipe, "region_captions"),
            "these are captions of boxes, which instances, panoptic or detections must give");
    }
    return FC_OK;
}

fc_status fci_recipe_read_inputs(fci_recipe *r, const fc_yaml *recipe)
{
    static const char *const words[] = {"coco",     "folder",    "shards", "retrieval",
                                        "karpathy", "synthetic", NULL};
    const char *root;
    int source = FCI_SOURCE_COCO;
    const fc_yaml *node = fc_yaml_get(recipe, "source");
    if (node == NULL) {
        return fc_yaml_error(recipe, "the key source (coco, folder, shards, retrieval, karpathy or "
                                     "synthetic) is missing");
    }
    FC_TRY(fc_yaml_choice(node, words, &source));
    r->source = (fci_source)source;
    FC_TRY(fci_recipe_text(recipe, "root", &root));
    FC_TRY(get_path(recipe, "images", root, true, &r->images));
    FC_TRY(get_path(recipe, "captions", root, false, &r->captions));
    FC_TRY(get_path(recipe, "instances", root, false, &r->instances));
    FC_TRY(get_path(recipe, "region_captions", root, false, &r->region_captions));
    FC_TRY(get_path(recipe, "detections", root, false, &r->detections));
    FC_TRY(get_path(recipe, "retrieval", root, false, &r->retrieval));
    FC_TRY(read_panoptic(r, recipe, root));
    FC_TRY(read_karpathy(r, recipe, root));
    FC_TRY(read_shards(r, recipe, root));
    FC_TRY(check_source(r, recipe));
    return FC_OK;
}
