#include "core/memory.h"
#include "core/paths.h"
#include "data/prepare_parts.h"

#include <string.h>
#include <sys/stat.h>

static const char vocabulary_name[] = "bpe_simple_vocab_16e6.txt.gz";

static fc_status get_text(const fc_yaml *m, const char *key, const char **out)
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

static fc_status get_int(const fc_yaml *m, const char *key, int64_t low, int64_t high, int *out)
{
    const fc_yaml *node = fc_yaml_get(m, key);
    int64_t value = *out;
    if (node != NULL) {
        FC_TRY(fc_yaml_int(node, low, high, &value));
    }
    *out = (int)value;
    return FC_OK;
}

static fc_status get_real(const fc_yaml *m, const char *key, double low, double high, double *out)
{
    const fc_yaml *node = fc_yaml_get(m, key);
    if (node != NULL) {
        FC_TRY(fc_yaml_real(node, low, high, out));
    }
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

static bool is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* A file or folder that a key names, below root; NULL where the key is absent. */
static fc_status get_path(const fc_yaml *m, const char *key, const char *root, bool folder,
                          char **out)
{
    const char *name;
    FC_TRY(get_text(m, key, &name));
    if (name == NULL) {
        return FC_OK;
    }
    *out = root == NULL || name[0] == '/' ? fc_strdup(name) : fc_format("%s/%s", root, name);
    if (folder ? !is_folder(*out) : !fc_path_is_file(*out)) {
        return fc_yaml_fail(FC_NOINPUT, fc_yaml_get(m, key), "there is no %s %s",
                            folder ? "folder" : "file", *out);
    }
    return FC_OK;
}

static fc_status want_mapping(const fc_yaml *node, const char *example)
{
    return fc_yaml_type(node) == FC_YAML_MAPPING
               ? FC_OK
               : fc_yaml_error(node, "a mapping is wanted: %s", example);
}

static fc_status read_inputs(fci_recipe *r, const fc_yaml *recipe)
{
    const char *root;
    FC_TRY(get_text(recipe, "root", &root));
    FC_TRY(get_path(recipe, "images", root, true, &r->images));
    FC_TRY(get_path(recipe, "captions", root, false, &r->captions));
    FC_TRY(get_path(recipe, "instances", root, false, &r->instances));
    FC_TRY(get_path(recipe, "region_captions", root, false, &r->region_captions));
    const fc_yaml *panoptic = fc_yaml_get(recipe, "panoptic");
    if (panoptic != NULL && fc_yaml_type(panoptic) != FC_YAML_NULL) {
        FC_TRY(want_mapping(panoptic, "{json: FILE, masks: FOLDER}"));
        FC_TRY(get_path(panoptic, "json", root, false, &r->panoptic));
        FC_TRY(get_path(panoptic, "masks", root, true, &r->masks));
        if (r->panoptic == NULL || r->masks == NULL) {
            return fc_yaml_error(panoptic, "both json and masks are needed");
        }
    }
    if (r->images == NULL) {
        return fc_yaml_error(recipe, "the key images (the folder of the pictures) is missing");
    }
    if (r->captions == NULL && r->instances == NULL && r->panoptic == NULL) {
        return fc_yaml_error(
            recipe, "one of captions, instances, panoptic must say which pictures there are");
    }
    if (r->region_captions != NULL && r->instances == NULL && r->panoptic == NULL) {
        return fc_yaml_error(fc_yaml_get(recipe, "region_captions"),
                             "these are captions of boxes, which instances or panoptic must give");
    }
    return FC_OK;
}

static fc_status read_picture(fci_recipe *r, const fc_yaml *node)
{
    static const char *const sizes[] = {"original", "squash", "longest", NULL};
    if (node == NULL) {
        return FC_OK;
    }
    FC_TRY(want_mapping(node, "{size: original, codec: jpeg, quality: 95}"));
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
    FC_TRY(get_int(node, "pixels", 1, 16384, &r->pixels));
    FC_TRY(get_codec(node, &r->codec));
    FC_TRY(get_int(node, "quality", 1, 100, &r->quality));
    return FC_OK;
}

static fc_status read_crops(fci_recipe *r, const fc_yaml *node)
{
    if (node == NULL) {
        return FC_OK;
    }
    const char *word = fc_yaml_type(node) == FC_YAML_SCALAR ? fc_yaml_text(node) : NULL;
    if (fc_yaml_type(node) == FC_YAML_NULL || (word != NULL && strcmp(word, "none") == 0)) {
        r->crops = false;
        return FC_OK;
    }
    FC_TRY(want_mapping(node, "{size: 224, scale: 1.5, codec: jpeg, quality: 95}, or none"));
    FC_TRY(get_int(node, "size", 1, 4096, &r->crop_size));
    FC_TRY(get_real(node, "scale", 0.01, 100, &r->crop_scale));
    FC_TRY(get_codec(node, &r->crop_codec));
    FC_TRY(get_int(node, "quality", 1, 100, &r->crop_quality));
    return FC_OK;
}

static fc_status read_text(fci_recipe *r, const fc_yaml *recipe)
{
    const char *word;
    FC_TRY(get_int(recipe, "context_length", 2, 4096, &r->context_length));
    FC_TRY(get_text(recipe, "prompts", &word));
    char *shipped =
        word != NULL ? fc_path_find(word) : NULL; /* a file of ours works from any folder */
    fc_status status = fc_prompts_read(&r->prompts, shipped != NULL ? shipped
                                                    : word != NULL  ? word
                                                                    : "ensemble");
    fc_free(&shipped);
    FC_TRY(status);
    const fc_yaml *text = fc_yaml_get(recipe, "text");
    if (text != NULL) {
        FC_TRY(fc_yaml_bool(text, &r->text));
    }
    FC_TRY(get_text(recipe, "vocabulary", &word));
    if (word != NULL) {
        r->vocabulary = fc_strdup(word);
        return FC_OK;
    }
    const char *slash = strrchr(r->output, '/');
    int folder = slash == NULL ? 0 : (int)(slash - r->output) + 1;
    r->vocabulary = fc_format("%.*s%s", folder, r->output, vocabulary_name);
    return FC_OK;
}

static fc_status read_all(fci_recipe *r, const fc_yaml *recipe)
{
    const char *output;
    FC_TRY(get_text(recipe, "output", &output));
    if (output == NULL) {
        return fc_yaml_error(recipe, "the key output (the store to write) is missing");
    }
    r->output = fc_strdup(output);
    FC_TRY(read_picture(r, fc_yaml_get(recipe, "picture")));
    FC_TRY(read_crops(r, fc_yaml_get(recipe, "crops")));
    FC_TRY(get_real(recipe, "max_bad_fraction", 0, 1, &r->max_bad_fraction));
    FC_TRY(read_text(r, recipe));
    FC_TRY(read_inputs(r, recipe));
    return FC_OK;
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
                        .max_bad_fraction = 0.001};
    fc_status status = read_all(out, recipe);
    if (status != FC_OK) {
        fci_recipe_free(out);
    }
    FC_TRY(status);
    return FC_OK;
}

void fci_recipe_free(fci_recipe *r)
{
    fc_free(&r->output);
    fc_free(&r->images);
    fc_free(&r->captions);
    fc_free(&r->instances);
    fc_free(&r->panoptic);
    fc_free(&r->masks);
    fc_free(&r->region_captions);
    fc_free(&r->vocabulary);
    fc_prompts_free(&r->prompts);
}
