/* The table of keys, and reading the plain kinds of values. */
#include "launch/config/config_table.h"

#include "core/memory.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FC_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ROW(kind, key, fallback, lo, hi, words, doc)                                               \
    {#key,  kind, offsetof(fc_config, key), sizeof(((fc_config *)0)->key), fallback, lo, hi,       \
     words, doc},
#define FC_TEXT(key, fallback, doc) ROW(FCI_KEY_TEXT, key, fallback, 0, 0, NULL, doc)
#define FC_BOOL(key, fallback, doc) ROW(FCI_KEY_BOOL, key, fallback, 0, 0, NULL, doc)
#define FC_INT(key, fallback, lo, hi, doc) ROW(FCI_KEY_INT, key, fallback, lo, hi, NULL, doc)
#define FC_REAL(key, fallback, lo, hi, doc) ROW(FCI_KEY_REAL, key, fallback, lo, hi, NULL, doc)
#define FC_BYTES(key, fallback, doc) ROW(FCI_KEY_BYTES, key, fallback, 0, 0, NULL, doc)
#define FC_PAIR(key, fallback, lo, hi, doc) ROW(FCI_KEY_PAIR, key, fallback, lo, hi, NULL, doc)
#define FC_CHOICE(key, fallback, words, doc) ROW(FCI_KEY_CHOICE, key, fallback, 0, 0, words, doc)
#define FC_SET(key, fallback, words, doc) ROW(FCI_KEY_SET, key, fallback, 0, 0, words, doc)
#define FC_MODEL(key, fallback, doc) ROW(FCI_KEY_MODEL, key, fallback, 0, 0, NULL, doc)
#define FC_SOURCE(key, fallback, doc) ROW(FCI_KEY_SOURCE, key, fallback, 0, 0, NULL, doc)
#define FC_LOSSES(key, fallback, doc) ROW(FCI_KEY_LOSSES, key, fallback, 0, 0, NULL, doc)
#define FC_SETS(key, fallback, doc) ROW(FCI_KEY_SETS, key, fallback, 0, 0, NULL, doc)

static const fci_key table[] = {
#include "launch/config/config.def"
};

#undef ROW
#define ROW(kind, key, fallback, lo, hi, words, doc) #key,
static const char *const paths[] = {"base",
#include "launch/config/config.def"
                                    NULL};

const fci_key *fci_key_table(int *count)
{
    *count = (int)(sizeof table / sizeof *table);
    return table;
}

const char *const *fci_key_paths(void)
{
    return paths;
}

fc_status fci_config_node(const fc_yaml *root, const char *path, const fc_yaml **out)
{
    char part[64];
    *out = root;
    while (*out != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        FC_ASSERT(length < sizeof part);
        snprintf(part, sizeof part, "%.*s", (int)length, path);
        path += length + (path[length] == '.');
        if (fc_yaml_type(*out) != FC_YAML_MAPPING) {
            return fc_yaml_error(*out, "want a mapping with the key %s", part);
        }
        *out = fc_yaml_get(*out, part);
        if (*out != NULL && fc_yaml_type(*out) == FC_YAML_NULL) {
            *out = NULL;
        }
    }
    return FC_OK;
}

/* The default's word ("auto", "all") beside the numbers; null never gets here but by default. */
static bool is_word_for_none(const fci_key *key, const fc_yaml *node)
{
    const char *text = fc_yaml_text(node);
    return fc_yaml_type(node) == FC_YAML_NULL ||
           (text != NULL && strcmp(text, key->fallback) == 0 &&
            strpbrk(text, "0123456789") == NULL);
}

static fc_status read_int(const fci_key *key, const fc_yaml *node, void *field)
{
    int64_t value = 0;
    if (!is_word_for_none(key, node)) {
        FC_TRY(fc_yaml_int(node, (int64_t)key->lo, (int64_t)key->hi, &value));
    }
    if (key->bytes == sizeof(int)) {
        FC_ASSERT(key->hi <= INT_MAX);
        *(int *)field = (int)value;
    } else {
        FC_ASSERT(key->bytes == sizeof(int64_t));
        *(int64_t *)field = value;
    }
    return FC_OK;
}

static fc_status read_pair(const fci_key *key, const fc_yaml *node, double *field)
{
    if (fc_yaml_type(node) != FC_YAML_SEQUENCE || fc_yaml_size(node) != 2) {
        return fc_yaml_error(node, "want two numbers, e.g. %s", key->fallback);
    }
    for (int i = 0; i < 2; i++) {
        FC_TRY(fc_yaml_real(fc_yaml_item(node, i), key->lo, key->hi, &field[i]));
    }
    return FC_OK;
}

static fc_status read_set(const fci_key *key, const fc_yaml *node, unsigned *field)
{
    *field = 0;
    if (fc_yaml_type(node) != FC_YAML_SEQUENCE) {
        return fc_yaml_error(node, "want a list, e.g. [%s]", key->words[0]);
    }
    for (int i = 0; i < fc_yaml_size(node); i++) {
        int word;
        FC_TRY(fc_yaml_choice(fc_yaml_item(node, i), key->words, &word));
        *field |= 1U << word;
    }
    return FC_OK;
}

fc_status fci_key_read(const fci_key *key, const fc_yaml *node, fc_config *config)
{
    void *field = (char *)config + key->offset;
    int word;
    switch (key->kind) {
    case FCI_KEY_TEXT:
        *(const char **)field = fc_yaml_text(node);
        if (fc_yaml_text(node) == NULL && fc_yaml_type(node) != FC_YAML_NULL) {
            return fc_yaml_error(node, "want a text");
        }
        return FC_OK;
    case FCI_KEY_BOOL:
        return fc_yaml_bool(node, field);
    case FCI_KEY_INT:
        return read_int(key, node, field);
    case FCI_KEY_REAL:
        *(double *)field = 0;
        return is_word_for_none(key, node) ? FC_OK : fc_yaml_real(node, key->lo, key->hi, field);
    case FCI_KEY_BYTES:
        *(int64_t *)field = 0;
        return is_word_for_none(key, node) ? FC_OK : fc_yaml_bytes(node, field);
    case FCI_KEY_PAIR:
        return read_pair(key, node, field);
    case FCI_KEY_CHOICE:
        FC_TRY(fc_yaml_choice(node, key->words, &word));
        FC_ASSERT(key->bytes == sizeof word);
        memcpy(field, &word, sizeof word); /* enums have the size of int, not its type */
        return FC_OK;
    case FCI_KEY_SET:
        return read_set(key, node, field);
    case FCI_KEY_MODEL:
        return fci_read_model(config, node);
    case FCI_KEY_SOURCE:
        return fci_read_source(field, node);
    case FCI_KEY_LOSSES:
        return fci_read_losses(config, node);
    case FCI_KEY_SETS:
        return fci_read_sets(field, node);
    }
    return FC_FAIL(FC_BUG, "%s: no reader", key->path);
}

/* ---- Help ---- */

static char *append(char *text, const char *more)
{
    char *longer = fc_format("%s%s", text, more);
    fc_free(&text);
    return longer;
}

/* "auto | cpu | cuda", "1 to 100", ...: what may stand there. */
static void say_values(const fci_key *key, char out[256])
{
    out[0] = '\0';
    for (int i = 0; key->words != NULL && key->words[i] != NULL; i++) {
        size_t used = strlen(out);
        snprintf(out + used, 256 - used, "%s%s", i > 0 ? " | " : "", key->words[i]);
    }
    switch (key->kind) {
    case FCI_KEY_BOOL:
        snprintf(out, 256, "true | false");
        break;
    case FCI_KEY_INT:
    case FCI_KEY_REAL:
        if (key->hi < 1e5) {
            snprintf(out, 256, "%g to %g", key->lo, key->hi);
        } else if (key->lo == 0 || key->lo >= 0.01) {
            snprintf(out, 256, "from %g", key->lo);
        } else {
            snprintf(out, 256, "above 0");
        }
        break;
    case FCI_KEY_BYTES:
        snprintf(out, 256, "a size: 20GiB, 800 MiB");
        break;
    case FCI_KEY_TEXT:
    case FCI_KEY_PAIR:
    case FCI_KEY_CHOICE:
    case FCI_KEY_SET:
    case FCI_KEY_MODEL:
    case FCI_KEY_SOURCE:
    case FCI_KEY_LOSSES:
    case FCI_KEY_SETS:
        break;
    }
}

static char *append_options(char *text, const fc_loss_def *loss)
{
    for (const fc_loss_option *o = loss->options; o != NULL && o->key != NULL; o++) {
        fci_key key = {.kind = o->words != NULL ? FCI_KEY_CHOICE
                               : o->lo < o->hi  ? FCI_KEY_INT
                                                : FCI_KEY_TEXT,
                       .lo = o->lo,
                       .hi = o->hi,
                       .words = o->words};
        char values[256];
        say_values(&key, values);
        char *line = fc_format("  losses.%s.%s: %s%s%s%s\n      %s\n", loss->name, o->key,
                               o->fallback, values[0] != '\0' ? "   (" : "", values,
                               values[0] != '\0' ? ")" : "", o->doc);
        text = append(text, line);
        fc_free(&line);
    }
    return text;
}

char *fc_config_help(void)
{
    char *text = fc_strdup("Keys of an experiment: default (values), meaning\n");
    size_t section = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const fci_key *key = &table[i];
        size_t length = strchr(key->path, '.') != NULL ? strcspn(key->path, ".") : 0;
        if (i == 0 || length != section ||
            (length > 0 && strncmp(key->path, table[i - 1].path, length) != 0)) {
            text = append(text, "\n");
        }
        section = length;
        char values[256];
        say_values(key, values);
        char *line = fc_format("  %s: %s%s%s%s\n      %s\n", key->path, key->fallback,
                               values[0] != '\0' ? "   (" : "", values,
                               values[0] != '\0' ? ")" : "", key->doc);
        text = append(text, line);
        fc_free(&line);
    }
    int count;
    const fc_loss_def *const *losses = fc_loss_all(&count);
    text = append(text, "\nTerms under losses, each a weight or {weight: 1.0, ...}\n\n");
    for (int i = 0; i < count; i++) {
        char *line = fc_format("  losses.%s\n      %s\n", losses[i]->name, losses[i]->doc);
        text = append(text, line);
        fc_free(&line);
        text = append_options(text, losses[i]);
    }
    return text;
}
