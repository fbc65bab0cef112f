/* Strict YAML: a document tree that remembers where each node came from, over libyaml.
 *
 * Used for experiments, sweeps, recipes and model configurations. A tree can be laid over another
 * (`base:`), changed by dotted overrides, read by key with type and range checks, and asked which
 * keys nobody read (unknown keys). Every error names file, line and key: "experiments/a.yaml:12:
 * train.bacth_size: unknown key; did you mean train.batch_size?". Errors are FC_USAGE, or
 * FC_NOINPUT where a file cannot be opened. */
#ifndef FC_CORE_YAML_H
#define FC_CORE_YAML_H

#include "core/status.h"

#include <stdint.h>

typedef struct fc_yaml fc_yaml; /* one node; a tree is its root */

typedef enum { FC_YAML_NULL, FC_YAML_SCALAR, FC_YAML_SEQUENCE, FC_YAML_MAPPING } fc_yaml_kind;

/** Parse a file or a text. `name` is what errors call the text. The root must be a mapping. Anchors
 * and aliases work; duplicate keys and several documents are errors. */
FC_NODISCARD fc_status fc_yaml_load(fc_yaml **out, const char *path);
FC_NODISCARD fc_status fc_yaml_parse(fc_yaml **out, const char *text, size_t bytes,
                                     const char *name);
void fc_yaml_destroy(fc_yaml **root);

/** Lay `over` over `root`: mappings merge key by key, everything else replaces. `over` stays the
 * caller's. */
FC_NODISCARD fc_status fc_yaml_merge(fc_yaml *root, const fc_yaml *over);
/** Set one key by dotted path: "train.batch_size=16"; the value is parsed as YAML. Errors call it
 * `command line`. */
FC_NODISCARD fc_status fc_yaml_override(fc_yaml *root, const char *assignment);
/** Put a copy of a node, or a text that is never taken for a number, at a dotted path; mappings on
 * the way are made. */
FC_NODISCARD fc_status fc_yaml_put(fc_yaml *root, const char *path, const fc_yaml *value);
FC_NODISCARD fc_status fc_yaml_put_text(fc_yaml *root, const char *path, const char *text);
/** Replace every "${name}" in scalars by `value`. */
FC_NODISCARD fc_status fc_yaml_expand(fc_yaml *root, const char *name, const char *value);

/** Child by key (NULL if absent); marks it as read. */
const fc_yaml *fc_yaml_get(const fc_yaml *mapping, const char *key);
fc_yaml_kind fc_yaml_type(const fc_yaml *node);
/** Number of children of a sequence or mapping; item i of a sequence; key and value i of a mapping
 * (marks as read). */
int fc_yaml_size(const fc_yaml *node);
const fc_yaml *fc_yaml_item(const fc_yaml *sequence, int i);
const fc_yaml *fc_yaml_entry(const fc_yaml *mapping, int i, const char **key);
/** Text of a scalar (NULL for null); owned by the tree. */
const char *fc_yaml_text(const fc_yaml *node);
/** Dotted path of a node from its root ("train.optimizer.lr"); file and line it was written in. */
const char *fc_yaml_path(const fc_yaml *node);
const char *fc_yaml_file(const fc_yaml *node);
int fc_yaml_line(const fc_yaml *node);

/** Typed values of a scalar node; the message names file, line, key, what is wanted and what stands
 * there. lo and hi are inclusive bounds. Numbers: "1e-5", "1.0e-5", "10" all count; 1e3 is a whole
 * number. */
FC_NODISCARD fc_status fc_yaml_bool(const fc_yaml *node, bool *out);
FC_NODISCARD fc_status fc_yaml_int(const fc_yaml *node, int64_t lo, int64_t hi, int64_t *out);
FC_NODISCARD fc_status fc_yaml_real(const fc_yaml *node, double lo, double hi, double *out);
/** A size with its unit: "20GiB", "1.5 GB", "800 MiB"; at least a byte. */
FC_NODISCARD fc_status fc_yaml_bytes(const fc_yaml *node, int64_t *out);
/** One of a NULL-terminated list of words; *out is its index. */
FC_NODISCARD fc_status fc_yaml_choice(const fc_yaml *node, const char *const *words, int *out);

/** FC_USAGE with "file:line: key: " in front of the message. */
FC_NODISCARD fc_status fc_yaml_error(const fc_yaml *node, const char *fmt, ...) FC_PRINTF(2, 3);
/** The same with another code, e.g. FC_NOINPUT for a file that a key names. */
FC_NODISCARD fc_status fc_yaml_fail(fc_status code, const fc_yaml *node, const char *fmt, ...)
    FC_PRINTF(3, 4);
/** Take a node and all below it as read: somebody else will look at it. */
void fc_yaml_mark_read(const fc_yaml *node);
/** The first key under `root` that nothing has read is an error, with the nearest of `known`
 * (NULL-terminated dotted paths; may be NULL) or of the keys that were asked for in the same
 * mapping as a suggestion. */
FC_NODISCARD fc_status fc_yaml_check_unknown(const fc_yaml *root, const char *const *known);

/** Write a tree as YAML text; *out is malloc'ed. */
FC_NODISCARD fc_status fc_yaml_emit(const fc_yaml *root, char **out);

#endif
