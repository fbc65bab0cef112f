#include "models/model_config.h"

#include "core/memory.h"
#include "core/paths.h"
#include "core/suggest.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Nothing published comes near these; they keep products of sizes inside 64 bits. */
enum { MOST_PIXELS = 4096, MOST_WIDTH = 65536, MOST_LAYERS = 1024, MOST_IDS = 1 << 24 };
enum { HEAD_WIDTH = 64, PT_HW_SEQ_LEN = 16, CONTEXT_LENGTH = 77, VOCAB_SIZE = 49408 };

/* The node of a key that says something: null stands for the default, as in experiments. */
static const fc_yaml *given(const fc_yaml *mapping, const char *key)
{
    const fc_yaml *node = fc_yaml_get(mapping, key);
    return node != NULL && fc_yaml_type(node) != FC_YAML_NULL ? node : NULL;
}

/* A whole number in 1..most; where `fallback` is 0 the key must stand there. */
static fc_status read_size(const fc_yaml *mapping, const char *key, int most, int fallback,
                           int *out)
{
    const fc_yaml *node = given(mapping, key);
    if (node == NULL) {
        *out = fallback;
        return fallback != 0 ? FC_OK : fc_yaml_error(mapping, "the key %s is missing", key);
    }
    int64_t value;
    FC_TRY(fc_yaml_int(node, 1, most, &value));
    *out = (int)value;
    return FC_OK;
}

static fc_status sub_mapping(const fc_yaml *mapping, const char *key, const fc_yaml **out)
{
    *out = fc_yaml_get(mapping, key);
    if (*out == NULL) {
        return fc_yaml_error(mapping, "the key %s is missing", key);
    }
    if (fc_yaml_type(*out) != FC_YAML_MAPPING) {
        return fc_yaml_error(*out, "want a mapping such as {width: 768, layers: 12, ...}");
    }
    return FC_OK;
}

/* The node to complain about: the key where it stands, else what it should stand in. */
static const fc_yaml *at(const fc_yaml *mapping, const char *key)
{
    const fc_yaml *node = fc_yaml_get(mapping, key);
    return node != NULL ? node : mapping;
}

static fc_status read_vision(fc_model_config *out, const fc_yaml *v)
{
    static const char *const kinds[] = {"vit", "eva02", NULL};
    const fc_yaml *kind = given(v, "kind");
    int which = FC_VISION_VIT;
    if (kind != NULL) {
        FC_TRY(fc_yaml_choice(kind, kinds, &which));
    }
    out->vision.kind = (fc_vision_kind)which;
    FC_TRY(read_size(v, "image_size", MOST_PIXELS, 0, &out->vision.image_size));
    FC_TRY(read_size(v, "patch_size", MOST_PIXELS, 0, &out->vision.patch_size));
    FC_TRY(read_size(v, "width", MOST_WIDTH, 0, &out->vision.width));
    FC_TRY(read_size(v, "layers", MOST_LAYERS, 0, &out->vision.layers));
    FC_TRY(read_size(v, "head_width", MOST_WIDTH, HEAD_WIDTH, &out->vision.head_width));
    out->vision.mlp_ratio = 4.0;
    const fc_yaml *ratio = given(v, "mlp_ratio");
    if (ratio != NULL) {
        FC_TRY(fc_yaml_real(ratio, 0.001, 1000, &out->vision.mlp_ratio));
    }
    if (which == FC_VISION_EVA02) {
        FC_TRY(
            read_size(v, "pt_hw_seq_len", MOST_PIXELS, PT_HW_SEQ_LEN, &out->vision.pt_hw_seq_len));
    } else if (given(v, "pt_hw_seq_len") != NULL) {
        return fc_yaml_error(at(v, "pt_hw_seq_len"),
                             "only kind: eva02 has rotary positions, this is vit");
    }
    if (out->vision.image_size % out->vision.patch_size != 0) {
        return fc_yaml_error(at(v, "patch_size"), "%d does not divide image_size %d",
                             out->vision.patch_size, out->vision.image_size);
    }
    if (out->vision.width % out->vision.head_width != 0) {
        return fc_yaml_error(at(v, "head_width"), "%d does not divide width %d",
                             out->vision.head_width, out->vision.width);
    }
    /* Rotary positions turn pairs of channels, half of them by row and half by column. */
    if (which == FC_VISION_EVA02 && out->vision.head_width % 4 != 0) {
        return fc_yaml_error(at(v, "head_width"), "%d is not a multiple of 4, as eva02 needs",
                             out->vision.head_width);
    }
    if ((int64_t)(out->vision.width * out->vision.mlp_ratio) < 1) {
        return fc_yaml_error(at(v, "mlp_ratio"), "%g leaves no hidden channel of width %d",
                             out->vision.mlp_ratio, out->vision.width);
    }
    return FC_OK;
}

static fc_status read_text(fc_model_config *out, const fc_yaml *t)
{
    FC_TRY(read_size(t, "context_length", 1 << 16, CONTEXT_LENGTH, &out->text.context_length));
    FC_TRY(read_size(t, "vocab_size", MOST_IDS, VOCAB_SIZE, &out->text.vocab_size));
    FC_TRY(read_size(t, "width", MOST_WIDTH, 0, &out->text.width));
    FC_TRY(read_size(t, "layers", MOST_LAYERS, 0, &out->text.layers));
    int usual = out->text.width % HEAD_WIDTH == 0 ? out->text.width / HEAD_WIDTH : 0;
    FC_TRY(read_size(t, "heads", MOST_WIDTH, usual, &out->text.heads));
    if (out->text.context_length < 2) {
        return fc_yaml_error(at(t, "context_length"), "want at least 2: start and end of a text");
    }
    if (out->text.width % out->text.heads != 0) {
        return fc_yaml_error(at(t, "heads"), "%d does not divide width %d", out->text.heads,
                             out->text.width);
    }
    return FC_OK;
}

fc_status fc_model_config_read(fc_model_config *out, const fc_yaml *mapping)
{
    *out = (fc_model_config){.name = "custom"};
    if (fc_yaml_type(mapping) != FC_YAML_MAPPING) {
        return fc_yaml_error(mapping, "want a mapping with embed_dim, vision_cfg and text_cfg");
    }
    FC_TRY(read_size(mapping, "embed_dim", MOST_WIDTH, 0, &out->embed_dim));
    const fc_yaml *quick = given(mapping, "quick_gelu");
    if (quick != NULL) {
        FC_TRY(fc_yaml_bool(quick, &out->quick_gelu));
    }
    const fc_yaml *vision, *text;
    FC_TRY(sub_mapping(mapping, "vision_cfg", &vision));
    FC_TRY(read_vision(out, vision));
    FC_TRY(sub_mapping(mapping, "text_cfg", &text));
    FC_TRY(read_text(out, text));
    return fc_yaml_check_unknown(mapping, NULL);
}

/* ---- By name ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

char *fc_model_config_find(const char *name_or_path)
{
    if (strchr(name_or_path, '/') == NULL) {
        char *below = fc_format("models/configs/%s.yaml", name_or_path);
        char *found = fc_path_find_shared(below);
        fc_free(&below);
        if (found != NULL) {
            return found;
        }
    }
    return fc_path_find(name_or_path);
}

/* Keep the nearer of *best and the configurations in one folder. */
static void nearest_in(const char *folder, const char *name, char **best)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!ends_with(entry->d_name, ".yaml")) {
            continue;
        }
        char *candidate =
            fc_format("%.*s", (int)(strlen(entry->d_name) - strlen(".yaml")), entry->d_name);
        const char *const words[] = {*best != NULL ? *best : candidate, candidate, NULL};
        const char *near = fc_suggest(name, words);
        if (near == candidate) {
            fc_free(best);
            *best = candidate;
        } else {
            fc_free(&candidate);
        }
    }
    closedir(dir);
}

char *fc_model_config_suggest(const char *name)
{
    char *best = NULL, *share;
    for (int i = 0; (share = fc_path_share(i)) != NULL; i++) {
        char *folder = fc_format("%s/models/configs", share);
        nearest_in(folder, name, &best);
        fc_free(&folder);
        fc_free(&share);
    }
    return best;
}

fc_status fc_model_config_load(fc_model_config *out, const char *name_or_path)
{
    char *path = fc_model_config_find(name_or_path);
    if (path == NULL) {
        char *near = fc_model_config_suggest(name_or_path);
        fc_status status = FC_FAIL(
            FC_NOINPUT, "%s: no such model configuration, in models/configs or as a file%s%s%s",
            name_or_path, near != NULL ? "; did you mean " : "", near != NULL ? near : "",
            near != NULL ? "?" : "");
        fc_free(&near);
        return status;
    }
    fc_yaml *root = NULL;
    fc_status status = FC_OK;
    FC_TRY_GOTO(status, fc_yaml_load(&root, path), out);
    FC_TRY_GOTO(status, fc_model_config_read(out, root), out);
    const char *slash = strrchr(path, '/');
    const char *file = slash != NULL ? slash + 1 : path;
    size_t length = strlen(file) - (ends_with(file, ".yaml") ? strlen(".yaml") : 0);
    snprintf(out->name, sizeof out->name, "%.*s", (int)length, file);
out:
    fc_yaml_destroy(&root);
    fc_free(&path);
    return status;
}
