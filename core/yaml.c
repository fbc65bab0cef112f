/* The tree: making, finding, laying over, overriding, expanding. */
#include "core/memory.h"
#include "core/yaml_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Nodes ---- */

fci_yaml_name *fci_yaml_name_create(const char *text)
{
    size_t bytes = strlen(text) + 1;
    fci_yaml_name *name = fc_alloc(1, sizeof *name + bytes);
    name->users = 1;
    memcpy(name->text, text, bytes);
    return name;
}

void fci_yaml_name_release(fci_yaml_name *name)
{
    if (--name->users == 0) {
        fc_free(&name);
    }
}

fc_yaml *fci_yaml_node(fc_yaml_kind kind, fci_yaml_name *file, int line)
{
    fc_yaml *node = fc_alloc(1, sizeof *node);
    node->kind = kind;
    node->line = line;
    node->file = file;
    file->users++;
    return node;
}

void fci_yaml_free(fc_yaml *node)
{
    if (node == NULL) {
        return;
    }
    for (int i = 0; i < node->count; i++) {
        fci_yaml_free(node->children[i]);
    }
    for (int i = 0; i < node->asked_count; i++) {
        fc_free(&node->asked[i]);
    }
    fci_yaml_name_release(node->file);
    fc_free(&node->children);
    fc_free(&node->asked);
    fc_free(&node->key);
    fc_free(&node->text);
    fc_free(&node->path);
    fc_free(&node);
}

void fc_yaml_destroy(fc_yaml **root)
{
    fci_yaml_free(*root);
    *root = NULL;
}

static void set_parent(fc_yaml *child, fc_yaml *parent, const char *key)
{
    char *copy = key != NULL ? fc_strdup(key) : NULL;
    fc_free(&child->key);
    fc_free(&child->path);
    child->key = copy;
    child->parent = parent;
}

void fci_yaml_attach(fc_yaml *parent, const char *key, fc_yaml *child)
{
    if (parent->count == parent->capacity) {
        parent->capacity = parent->capacity > 0 ? 2 * parent->capacity : 8;
        parent->children =
            fc_realloc(parent->children, (size_t)parent->capacity, sizeof *parent->children);
    }
    set_parent(child, parent, key);
    parent->children[parent->count++] = child;
}

fc_yaml *fci_yaml_copy(const fc_yaml *node)
{
    fc_yaml *copy = fci_yaml_node(node->kind, node->file, node->line);
    copy->plain = node->plain;
    copy->text = node->text != NULL ? fc_strdup(node->text) : NULL;
    for (int i = 0; i < node->count; i++) {
        fci_yaml_attach(copy, node->children[i]->key, fci_yaml_copy(node->children[i]));
    }
    return copy;
}

fc_yaml *fci_yaml_find(const fc_yaml *mapping, const char *key)
{
    for (int i = 0; mapping->kind == FC_YAML_MAPPING && i < mapping->count; i++) {
        if (strcmp(mapping->children[i]->key, key) == 0) {
            return mapping->children[i];
        }
    }
    return NULL;
}

/* Put `child` (owned from now on) where `key` stands, or at the end. */
static void replace(fc_yaml *mapping, const char *key, fc_yaml *child)
{
    for (int i = 0; i < mapping->count; i++) {
        if (strcmp(mapping->children[i]->key, key) == 0) {
            set_parent(child, mapping, key);
            fci_yaml_free(mapping->children[i]);
            mapping->children[i] = child;
            return;
        }
    }
    fci_yaml_attach(mapping, key, child);
}

/* ---- Reading the tree ---- */

const fc_yaml *fc_yaml_get(const fc_yaml *mapping, const char *key)
{
    if (mapping->kind != FC_YAML_MAPPING) {
        return NULL;
    }
    /* Who read what is a note about the tree, not a change of it: hence a const tree. */
    fc_yaml *notes = (fc_yaml *)mapping;
    bool known = false;
    for (int i = 0; i < mapping->asked_count && !known; i++) {
        known = strcmp(mapping->asked[i], key) == 0;
    }
    if (!known) {
        size_t count = (size_t)mapping->asked_count + 1;
        notes->asked = fc_realloc(notes->asked, count, sizeof *notes->asked);
        notes->asked[notes->asked_count++] = fc_strdup(key);
    }
    fc_yaml *child = fci_yaml_find(mapping, key);
    if (child != NULL) {
        child->read = true;
    }
    return child;
}

fc_yaml_kind fc_yaml_type(const fc_yaml *node)
{
    return node->kind;
}

int fc_yaml_size(const fc_yaml *node)
{
    return node->count;
}

const fc_yaml *fc_yaml_item(const fc_yaml *sequence, int i)
{
    FC_ASSERT(i >= 0 && i < sequence->count);
    sequence->children[i]->read = true;
    return sequence->children[i];
}

const fc_yaml *fc_yaml_entry(const fc_yaml *mapping, int i, const char **key)
{
    FC_ASSERT(mapping->kind == FC_YAML_MAPPING);
    const fc_yaml *child = fc_yaml_item(mapping, i);
    *key = child->key;
    return child;
}

const char *fc_yaml_text(const fc_yaml *node)
{
    return node->kind == FC_YAML_SCALAR ? node->text : NULL;
}

const char *fc_yaml_path(const fc_yaml *node)
{
    fc_yaml *cached = (fc_yaml *)node;
    if (cached->path != NULL) {
        return cached->path;
    }
    const fc_yaml *parent = node->parent;
    const char *before = parent != NULL ? fc_yaml_path(parent) : "";
    const char *dot = before[0] != '\0' ? "." : "";
    if (node->key != NULL) {
        cached->path = fc_format("%s%s%s", before, dot, node->key);
    } else if (parent != NULL) {
        int index = 0;
        while (parent->children[index] != node) {
            index++;
        }
        cached->path = fc_format("%s%s%d", before, dot, index);
    } else {
        cached->path = fc_strdup("");
    }
    return cached->path;
}

const char *fc_yaml_file(const fc_yaml *node)
{
    return node->file->text;
}

int fc_yaml_line(const fc_yaml *node)
{
    return node->line;
}

/* ---- Changing the tree ---- */

fc_status fc_yaml_merge(fc_yaml *root, const fc_yaml *over)
{
    if (root->kind != FC_YAML_MAPPING || over->kind != FC_YAML_MAPPING) {
        return fc_yaml_error(over, "only a mapping can be laid over a mapping");
    }
    for (int i = 0; i < over->count; i++) {
        const fc_yaml *from = over->children[i];
        fc_yaml *to = fci_yaml_find(root, from->key);
        if (to != NULL && to->kind == FC_YAML_MAPPING && from->kind == FC_YAML_MAPPING) {
            FC_TRY(fc_yaml_merge(to, from));
        } else {
            replace(root, from->key, fci_yaml_copy(from));
        }
    }
    return FC_OK;
}

/* Step from a node to its child for one part of a dotted path; what is no mapping becomes one. NULL
 * where a sequence has no such item. */
static fc_yaml *step_down(fc_yaml *node, const char *part, fci_yaml_name *file)
{
    if (node->kind == FC_YAML_SEQUENCE) {
        char *end;
        errno = 0;
        long index = strtol(part, &end, 10);
        bool number = errno == 0 && end != part && *end == '\0';
        return number && index >= 0 && index < node->count ? node->children[index] : NULL;
    }
    if (node->kind != FC_YAML_MAPPING) {
        node->kind = FC_YAML_MAPPING;
        fc_free(&node->text);
    }
    fc_yaml *child = fci_yaml_find(node, part);
    if (child == NULL) {
        child = fci_yaml_node(FC_YAML_NULL, file, 0);
        fci_yaml_attach(node, part, child);
    }
    return child;
}

/* Levels of a tree: 1 for a scalar. */
static int levels(const fc_yaml *node)
{
    int most = 0;
    for (int i = 0; i < node->count; i++) {
        int below = levels(node->children[i]);
        most = below > most ? below : most;
    }
    return 1 + most;
}

/* Put `value` (owned, also on failure) at a dotted path of `root`. */
static fc_status put(fc_yaml *root, const char *path, fc_yaml *value)
{
    const char *name = value->file->text;
    char *parts = fc_strdup(path);
    fc_yaml *node = root;
    int depth = levels(value); /* with the path's: what is written out must be read again */
    fc_status status = FC_OK;
    for (char *part = parts, *next; part != NULL; part = next) {
        next = strchr(part, '.');
        if (next != NULL) {
            *next++ = '\0';
        }
        if (*part == '\0' || strcmp(part, "<<") == 0) {
            status =
                FC_FAIL(FC_USAGE, "%s: %s: not a key; write e.g. train.batch_size", name, path);
            break;
        }
        if (++depth > FCI_YAML_DEPTH) {
            status = FC_FAIL(FC_USAGE, "%s: %s: nested too deeply", name, path);
            break;
        }
        node = step_down(node, part, value->file);
        if (node == NULL) {
            status = FC_FAIL(FC_USAGE, "%s: %s: the list has no item %s", name, path, part);
            break;
        }
    }
    if (status == FC_OK) {
        /* The node stays where it is and takes the value's contents. */
        fc_yaml old = *node;
        node->kind = value->kind;
        node->plain = value->plain;
        node->line = value->line;
        node->file = value->file;
        node->text = value->text;
        node->children = value->children;
        node->count = value->count;
        node->capacity = value->capacity;
        for (int i = 0; i < node->count; i++) {
            node->children[i]->parent = node;
        }
        value->file = old.file;
        value->text = old.text;
        value->children = old.children;
        value->count = old.count;
    }
    fc_free(&parts);
    fci_yaml_free(value);
    return status;
}

fc_status fc_yaml_put(fc_yaml *root, const char *path, const fc_yaml *value)
{
    return put(root, path, fci_yaml_copy(value));
}

fc_status fc_yaml_put_text(fc_yaml *root, const char *path, const char *text)
{
    if (!fci_yaml_is_utf8(text)) {
        return FC_FAIL(FC_USAGE, "%s: %s: the text is not UTF-8", root->file->text, path);
    }
    fc_yaml *value = fci_yaml_node(FC_YAML_SCALAR, root->file, root->line);
    value->text = fc_strdup(text);
    return put(root, path, value);
}

fc_status fc_yaml_override(fc_yaml *root, const char *assignment)
{
    static const char name[] = "command line";
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || equals == assignment) {
        return FC_FAIL(FC_USAGE, "%s: %s: want key=value, e.g. train.batch_size=16", name,
                       assignment);
    }
    if (!fci_yaml_is_utf8(assignment)) {
        return FC_FAIL(FC_USAGE, "%s: %s: not UTF-8", name, assignment);
    }
    char *path = fc_format("%.*s", (int)(equals - assignment), assignment);
    char *called = fc_format("%s: %s", name, path);
    fc_yaml *value = NULL;
    fc_status status = fci_yaml_read(&value, equals + 1, strlen(equals + 1), called, false);
    if (status == FC_OK) {
        /* From here on the node's path says which key it is. */
        fci_yaml_free(value);
        status = fci_yaml_read(&value, equals + 1, strlen(equals + 1), name, false);
    }
    if (status == FC_OK) {
        status = put(root, path, value);
    }
    fc_free(&called);
    fc_free(&path);
    return status;
}

/* value is UTF-8 */
static fc_status expand(fc_yaml *root, const char *name, const char *value)
{
    for (int i = 0; i < root->count; i++) {
        FC_TRY(expand(root->children[i], name, value));
    }
    if (root->kind != FC_YAML_SCALAR) {
        return FC_OK;
    }
    char *mark = fc_format("${%s}", name);
    size_t mark_bytes = strlen(mark), value_bytes = strlen(value), found = 0;
    for (const char *p = root->text; (p = strstr(p, mark)) != NULL; p += mark_bytes) {
        found++;
    }
    size_t bytes = strlen(root->text) + 1 - found * mark_bytes;
    if (found > 0 && bytes + found * (value_bytes + 1) > FCI_YAML_SCALAR_BYTES) {
        fc_free(&mark);
        return fc_yaml_error(root, "longer than %d bytes after ${%s} is expanded",
                             (int)FCI_YAML_SCALAR_BYTES, name);
    }
    if (found > 0) {
        char *text = fc_alloc(bytes + found * value_bytes, 1), *to = text;
        const char *from = root->text;
        for (const char *p; (p = strstr(from, mark)) != NULL; from = p + mark_bytes) {
            memcpy(to, from, (size_t)(p - from));
            memcpy(to + (p - from), value, value_bytes);
            to += (size_t)(p - from) + value_bytes;
        }
        memcpy(to, from, strlen(from) + 1);
        fc_free(&root->text);
        root->text = text;
        root->plain = false; /* a run called "null" or "12" is still a text */
    }
    fc_free(&mark);
    return FC_OK;
}

fc_status fc_yaml_expand(fc_yaml *root, const char *name, const char *value)
{
    if (!fci_yaml_is_utf8(value)) {
        return FC_FAIL(FC_USAGE, "%s: the value of ${%s} is not UTF-8", root->file->text, name);
    }
    return expand(root, name, value);
}
