#include "launch/verb_keys.h"

#include "core/memory.h"
#include "core/suggest.h"
#include "launch/config/config_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_among(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(*words, word) == 0) {
            return true;
        }
    }
    return false;
}

/* The first part of a path is that of one of the experiment's. */
static bool is_experiment_key(const char *key)
{
    const size_t n = strcspn(key, ".");
    for (const char *const *path = fci_key_paths(); *path != NULL; path++) {
        if (strncmp(*path, key, n) == 0 && ((*path)[n] == '.' || (*path)[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static fc_status unknown(const char *key, const char *const *own)
{
    const char *near = fc_suggest(key, own);
    if (near != NULL) {
        return FC_FAIL(FC_USAGE, "%s: no such key; did you mean %s?", key, near);
    }
    char list[512] = "";
    for (; *own != NULL; own++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", *own);
    }
    return FC_FAIL(FC_USAGE,
                   "%s: no such key; this command's are %s, the experiment's are listed by "
                   "fineclip --help-keys",
                   key, list);
}

fc_status fc_verb_keys_take(fc_cli *cli, const char *const *own,
                            fc_status (*take)(void *ctx, const char *key, const char *value),
                            void *ctx)
{
    int kept = 0;
    fc_status status = FC_OK;
    for (int i = 0; status == FC_OK && i < cli->overrides; i++) {
        const char *equals = strchr(cli->override[i], '=');
        char *key = fc_format("%.*s", (int)(equals - cli->override[i]), cli->override[i]);
        if (is_among(key, own)) {
            status = take(ctx, key, equals + 1);
        } else if (!is_experiment_key(key)) {
            status = unknown(key, own);
        } else {
            cli->override[kept++] = cli->override[i];
        }
        fc_free(&key);
    }
    cli->overrides = kept;
    return status;
}

fc_status fc_verb_key_choice(const char *key, const char *value, const char *const *words, int *out)
{
    char list[512] = "";
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], value) == 0) {
            *out = i;
            return FC_OK;
        }
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? " | " : "", words[i]);
    }
    return FC_FAIL(FC_USAGE, "%s=%s: want %s", key, value, list);
}

fc_status fc_verb_key_int(const char *key, const char *value, int64_t low, int64_t high,
                          int64_t *out)
{
    char *end;
    errno = 0;
    const long long number = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < low || number > high) {
        return FC_FAIL(FC_USAGE, "%s=%s: want a whole number from %lld to %lld", key, value,
                       (long long)low, (long long)high);
    }
    *out = number;
    return FC_OK;
}
