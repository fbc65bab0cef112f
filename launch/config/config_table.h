/* The option table and its readers, for launch/config*.c alone. */
#ifndef FC_LAUNCH_CONFIG_TABLE_H
#define FC_LAUNCH_CONFIG_TABLE_H

#include "launch/config/config.h"

typedef enum {
    FCI_KEY_TEXT,
    FCI_KEY_BOOL,
    FCI_KEY_INT,
    FCI_KEY_REAL,
    FCI_KEY_BYTES,
    FCI_KEY_PAIR,
    FCI_KEY_CHOICE,
    FCI_KEY_SET,
    FCI_KEY_MODEL,
    FCI_KEY_SOURCE,
    FCI_KEY_LOSSES,
    FCI_KEY_SETS
} fci_key_kind;

typedef struct fci_key {
    const char *path; /* "train.batch_size" */
    fci_key_kind kind;
    size_t offset, bytes; /* of the field in fc_config */
    const char *fallback; /* as YAML */
    double lo, hi;
    const char *const *words;
    const char *doc;
} fci_key;

const fci_key *fci_key_table(int *count);
/** Paths of all keys and `base`, NULL-terminated. */
const char *const *fci_key_paths(void);

/** Node at a dotted path, NULL where it is absent or null; marks what it passes as read.
 *  Errors FC_USAGE something on the way is no mapping */
FC_NODISCARD fc_status fci_config_node(const fc_yaml *root, const char *path, const fc_yaml **out);

/** Set the field of one key from its node in the resolved tree. */
FC_NODISCARD fc_status fci_key_read(const fci_key *key, const fc_yaml *node, fc_config *config);

/* Mappings with a form of their own (config_nodes.c). */
FC_NODISCARD fc_status fci_read_model(fc_config *config, const fc_yaml *node);
FC_NODISCARD fc_status fci_read_source(fc_source *out, const fc_yaml *node);
FC_NODISCARD fc_status fci_read_losses(fc_config *config, const fc_yaml *node);
FC_NODISCARD fc_status fci_read_sets(fc_eval_sets *out, const fc_yaml *node);
/** Write short forms out, so that an override may go below them: a bare loss weight, a bare store
 * to evaluate on; and the default terms, where an override changes one of them. */
FC_NODISCARD fc_status fci_write_out_losses(fc_yaml *tree, const char *assignment);
FC_NODISCARD fc_status fci_write_out_evals(fc_yaml *tree);

/** Settings that cannot go together (config_check.c); sets what follows from others. */
FC_NODISCARD fc_status fci_config_cross_check(fc_config *config);
/** Say what is allowed but odd. */
void fci_config_warn(const fc_config *config);

#endif
