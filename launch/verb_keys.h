/* Keys of a verb's own among its key=value arguments; the others are the experiment's. */
#ifndef FC_LAUNCH_VERB_KEYS_H
#define FC_LAUNCH_VERB_KEYS_H

#include "launch/cli.h"

#include <stdint.h>

/** Hand every argument that is one of `own` (ended by NULL) to `take`, in the order given, and
 * leave the experiment's in `cli`. Errors FC_USAGE what `take` finds wrong; a key of one word that
 * is neither's, with the nearest */
FC_NODISCARD fc_status fc_verb_keys_take(fc_cli *cli, const char *const *own,
                                         fc_status (*take)(void *ctx, const char *key,
                                                           const char *value),
                                         void *ctx);

/** Index of `value` among `words` (ended by NULL). FC_USAGE with the list, or the nearest. */
FC_NODISCARD fc_status fc_verb_key_choice(const char *key, const char *value,
                                          const char *const *words, int *out);
/** A whole number from `low` to `high`. */
FC_NODISCARD fc_status fc_verb_key_int(const char *key, const char *value, int64_t low,
                                       int64_t high, int64_t *out);

#endif
