#include "core/memory.h"
#include "core/paths.h"
#include "data/prepare/prepare_parts.h"

#include <string.h>
#include <sys/stat.h>

static const char vocabulary_name[] = "bpe_simple_vocab_16e6.txt.gz";

fc_status fci_recipe_text(const fc_yaml *m, const char *key, const char **out)
{
    const fc_yaml *node = fc_yaml_get(m, key);
    *out = NULL;
    if (node == NULL || fc_yaml_type(node) == FC_YAML_NULL) {
        return FC_OK;
    }
    if (fc_yaml_type(node) != FC_YAML_SCALAR || fc_yaml_text(node)[0] == '\0') {
        return fc_yaml_error(node, "a name is wanted");
    }
    *out = fc_yaml_text(node);
    return FC_OK;
}

fc_status fci_recipe_int(const fc_yaml *m, const char *key, int64_t low, int64_t high, int *out)
{
    const fc_yaml *node = fc_yaml_get(m, key);
    int64_t value = *out;
    if (node != NULL) {
        FC_TRY(fc_yaml_int(node, low, high, &value));
    }
    *out = (int)value;
    return FC_OK;
}

fc_status fci_recipe_real(const fc_yaml *m, const char *key, double low, double high, double *out)
{
    const fc_yaml *node = fc_yaml_get(m, key);
    if (node != NULL) {
        FC_TRY(fc_yaml_real(node, low, high, out));
    }
    return FC_OK;
}

fc_status fci_recipe_bool(const fc_yaml *m, const char *key, bool *out)
{
    const fc_yaml *node = fc_yaml_get(m, key);
    if (node != NULL) {
        FC_TRY(fc_yaml_bool(node, out));
    }
    return FC_OK;
}

fc_status fci_recipe_mapping(const fc_yaml *m, const char *key, const char *example,
                             const fc_yaml **out, bool *none)
{
    const fc_yaml *node = fc_yaml_get(m, key);
    const char *word =
        node != NULL && fc_yaml_type(node) == FC_YAML_SCALAR ? fc_yaml_text(node) : NULL;
    *out = NULL;
    *none = node != NULL &&
            (fc_yaml_type(node) == FC_YAML_NULL || (word != NULL && strcmp(word, "none") == 0));
    if (node == NULL || *none) {
        return FC_OK;
    }
    if (fc_yaml_type(node) != FC_YAML_MAPPING) {
        return fc_yaml_error(node, "a mapping is wanted: %s", example);
    }
    *out = node;
    return FC_OK;
}

static fc_status get_codec(const fc_yaml *m, fc_codec *out)
{
    static const char *const words[] = {"raw", "jpeg", "png", NULL}; /* in the order of fc_codec */
    const fc_yaml *node = fc_yaml_get(m, "codec");
    int i = *out;
    if (node != NULL) {
        FC_TRY(fc_yaml_choice(node, words, &i));
    }
    *out = (fc_codec)i;
    return FC_OK;
}

static fc_status read_picture(fci_recipe *r, const fc_yaml *recipe)
{
    const fc_yaml *node;
    static const char *const sizes[] = {"original", "squash", "longest", NULL};
    bool none;
    FC_TRY(fci_recipe_mapping(recipe, "picture", "{size: original, codec: jpeg, quality: 95}",
                              &node, &none));
    if (node == NULL) {
        return FC_OK;
    }
    const fc_yaml *size = fc_yaml_get(node, "size");
    int rule = FCI_SIZE_ORIGINAL;
    if (size != NULL) {
        FC_TRY(fc_yaml_choice(size, sizes, &rule));
    }
    r->size = (fci_size_rule)rule;
    const fc_yaml *pixels = fc_yaml_get(node, "pixels");
    if (r->size != FCI_SIZE_ORIGINAL && pixels == NULL) {
        return fc_yaml_error(size, "%s needs pixels: N beside it", sizes[rule]);
    }
    if (r->size == FCI_SIZE_ORIGINAL && pixels != NULL) {
        return fc_yaml_error(pixels, "pixels belongs to size: squash or longest");
    }
    FC_TRY(fci_recipe_int(node, "pixels", 1, 16384, &r->pixels));
    FC_TRY(get_codec(node, &r->codec));
    FC_TRY(fci_recipe_int(node, "quality", 1, 100, &r->quality));
    return FC_OK;
}

static fc_status read_crops(fci_recipe *r, const fc_yaml *recipe)
{
    const fc_yaml *node;
    bool none;
    FC_TRY(fci_recipe_mapping(recipe, "crops",
                              "{size: 224, scale: 1.5, codec: jpeg, quality: 95}, or none", &node,
                              &none));
    r->crops = !none;
    if (node == NULL) {
        return FC_OK;
    }
    FC_TRY(fci_recipe_int(node, "size", 1, 4096, &r->crop_size));
    FC_TRY(fci_recipe_real(node, "scale", 0.01, 100, &r->crop_scale));
    FC_TRY(get_codec(node, &r->crop_codec));
    FC_TRY(fci_recipe_int(node, "quality", 1, 100, &r->crop_quality));
    return FC_OK;
}

static fc_status read_filter(fci_recipe *r, const fc_yaml *recipe)
{
    const fc_yaml *node;
    bool none;
    FC_TRY(fci_recipe_mapping(recipe, "filter", "{min_side: 200, max_aspect: 3}", &node, &none));
    if (node != NULL) {
        FC_TRY(fci_recipe_int(node, "min_side", 0, 1 << 28, &r->filter.min_side));
        FC_TRY(fci_recipe_real(node, "max_aspect", 0, 1e9, &r->filter.max_aspect));
        FC_TRY(fci_recipe_int(node, "min_captions", 0, 1 << 20, &r->min_captions));
        FC_TRY(fci_recipe_int(node, "min_regions", 0, 1 << 20, &r->min_regions));
    }
    const fc_yaml *samples = fc_yaml_get(recipe, "samples");
    const char *word =
        samples != NULL && fc_yaml_type(samples) == FC_YAML_SCALAR ? fc_yaml_text(samples) : NULL;
    if (samples != NULL && !(word != NULL && strcmp(word, "all") == 0)) {
        FC_TRY(fc_yaml_int(samples, 1, INT64_MAX, &r->samples));
    }
    return FC_OK;
}

static fc_status read_proposals(fci_recipe *r, const fc_yaml *recipe)
{
    const fc_yaml *node;
    bool none;
    FC_TRY(fci_recipe_mapping(recipe, "proposals", "{min_score: 0.4, nms_iou: 0.6}, or none", &node,
                              &none));
    r->filter_regions = node != NULL || (r->detections != NULL && !none);
    if (node == NULL) {
        return FC_OK;
    }
    fci_proposals *p = &r->proposals;
    FC_TRY(fci_recipe_real(node, "min_score", -1e30, 1e30, &p->min_score));
    FC_TRY(fci_recipe_real(node, "nms_iou", 0, 1, &p->nms_iou));
    FC_TRY(fci_recipe_real(node, "min_side", 0, 1e9, &p->min_side));
    FC_TRY(fci_recipe_real(node, "max_side", 0, 1e9, &p->max_side));
    FC_TRY(fci_recipe_int(node, "max_boxes", 0, 1 << 20, &p->max_boxes));
    return FC_OK;
}

static fc_status read_export(fci_recipe *r, const fc_yaml *recipe)
{
    const fc_yaml *node;
    bool none;
    FC_TRY(fci_recipe_mapping(recipe, "export_crops", "{output: FOLDER}", &node, &none));
    if (node == NULL) {
        return FC_OK;
    }
    const char *folder;
    FC_TRY(fci_recipe_text(node, "output", &folder));
    if (folder == NULL) {
        return fc_yaml_error(node, "the key output (the folder for the shards) is missing");
    }
    r->export = fc_strdup(folder);
    FC_TRY(fci_recipe_real(node, "scale", 0.01, 100, &r->export_scale));
    FC_TRY(fci_recipe_int(node, "size", 0, 4096, &r->export_size));
    FC_TRY(fci_recipe_int(node, "quality", 1, 100, &r->export_quality));
    return FC_OK;
}

static fc_status read_text(fci_recipe *r, const fc_yaml *recipe)
{
    const char *word;
    FC_TRY(fci_recipe_int(recipe, "context_length", 2, 4096, &r->context_length));
    FC_TRY(fci_recipe_text(recipe, "prompts", &word));
    char *shipped =
        word != NULL ? fc_path_find(word) : NULL; /* a file of ours works from any folder */
    fc_status status = fc_prompts_read(&r->prompts, shipped != NULL ? shipped
                                                    : word != NULL  ? word
                                                                    : "ensemble");
    r->prompts_file = shipped;
    FC_TRY(status);
    FC_TRY(fci_recipe_bool(recipe, "text", &r->text));
    FC_TRY(fci_recipe_text(recipe, "vocabulary", &word));
    if (word != NULL) {
        r->vocabulary = fc_strdup(word);
        return FC_OK;
    }
    const char *slash = strrchr(r->output, '/');
    int folder = slash == NULL ? 0 : (int)(slash - r->output) + 1;
    r->vocabulary = fc_format("%.*s%s", folder, r->output, vocabulary_name);
    return FC_OK;
}

static fc_status read_keys(fci_recipe *r, const fc_yaml *recipe)
{
    static const char *const keep_or_drop[] = {"keep", "drop", NULL};
    const char *output;
    FC_TRY(fci_recipe_text(recipe, "output", &output));
    if (output == NULL) {
        return fc_yaml_error(recipe, "the key output (the store to write) is missing");
    }
    r->output = fc_strdup(output);
    FC_TRY(read_picture(r, recipe));
    FC_TRY(read_crops(r, recipe));
    FC_TRY(fci_recipe_real(recipe, "max_bad_fraction", 0, 1, &r->max_bad_fraction));
    FC_TRY(read_text(r, recipe));
    FC_TRY(fci_recipe_read_inputs(r, recipe));
    FC_TRY(read_filter(r, recipe));
    FC_TRY(read_proposals(r, recipe));
    FC_TRY(read_export(r, recipe));
    const fc_yaml *duplicates = fc_yaml_get(recipe, "duplicates");
    int drop = 0;
    if (duplicates != NULL) {
        FC_TRY(fc_yaml_choice(duplicates, keep_or_drop, &drop));
    }
    r->drop_duplicates = drop == 1;
    FC_TRY(fci_recipe_bool(recipe, "drop_repeated_captions", &r->drop_repeated));
    char *folder = r->export != NULL ? fc_strdup(r->export) : fc_strdup(r->output);
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') {
        folder[--n] = '\0';
    }
    r->work = fc_format("%s.work", folder);
    fc_free(&folder);
    return FC_OK;
}

/* What the plan and the parts depend on: the recipe without max_bad_fraction, so that a run that
 * met too many bad pictures goes on with a larger one, and the files it names by size and time. */
static fc_status take_fingerprint(fci_recipe *r, const fc_yaml *recipe)
{
    fc_yaml *copy = NULL;
    char *text = NULL;
    fc_status status;
    FC_TRY(fc_yaml_emit(recipe, &r->resolved));
    FC_TRY_GOTO(status, fc_yaml_parse(&copy, r->resolved, strlen(r->resolved), "recipe"), done);
    FC_TRY_GOTO(status, fc_yaml_override(copy, "max_bad_fraction=0"), done);
    FC_TRY_GOTO(status, fc_yaml_emit(copy, &text), done);
    fci_bytes all = {0};
    fci_pack_text(&all, text);
    const char *const files[] = {r->captions,        r->instances,  r->panoptic,
                                 r->region_captions, r->detections, r->retrieval,
                                 r->karpathy,        r->vocabulary, r->prompts_file};
    int count = (int)(sizeof files / sizeof *files);
    for (int i = 0; i < count + r->shard_count; i++) {
        const char *file = i < count ? files[i] : r->shards[i - count];
        struct stat about;
        fci_pack_text(&all, file);
        if (file != NULL && stat(file, &about) == 0) {
            fci_pack_i64(&all, (int64_t)about.st_size);
            fci_pack(&all, &about.st_mtim, sizeof about.st_mtim);
        }
    }
    fc_content_hash(all.data, all.count, r->fingerprint);
    fc_free(&all.data);
done:
    fc_yaml_destroy(&copy);
    fc_free(&text);
    return status;
}

fc_status fci_recipe_read(fci_recipe *out, const fc_yaml *recipe)
{
    *out = (fci_recipe){.context_length = 77,
                        .codec = FC_CODEC_JPEG,
                        .crop_codec = FC_CODEC_JPEG,
                        .quality = 95,
                        .crop_quality = 95,
                        .crops = true,
                        .crop_size = 224,
                        .crop_scale = 1.5,
                        .text = true,
                        .max_bad_fraction = 0.001,
                        /* ours: the paper does not say (experiments/prepare/pipeline.yaml) */
                        .proposals = {.min_score = 0.4,
                                      .nms_iou = 0.6,
                                      .min_side = 32,
                                      .max_side = 0,
                                      .max_boxes = 20},
                        .export_scale = 1,
                        .export_quality = 95};
    fc_status status = read_keys(out, recipe);
    if (status == FC_OK) {
        status = take_fingerprint(out, recipe);
    }
    if (status != FC_OK) {
        fci_recipe_free(out);
    }
    FC_TRY(status);
    return FC_OK;
}

void fci_recipe_free(fci_recipe *r)
{
    char **texts[] = {&r->output,     &r->work,         &r->images,   &r->captions,
                      &r->instances,  &r->panoptic,     &r->masks,    &r->region_captions,
                      &r->detections, &r->retrieval,    &r->karpathy, &r->splits,
                      &r->vocabulary, &r->prompts_file, &r->export,   &r->resolved};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        fc_free(texts[i]);
    }
    for (int i = 0; i < r->shard_count; i++) {
        fc_free(&r->shards[i]);
    }
    fc_free(&r->shards);
    fc_prompts_free(&r->prompts);
}
