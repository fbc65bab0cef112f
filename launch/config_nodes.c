/* Keys whose values have a form of their own: model, stores, losses; and their short forms. */
#include "core/memory.h"
#include "core/suggest.h"
#include "launch/config_table.h"

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

fc_status fci_write_out_evals(fc_yaml *tree)
{
    static const char *const evals[][2] = {
        {"eval.box_classification", "eval.box_classification.data"},
        {"eval.retrieval", "eval.retrieval.data"},
    };
    for (size_t i = 0; i < sizeof evals / sizeof *evals; i++) {
        const fc_yaml *node;
        FC_TRY(fci_config_node(tree, evals[i][0], &node));
        if (node == NULL) {
            continue;
        }
        bool scenes = fc_yaml_get(node, "synthetic") != NULL && fc_yaml_get(node, "data") == NULL &&
                      fc_yaml_size(node) == 1;
        if (fc_yaml_type(node) == FC_YAML_SCALAR || scenes) {
            /* Two steps: the short form becomes the mapping it would be copied into. */
            fc_yaml *copy = NULL;
            FC_TRY(fc_yaml_parse(&copy, "{}", 2, "copy"));
            fc_status status = fc_yaml_put(copy, "data", node);
            if (status == FC_OK) {
                status = fc_yaml_put(tree, evals[i][0], copy);
            }
            fc_yaml_destroy(&copy);
            FC_TRY(status);
        }
    }
    return FC_OK;
}
