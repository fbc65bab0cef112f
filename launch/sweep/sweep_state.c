/* Whether a run of a sweep is done already, and whether it is the same run. */
#include "core/memory.h"
#include "core/paths.h"
#include "launch/results/results.h"
#include "launch/sweep/sweep.h"

#include <string.h>

static bool is_below(const char *path, const char *const *keys)
{
    for (; *keys != NULL; keys++) {
        size_t length = strlen(*keys);
        if (strncmp(path, *keys, length) == 0 && (path[length] == '\0' || path[length] == '.')) {
            return true;
        }
    }
    return false;
}

/* How two resolved trees differ: in what is evaluated, in what is trained. */
typedef struct difference {
    bool other_ranks; /* set before: the old one ran on another number of ranks */
    bool evaluated, trained;
    char *key, *old, *now; /* the first of what is trained; heap */
} difference;

static char *one_line(const fc_yaml *node)
{
    if (node == NULL) {
        return fc_strdup("not set");
    }
    char *text = NULL;
    fc_status status = fc_yaml_emit(node, &text);
    FC_ASSERT(status == FC_OK);
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* Keys of `without` change nothing about the trained model, or may change half-way; on another
 * number of ranks a run that goes on has its batch split anew (launch/checkpoint/resume.h). */
static void note(difference *out, const char *path, const fc_yaml *old, const fc_yaml *now)
{
    static const char *const evaluation[] = {"eval", NULL};
    static const char *const batch[] = {"train.batch_size", "train.accumulate", NULL};
    static const char *const without[] = {"name",
                                          "output",
                                          "run",
                                          "data.workers",
                                          "data.scenes",
                                          "train.resume",
                                          "train.log_every",
                                          "train.checkpoint",
                                          "train.recompute",
                                          "train.memory_budget",
                                          "train.shard_optimizer",
                                          NULL};
    if (is_below(path, evaluation)) {
        out->evaluated = true;
    } else if (!is_below(path, without) && !(out->other_ranks && is_below(path, batch)) &&
               !out->trained) {
        out->trained = true;
        out->key = fc_strdup(path);
        out->old = one_line(old);
        out->now = one_line(now);
    }
}

static void compare(const fc_yaml *old, const fc_yaml *now, difference *out)
{
    if (fc_yaml_type(old) != FC_YAML_MAPPING || fc_yaml_type(now) != FC_YAML_MAPPING) {
        char *before = one_line(old), *after = one_line(now);
        if (strcmp(before, after) != 0) {
            note(out, fc_yaml_path(now), old, now);
        }
        fc_free(&before);
        fc_free(&after);
        return;
    }
    for (int i = 0; i < fc_yaml_size(now); i++) {
        const char *key;
        const fc_yaml *mine = fc_yaml_entry(now, i, &key), *theirs = fc_yaml_get(old, key);
        if (theirs == NULL) {
            note(out, fc_yaml_path(mine), NULL, mine);
        } else {
            compare(theirs, mine, out);
        }
    }
    for (int i = 0; i < fc_yaml_size(old); i++) {
        const char *key;
        const fc_yaml *theirs = fc_yaml_entry(old, i, &key);
        if (fc_yaml_get(now, key) == NULL) {
            note(out, fc_yaml_path(theirs), theirs, NULL);
        }
    }
}

/* The recorded configuration as this program would resolve it, so that a key that has come since
 * then has its default and is no difference. */
static fc_status compare_with(const fc_sweep_run *run, const fc_run *results, difference *out)
{
    fc_config *old;
    FC_TRY(fc_config_parse_text(&old, results->config, strlen(results->config), results->path));
    compare(old->tree, run->config->tree, out);
    fc_config_destroy(&old);
    return FC_OK;
}

static fc_status look_into(const fc_sweep_run *run, const fc_run *results, int ranks,
                           fc_sweep_state *out)
{
    difference found = {.other_ranks = results->world_size != ranks};
    FC_TRY(compare_with(run, results, &found));
    bool anew = strcmp(run->config->train.resume, "never") == 0;
    fc_status status = FC_OK;
    if (found.trained && !anew) {
        status = FC_FAIL(FC_USAGE,
                         "%s holds a run of another configuration: %s is %s there and %s here; "
                         "take another output, move the folder away, or train it anew with "
                         "train.resume=never",
                         run->config->output, found.key, found.old, found.now);
    }
    bool completed = strcmp(results->status, "completed") == 0;
    bool failed = strcmp(results->status, "failed") == 0;
    bool same = !found.trained && !found.evaluated;
    *out = failed ? FC_SWEEP_FAILED : completed && same ? FC_SWEEP_COMPLETED : FC_SWEEP_STARTED;
    fc_free(&found.key);
    fc_free(&found.old);
    fc_free(&found.now);
    return status;
}

fc_status fc_sweep_look(const fc_sweep_run *run, int ranks, fc_sweep_state *out)
{
    *out = FC_SWEEP_NEW;
    char *path = fc_format("%s/results.h5", run->config->output);
    fc_status status = FC_OK;
    if (fc_path_is_file(path)) {
        fc_run *results;
        status = fc_run_load(&results, path);
        if (status == FC_OK) {
            status = look_into(run, results, ranks, out);
            fc_run_destroy(&results);
        } else if (status == FC_DATA) {
            *out = FC_SWEEP_STARTED; /* the run sets a damaged file aside, and says so */
            fc_error_clear();
            status = FC_OK;
        }
    }
    char *mark = fc_format("%s/FAILED", run->config->output);
    if (status == FC_OK && fc_path_is_file(mark)) {
        *out = FC_SWEEP_FAILED; /* it took its ranks down, and results.h5 still says "running" */
    }
    fc_free(&mark);
    fc_free(&path);
    return status;
}
