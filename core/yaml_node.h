/* The inside of a YAML tree, for core/yaml*.c alone. */
#ifndef FC_CORE_YAML_NODE_H
#define FC_CORE_YAML_NODE_H

#include "core/yaml.h"

/* Limits against files made to harm: aliases multiply, nesting recurses. */
enum {
    FCI_YAML_DEPTH = 64,
    FCI_YAML_NODES = 20000,
    FCI_YAML_FILE_BYTES = 4 << 20,
    FCI_YAML_TEXT_BYTES = 16 << 20,  /* all scalars of a document, aliases written out */
    FCI_YAML_SCALAR_BYTES = 1 << 20, /* one scalar after ${...} is expanded */
};

/* What a text is called, shared by its nodes: they may outlive its root by moving to another tree.
 */
typedef struct fci_yaml_name {
    int users;
    char text[];
} fci_yaml_name;

struct fc_yaml {
    fc_yaml_kind kind;
    bool plain; /* scalar without quotes: may be a number, a bool or null */
    bool read;  /* somebody asked for it */
    int line;   /* of the key where there is one; 0: not from lines */
    fci_yaml_name *file;
    fc_yaml *parent;
    char *key;  /* in a mapping */
    char *text; /* of a scalar */
    fc_yaml **children;
    int count, capacity;
    char **asked; /* keys a mapping was asked for, present or not */
    int asked_count;
    char *path; /* made when first wanted */
};

fci_yaml_name *fci_yaml_name_create(const char *text);
void fci_yaml_name_release(fci_yaml_name *name);

fc_yaml *fci_yaml_node(fc_yaml_kind kind, fci_yaml_name *file, int line);
/** Node, its children and its share of the name; not what its parent says of it. */
void fci_yaml_free(fc_yaml *node);
/** Append to a sequence (key NULL) or mapping; the child takes the key's line. */
void fci_yaml_attach(fc_yaml *parent, const char *key, fc_yaml *child);
fc_yaml *fci_yaml_copy(const fc_yaml *node);
/** Child by key without marking anything. */
fc_yaml *fci_yaml_find(const fc_yaml *mapping, const char *key);

/** Whether a text from outside YAML (a command line, a file's name) is UTF-8, so that it can be
 * written out as YAML again. */
bool fci_yaml_is_utf8(const char *text);

/** One document with a root of any kind. lines: false where line numbers say nothing to a person.
 */
FC_NODISCARD fc_status fci_yaml_read(fc_yaml **out, const char *text, size_t bytes,
                                     const char *name, bool lines);

#endif
