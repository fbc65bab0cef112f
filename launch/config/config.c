/* Reading an experiment: bases, overrides, short forms, defaults, ${name}; then every key by table.
 */
#include "launch/config/config.h"

#include "core/memory.h"
#include "core/paths.h"
#include "launch/config/config_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BASES = 16, NAME_BYTES = 128 };

/* ---- The chain of bases ---- */

/* Path of a base: relative to the file that names it. */
static char *base_path(const char *file, const char *base)
{
    const char *slash = strrchr(file, '/');
    if (base[0] == '/' || slash == NULL) {
        return fc_strdup(base);
    }
    return fc_format("%.*s/%s", (int)(slash - file), file, base);
}

static fc_status load_chain(fc_yaml **out, const char *path, const char *const *above, int depth);

/* Lay `file` over its base; *tree holds the file and then the whole. */
static fc_status lay_over_base(fc_yaml **tree, const char *path, const char *const *above,
                               int depth)
{
    const fc_yaml *node = fc_yaml_get(*tree, "base");
    if (node == NULL || fc_yaml_type(node) == FC_YAML_NULL) {
        return FC_OK;
    }
    if (fc_yaml_text(node) == NULL) {
        return fc_yaml_error(node, "want the path of another experiment, relative to this file");
    }
    char *base = base_path(path, fc_yaml_text(node));
    char *real = realpath(base, NULL);
    fc_status status = FC_OK;
    fc_yaml *below = NULL;
    if (real == NULL) {
        status = fc_yaml_fail(FC_NOINPUT, node, "cannot open %s: %s", base, strerror(errno));
        goto out;
    }
    if (!fc_path_is_file(real)) {
        status = fc_yaml_fail(FC_NOINPUT, node, "%s is no file", base);
        goto out;
    }
    for (int i = 0; i < depth; i++) {
        if (strcmp(above[i], real) == 0) {
            status = fc_yaml_error(node, "%s leads back to itself", base);
            goto out;
        }
    }
    if (depth >= MOST_BASES) {
        status = fc_yaml_error(node, "more than %d files laid over each other", (int)MOST_BASES);
        goto out;
    }
    const char *chain[MOST_BASES + 1];
    memcpy(chain, above, (size_t)depth * sizeof *chain);
    chain[depth] = real;
    FC_TRY_GOTO(status, load_chain(&below, base, chain, depth + 1), out);
    FC_TRY_GOTO(status, fc_yaml_merge(below, *tree), out);
    fc_yaml_destroy(tree);
    *tree = below;
    below = NULL;
out:
    fc_yaml_destroy(&below);
    fc_free(&real);
    fc_free(&base);
    return status;
}

static fc_status load_chain(fc_yaml **out, const char *path, const char *const *above, int depth)
{
    FC_TRY(fc_yaml_load(out, path));
    fc_status status = lay_over_base(out, path, above, depth);
    if (status != FC_OK) {
        fc_yaml_destroy(out);
    }
    return status;
}

/* ---- Defaults ---- */

/* The name: as written, or the file's name without .yaml. */
static fc_status settle_name(fc_yaml *tree, const char *path)
{
    const fc_yaml *node = fc_yaml_get(tree, "name");
    if (node == NULL || fc_yaml_type(node) == FC_YAML_NULL) {
        const char *slash = strrchr(path, '/');
        char *name = fc_strdup(slash != NULL ? slash + 1 : path);
        char *dot = strrchr(name, '.');
        if (dot != NULL && dot != name) {
            *dot = '\0';
        }
        fc_status status = fc_yaml_put_text(tree, "name", name);
        fc_free(&name);
        FC_TRY(status);
        node = fc_yaml_get(tree, "name");
    }
    const char *name = fc_yaml_text(node);
    bool good = name != NULL && name[0] != '\0' && name[0] != '.' && strlen(name) <= NAME_BYTES;
    for (const char *p = name; good && *p != '\0'; p++) {
        good = *p != '/' && *p != '$' && !iscntrl((unsigned char)*p);
    }
    if (!good) {
        return fc_yaml_error(node,
                             "want 1 to %d characters that can name a folder: no / or $, no "
                             "dot in front",
                             (int)NAME_BYTES);
    }
    return FC_OK;
}

static fc_status put_default(fc_yaml *resolved, const fci_key *key)
{
    char *text = fc_format("v: %s", key->fallback);
    fc_yaml *value = NULL;
    fc_status status = fc_yaml_parse(&value, text, strlen(text), "default");
    if (status == FC_OK) {
        status = fc_yaml_put(resolved, key->path, fc_yaml_get(value, "v"));
    }
    fc_yaml_destroy(&value);
    fc_free(&text);
    return status;
}

/* A fresh tree of every key in the table's order, from `tree` or the default. */
static fc_status resolve(fc_yaml **out, const fc_yaml *tree, const char *path)
{
    int count;
    const fci_key *table = fci_key_table(&count);
    FC_TRY(fc_yaml_parse(out, "{}", 2, path));
    for (int i = 0; i < count; i++) {
        const fc_yaml *node;
        FC_TRY(fci_config_node(tree, table[i].path, &node));
        if (node != NULL) {
            fc_yaml_mark_read(node); /* what stands below is checked in the resolved tree */
            FC_TRY(fc_yaml_put(*out, table[i].path, node));
        } else {
            FC_TRY(put_default(*out, &table[i]));
        }
    }
    return fc_yaml_check_unknown(tree, fci_key_paths());
}

static fc_status check_expanded(const fc_yaml *node)
{
    const char *text = fc_yaml_text(node);
    const char *left = text != NULL ? strstr(text, "${") : NULL;
    if (left != NULL) {
        return fc_yaml_error(node, "%.40s: only ${name} is known", left);
    }
    for (int i = 0; i < fc_yaml_size(node); i++) {
        FC_TRY(check_expanded(fc_yaml_item(node, i)));
    }
    return FC_OK;
}

/* ---- From tree to struct ---- */

static fc_status read_keys(fc_config *config)
{
    int count;
    const fci_key *table = fci_key_table(&count);
    FC_TRY(fc_yaml_expand(config->tree, "name", fc_yaml_text(fc_yaml_get(config->tree, "name"))));
    for (int i = 0; i < count; i++) {
        const fc_yaml *node = config->tree;
        char *path = fc_strdup(table[i].path), *rest = path;
        for (char *part; (part = strsep(&rest, ".")) != NULL;) {
            node = fc_yaml_get(node, part);
        }
        fc_free(&path);
        FC_TRY(fci_key_read(&table[i], node, config));
    }
    FC_TRY(fc_yaml_check_unknown(config->tree, fci_key_paths()));
    FC_TRY(check_expanded(config->tree)); /* looks at, and so marks, everything */
    return fci_config_cross_check(config);
}

/* Everything after the chain of bases; `tree` stays the caller's. */
static fc_status build(fc_config **out, fc_yaml *tree, const char *path)
{
    FC_TRY(fci_write_out_evals(tree));
    FC_TRY(settle_name(tree, path));
    (void)fc_yaml_get(tree, "base"); /* known, and done with */
    fc_config *config = fc_alloc(1, sizeof *config);
    fc_status status = FC_OK;
    FC_TRY_GOTO(status, resolve(&config->tree, tree, path), out);
    FC_TRY_GOTO(status, read_keys(config), out);
out:
    if (status != FC_OK) {
        fc_config_destroy(&config);
    }
    *out = config;
    return status;
}

static fc_status apply_override(fc_yaml *tree, const char *assignment)
{
    if (strncmp(assignment, "base=", 5) == 0) {
        return FC_FAIL(FC_USAGE, "command line: base: only a file can name its base");
    }
    FC_TRY(fci_write_out_evals(tree));
    FC_TRY(fci_write_out_losses(tree, assignment));
    return fc_yaml_override(tree, assignment);
}

fc_status fc_config_load(fc_config **out, const char *path, int overrides, char *const *override)
{
    *out = NULL;
    char *file = fc_path_find(path);
    if (file == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: no such experiment file, here or among the shipped ones",
                       path);
    }
    char *real = realpath(file, NULL);
    const char *chain[] = {real != NULL ? real : file};
    fc_yaml *tree = NULL;
    fc_status status = FC_OK;
    FC_TRY_GOTO(status, load_chain(&tree, file, chain, 1), out);
    for (int i = 0; i < overrides; i++) {
        FC_TRY_GOTO(status, apply_override(tree, override[i]), out);
    }
    FC_TRY_GOTO(status, build(out, tree, file), out);
    fci_config_warn(*out);
out:
    fc_yaml_destroy(&tree);
    fc_free(&real);
    fc_free(&file);
    return status;
}

fc_status fc_config_parse_text(fc_config **out, const char *text, size_t bytes, const char *name)
{
    *out = NULL;
    fc_yaml *tree = NULL;
    FC_TRY(fc_yaml_parse(&tree, text, bytes, name));
    fc_status status = FC_OK;
    const fc_yaml *base = fc_yaml_get(tree, "base");
    if (base != NULL && fc_yaml_type(base) != FC_YAML_NULL) {
        status = fc_yaml_error(base, "a resolved configuration has no base");
        goto out;
    }
    FC_TRY_GOTO(status, build(out, tree, name), out);
out:
    fc_yaml_destroy(&tree);
    return status;
}

void fc_config_destroy(fc_config **config)
{
    if (*config != NULL) {
        fc_yaml_destroy(&(*config)->tree);
        fc_free(config);
    }
}

fc_status fc_config_set_batch(fc_config *config, int batch_size, int accumulate)
{
    char batch[64], parts[64];
    snprintf(batch, sizeof batch, "train.batch_size=%d", batch_size);
    snprintf(parts, sizeof parts, "train.accumulate=%d", accumulate);
    FC_TRY(fc_yaml_override(config->tree, batch));
    FC_TRY(fc_yaml_override(config->tree, parts));
    config->train.batch_size = batch_size;
    config->train.accumulate = accumulate;
    return FC_OK;
}

char *fc_config_text(const fc_config *config)
{
    char *text = NULL;
    fc_status status = fc_yaml_emit(config->tree, &text);
    FC_ASSERT(status == FC_OK);
    return text;
}

fc_status fc_config_error(const fc_config *config, fc_status code, const char *key, const char *fmt,
                          ...)
{
    char what[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const fc_yaml *node;
    FC_TRY(fci_config_node(config->tree, key, &node));
    if (node == NULL || fc_yaml_line(node) == 0 || strcmp(fc_yaml_file(node), "default") == 0) {
        bool given = node != NULL && strcmp(fc_yaml_file(node), "command line") == 0;
        return FC_FAIL(code, "%s: %s: %s", given ? "command line" : fc_yaml_file(config->tree), key,
                       what);
    }
    return fc_yaml_fail(code, node, "%s", what);
}
