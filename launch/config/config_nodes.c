/* Keys whose values have a form of their own: model, stores, losses; and their short forms. */
#include "core/memory.h"
#include "core/suggest.h"
#include "launch/config/config_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

fc_status fci_read_model(fc_config *config, const fc_yaml *node)
{
    if (fc_yaml_type(node) == FC_YAML_MAPPING) {
        return fc_model_config_read(&config->model.config, node);
    }
    const char *name = fc_yaml_text(node);
    if (name == NULL) {
        return fc_yaml_error(node, "want a name in models/configs, a path, or a mapping");
    }
    char *path = fc_model_config_find(name);
    if (path == NULL) {
        char *near = fc_model_config_suggest(name);
        fc_status status = fc_yaml_fail(
            FC_NOINPUT, node, "no model configuration %s, in models/configs or as a file%s%s%s",
            name, near != NULL ? "; did you mean " : "", near != NULL ? near : "",
            near != NULL ? "?" : "");
        fc_free(&near);
        return status;
    }
    fc_free(&path);
    return fc_model_config_load(&config->model.config, name);
}

fc_status fci_read_source(fc_source *out, const fc_yaml *node)
{
    *out = (fc_source){0};
    if (fc_yaml_type(node) == FC_YAML_NULL) {
        return FC_OK;
    }
    out->node = node;
    out->path = fc_yaml_text(node);
    if (out->path != NULL) {
        return FC_OK;
    }
    const fc_yaml *scenes = fc_yaml_get(node, "synthetic");
    if (scenes == NULL) {
        if (fc_yaml_type(node) == FC_YAML_MAPPING) {
            FC_TRY(fc_yaml_check_unknown(node, NULL));
        }
        return fc_yaml_error(node, "want the path of a store or {synthetic: {images: 2000}}");
    }
    out->synthetic = true;
    return fc_scene_options_read(&out->scenes, scenes);
}

/* ---- Further retrieval sets ---- */

enum { MOST_SET_NAME = 32 };

/* A name becomes part of a dataset's path. */
static bool is_set_name(const char *name)
{
    size_t length =
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return length > 0 && length <= MOST_SET_NAME && name[length] == '\0';
}

static fc_status read_set(struct fc_eval_set *out, const fc_yaml *node)
{
    static const char *const words[] = {"squash", "center_crop", NULL};
    const int64_t most = 4096;
    const fc_yaml *data = fc_yaml_get(node, "data"), *size = fc_yaml_get(node, "image_size"),
                  *resize = fc_yaml_get(node, "resize");
    int64_t pixels = 0;
    int word = 0;
    if (data == NULL || fc_yaml_type(data) == FC_YAML_NULL) {
        return fc_yaml_error(node, "want a store, or {data: ...}");
    }
    FC_TRY(fci_read_source(&out->data, data));
    if (size != NULL && fc_yaml_type(size) != FC_YAML_NULL) {
        FC_TRY(fc_yaml_int(size, 1, most, &pixels));
    }
    if (resize != NULL) {
        FC_TRY(fc_yaml_choice(resize, words, &word));
    }
    out->image_size = (int)pixels;
    out->resize = word == 0 ? FC_FIT_SQUASH : FC_FIT_CENTER_CROP;
    return FC_OK;
}

fc_status fci_read_sets(fc_eval_sets *out, const fc_yaml *node)
{
    *out = (fc_eval_sets){0};
    if (fc_yaml_type(node) != FC_YAML_MAPPING) {
        return fc_yaml_error(node, "want a mapping of names, e.g. {flickr30k: data/flickr30k.h5}");
    }
    for (int i = 0; i < fc_yaml_size(node); i++) {
        const char *name;
        const fc_yaml *value = fc_yaml_entry(node, i, &name);
        if (!is_set_name(name)) {
            return fc_yaml_error(value, "want a name of letters, digits, - and _, at most %d",
                                 (int)MOST_SET_NAME);
        }
        if (fc_yaml_type(value) == FC_YAML_NULL) {
            continue; /* switched off by a file laid over its base */
        }
        if (out->count == FC_MOST_SETS) {
            return fc_yaml_error(value, "more than %d stores", (int)FC_MOST_SETS);
        }
        struct fc_eval_set *set = &out->set[out->count++];
        FC_TRY(read_set(set, value));
        set->name = name;
    }
    return FC_OK;
}

/* ---- Losses ---- */

static fc_status unknown_loss(const fc_yaml *node, const char *name)
{
    int count;
    const fc_loss_def *const *all = fc_loss_all(&count);
    const char *names[FC_MOST_LOSSES + 1] = {NULL};
    char list[512] = "";
    for (int i = 0; i < count; i++) {
        names[i] = all[i]->name;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    const char *near = fc_suggest(name, names);
    if (near != NULL) {
        return fc_yaml_error(node, "no such loss term; did you mean losses.%s?", near);
    }
    return fc_yaml_error(node, "no such loss term; there are %s", list);
}

static fc_status read_loss(const fc_loss_def *def, const fc_yaml *node, fc_loss_choice *out)
{
    const double most = 1e6;
    *out = (fc_loss_choice){.def = def, .weight = 1.0};
    const fc_yaml *options = NULL, *weight = node;
    if (fc_yaml_type(node) == FC_YAML_MAPPING) {
        options = node;
        weight = fc_yaml_get(node, "weight");
    }
    if (weight != NULL) {
        FC_TRY(fc_yaml_real(weight, 0, most, &out->weight));
    }
    return fc_loss_read_options(def, options, &out->options);
}

fc_status fci_read_losses(fc_config *config, const fc_yaml *node)
{
    int count;
    const fc_loss_def *const *all = fc_loss_all(&count);
    FC_ASSERT(count <= FC_MOST_LOSSES);
    if (fc_yaml_type(node) != FC_YAML_MAPPING) {
        return fc_yaml_error(node, "want a mapping such as {%s: 1.0}", all[0]->name);
    }
    for (int i = 0; i < fc_yaml_size(node); i++) {
        const char *name;
        const fc_yaml *term = fc_yaml_entry(node, i, &name);
        if (fc_loss_find(name) == NULL) {
            return unknown_loss(term, name);
        }
    }
    config->loss_count = 0;
    for (int i = 0; i < count; i++) {
        const fc_yaml *term = fc_yaml_get(node, all[i]->name);
        if (term == NULL || fc_yaml_type(term) == FC_YAML_NULL) {
            continue;
        }
        /* A term of weight 0 is off: were it computed, tensors only it reaches would get a gradient
         * of zeros and decay. */
        fc_loss_choice *choice = &config->losses[config->loss_count];
        FC_TRY(read_loss(all[i], term, choice));
        config->loss_count += choice->weight > 0;
    }
    return FC_OK;
}

/* ---- Short forms ---- */

static const fci_key *losses_key(void)
{
    int count;
    const fci_key *table = fci_key_table(&count);
    for (int i = 0; i < count; i++) {
        if (table[i].kind == FCI_KEY_LOSSES) {
            return &table[i];
        }
    }
    return NULL;
}

fc_status fci_write_out_losses(fc_yaml *tree, const char *assignment)
{
    static const char prefix[] = "losses.";
    if (strncmp(assignment, prefix, strlen(prefix)) != 0) {
        return FC_OK;
    }
    const fc_yaml *node;
    FC_TRY(fci_config_node(tree, "losses", &node));
    if (node == NULL) {
        char *all = fc_format("losses=%s", losses_key()->fallback);
        fc_status status = fc_yaml_override(tree, all);
        fc_free(&all);
        FC_TRY(status);
        FC_TRY(fci_config_node(tree, "losses", &node));
    }
    const char *name = assignment + strlen(prefix);
    size_t length = strcspn(name, ".=");
    if (name[length] != '.') {
        return FC_OK;
    }
    char *term = fc_format("%.*s", (int)length, name);
    char *path = fc_format("losses.%s.weight", term);
    const fc_yaml *weight = fc_yaml_get(node, term);
    fc_status status = FC_OK;
    if (weight != NULL && fc_yaml_type(weight) == FC_YAML_SCALAR) {
        status = fc_yaml_put(tree, path, weight);
    }
    fc_free(&path);
    fc_free(&term);
    return status;
}

/* A bare store where {data: ...} may stand becomes that. */
static fc_status write_out_eval(fc_yaml *tree, const char *path)
{
    const fc_yaml *node;
    FC_TRY(fci_config_node(tree, path, &node));
    if (node == NULL) {
        return FC_OK;
    }
    bool scenes = fc_yaml_get(node, "synthetic") != NULL && fc_yaml_get(node, "data") == NULL &&
                  fc_yaml_size(node) == 1;
    if (fc_yaml_type(node) != FC_YAML_SCALAR && !scenes) {
        return FC_OK;
    }
    /* Two steps: the short form becomes the mapping it would be copied into. */
    fc_yaml *copy = NULL;
    FC_TRY(fc_yaml_parse(&copy, "{}", 2, "copy"));
    fc_status status = fc_yaml_put(copy, "data", node);
    if (status == FC_OK) {
        status = fc_yaml_put(tree, path, copy);
    }
    fc_yaml_destroy(&copy);
    return status;
}

fc_status fci_write_out_evals(fc_yaml *tree)
{
    static const char more[] = "eval.retrieval.more";
    FC_TRY(write_out_eval(tree, "eval.box_classification"));
    FC_TRY(write_out_eval(tree, "eval.retrieval"));
    const fc_yaml *sets;
    FC_TRY(fci_config_node(tree, more, &sets));
    for (int i = 0; sets != NULL && i < fc_yaml_size(sets); i++) {
        const char *name = NULL;
        if (fc_yaml_type(sets) == FC_YAML_MAPPING) {
            (void)fc_yaml_entry(sets, i, &name);
        }
        if (name == NULL || strlen(name) > MOST_SET_NAME || strchr(name, '.') != NULL) {
            continue; /* refused when it is read */
        }
        char *path = fc_format("%s.%s", more, name);
        fc_status status = write_out_eval(tree, path);
        fc_free(&path);
        FC_TRY(status);
    }
    return FC_OK;
}
