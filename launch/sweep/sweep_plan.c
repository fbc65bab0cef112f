#include "launch/sweep/sweep_plan.h"

#include "core/memory.h"
#include "core/paths.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MOST_AXES = 16, MOST_RUNS = 10000, START = -1 /* in place of a combination */ };

/* One key of the matrix and the values it takes. */
typedef struct axis {
    const char *key; /* dotted path of an experiment's key; owned by the tree */
    const fc_yaml *values;
} axis;

typedef struct reader {
    fc_yaml *tree;
    const char *path;
    axis axes[MOST_AXES];
    int axis_count;
    int sets; /* key=value out of `set`; heap, each and the list */
    char **set;
    const fc_yaml *start; /* start_from; NULL: none */
    int overrides;        /* of the command line, for every run */
    char **override;
    bool share_scenes;
} reader;

/* ---- The matrix ---- */

static fc_status add_axis(reader *r, const fc_yaml *values)
{
    static const char above[] = "matrix.";
    const char *key = fc_yaml_path(values) + strlen(above);
    if (fc_yaml_size(values) == 0) {
        return fc_yaml_error(values, "want the list of its values, such as [0, 1, 2]");
    }
    if (strcmp(key, "name") == 0 || strcmp(key, "output") == 0 || strcmp(key, "base") == 0) {
        return fc_yaml_error(values, "the sweep gives every run its name and its folder");
    }
    for (int i = 0; i < r->axis_count; i++) {
        if (strcmp(r->axes[i].key, key) == 0) {
            return fc_yaml_error(values, "is in the matrix twice, dotted and nested");
        }
    }
    for (int i = 0; i < fc_yaml_size(values); i++) {
        const fc_yaml *value = fc_yaml_item(values, i);
        if (fc_yaml_type(value) == FC_YAML_MAPPING) {
            return fc_yaml_error(value, "want a value; a mapping belongs in an experiment file");
        }
    }
    if (r->axis_count == MOST_AXES) {
        return fc_yaml_error(values, "more than %d keys in a matrix", (int)MOST_AXES);
    }
    r->axes[r->axis_count++] = (axis){.key = key, .values = values};
    return FC_OK;
}

/* Keys may be dotted or nested: {train.batch_size: [8, 16]} or {train: {batch_size: [8, 16]}}. */
static fc_status read_matrix(reader *r, const fc_yaml *node)
{
    for (int i = 0; i < fc_yaml_size(node); i++) {
        const char *key;
        const fc_yaml *child = fc_yaml_entry(node, i, &key);
        if (fc_yaml_type(child) == FC_YAML_MAPPING) {
            FC_TRY(read_matrix(r, child));
        } else if (fc_yaml_type(child) == FC_YAML_SEQUENCE) {
            fc_yaml_mark_read(child);
            FC_TRY(add_axis(r, child));
        } else {
            return fc_yaml_error(child, "want the list of its values, such as [0, 1, 2]");
        }
    }
    return FC_OK;
}

/* A text after KEY= on a command line: in quotes where YAML could take it for something else. */
static char *quoted(const char *text)
{
    size_t quotes = 0;
    bool plain = text[0] != '\0';
    for (const char *p = text; *p != '\0'; p++) {
        plain = plain && (isalnum((unsigned char)*p) || strchr("_./+-", *p) != NULL);
        quotes += *p == '\'';
    }
    if (plain) {
        return fc_strdup(text);
    }
    char *out = fc_alloc(strlen(text) + quotes + 3, 1), *to = out;
    *to++ = '\'';
    for (const char *p = text; *p != '\0'; p++) {
        *to++ = *p;
        if (*p == '\'') {
            *to++ = '\'';
        }
    }
    *to = '\'';
    return out;
}

/* A value of the matrix after KEY=; heap. */
static char *value_text(const fc_yaml *value)
{
    if (fc_yaml_type(value) == FC_YAML_SCALAR) {
        return quoted(fc_yaml_text(value));
    }
    char *text = NULL;
    fc_status status = fc_yaml_emit(value, &text);
    FC_ASSERT(status == FC_OK);
    text[strcspn(text, "\n")] = '\0'; /* lists are written in one line */
    return text;
}

/* Keys of every run, dotted or nested; what stands on the command line goes before them. */
static fc_status read_set(reader *r, const fc_yaml *node)
{
    static const char above[] = "set.";
    for (int i = 0; i < fc_yaml_size(node); i++) {
        const char *key;
        const fc_yaml *child = fc_yaml_entry(node, i, &key);
        if (fc_yaml_type(child) == FC_YAML_MAPPING) {
            FC_TRY(read_set(r, child));
            continue;
        }
        fc_yaml_mark_read(child);
        char *value = value_text(child);
        r->set = fc_realloc(r->set, (size_t)r->sets + 1, sizeof *r->set);
        r->set[r->sets++] = fc_format("%s=%s", fc_yaml_path(child) + strlen(above), value);
        fc_free(&value);
    }
    return FC_OK;
}

/* What a key is called in names: its last word, or all of it where another key ends the same. */
static const char *short_key(const reader *r, int which)
{
    const char *key = r->axes[which].key, *dot = strrchr(key, '.');
    const char *last = dot != NULL ? dot + 1 : key;
    for (int i = 0; i < r->axis_count; i++) {
        const char *other = strrchr(r->axes[i].key, '.');
        other = other != NULL ? other + 1 : r->axes[i].key;
        if (i != which && strcmp(other, last) == 0) {
            return key;
        }
    }
    return last;
}

/* "-seed1", "-lr1e-4", "-regions_first": characters that are awkward in a path become _. */
static char *suffix_of(const char *key, const char *value)
{
    bool number = isdigit((unsigned char)value[0]) || value[0] == '-' || value[0] == '.';
    char *suffix = fc_format("-%s%s%s", key, number ? "" : "_", value);
    for (char *p = suffix; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr("-_.+", *p) == NULL) {
            *p = '_';
        }
    }
    return suffix;
}

/* ---- Runs ---- */

static void add_override(fc_sweep_run *run, char *text)
{
    run->override = fc_realloc(run->override, (size_t)run->overrides + 1, sizeof *run->override);
    run->override[run->overrides++] = text;
}

static void add_key(fc_sweep_run *run, const char *key, const char *text)
{
    char *value = quoted(text);
    add_override(run, fc_format("%s=%s", key, value));
    fc_free(&value);
}

/* Keys of `set` and of combination number `which` of the matrix, the last key fastest; what they
 * add to the run's name. Heap. */
static char *add_combination(const reader *r, fc_sweep_run *run, int which)
{
    char *suffix = fc_strdup("");
    for (int i = 0; i < r->sets; i++) {
        add_override(run, fc_strdup(r->set[i]));
    }
    for (int a = 0; a < r->axis_count; a++) {
        int rest = which, size = fc_yaml_size(r->axes[a].values);
        for (int later = r->axis_count - 1; later > a; later--) {
            rest /= fc_yaml_size(r->axes[later].values);
        }
        char *value = value_text(fc_yaml_item(r->axes[a].values, rest % size));
        add_override(run, fc_format("%s=%s", r->axes[a].key, value));
        char *with = fc_format("%s%s%s=%s", run->with, a > 0 ? " " : "", r->axes[a].key, value);
        fc_free(&run->with);
        run->with = with;
        char *one = suffix_of(short_key(r, a), value);
        char *longer = fc_format("%s%s", suffix, one);
        fc_free(&suffix);
        fc_free(&one);
        fc_free(&value);
        suffix = longer;
    }
    return suffix;
}

/* The experiment's own name, then the combination; the run that the others start from is none of
 * them. */
static fc_status name_run(const reader *r, fc_sweep_run *run, int which)
{
    char *suffix = which != START ? add_combination(r, run, which) : fc_strdup("");
    for (int i = 0; i < r->overrides; i++) {
        add_override(run, fc_strdup(r->override[i]));
    }
    fc_config *plain;
    fc_status status = fc_config_load(&plain, run->file, run->overrides, run->override);
    if (status == FC_OK) {
        run->name = fc_format("%s%s", plain->name, suffix);
    }
    fc_config_destroy(&plain);
    fc_free(&suffix);
    return status;
}

static fc_status settle_run(const reader *r, fc_sweep_plan *plan, const char *file, int which)
{
    plan->run = fc_realloc(plan->run, (size_t)plan->count + 1, sizeof *plan->run);
    fc_sweep_run *run = &plan->run[plan->count++];
    *run = (fc_sweep_run){.file = fc_strdup(file), .with = fc_strdup("")};
    FC_TRY(name_run(r, run, which));
    for (int i = 0; i < plan->count - 1; i++) {
        if (strcmp(plan->run[i].name, run->name) == 0) {
            return FC_FAIL(FC_USAGE, "%s: two runs would both be called %s and share a folder",
                           r->path, run->name);
        }
    }
    char *folder = fc_format("%s/%s", plan->output, run->name);
    char *scenes = fc_format("%s/data", plan->output);
    add_key(run, "name", run->name);
    add_key(run, "output", folder);
    if (r->share_scenes) {
        add_key(run, "data.scenes", scenes);
    }
    if (plan->has_start && which != START) {
        char *start = fc_format("%s/%s", plan->output, plan->run[0].name);
        add_key(run, "model.init", start);
        fc_free(&start);
    }
    fc_free(&folder);
    fc_free(&scenes);
    return fc_config_load(&run->config, run->file, run->overrides, run->override);
}

/* The experiment that an entry of the sweep names, as it can be opened; heap. */
static fc_status find_experiment(const reader *r, const fc_yaml *item, char **out)
{
    const char *file = fc_yaml_text(item);
    if (file == NULL) {
        return fc_yaml_error(item, "want the path of an experiment, relative to this file");
    }
    bool typed = strcmp(fc_yaml_file(item), "command line") == 0;
    const char *slash = typed ? NULL : strrchr(r->path, '/');
    *out = file[0] == '/' || slash == NULL
               ? fc_strdup(file)
               : fc_format("%.*s/%s", (int)(slash - r->path), r->path, file);
    if (fc_path_is_file(*out)) {
        return FC_OK;
    }
    fc_status status = fc_yaml_fail(FC_NOINPUT, item, "%s: no such experiment file", *out);
    fc_free(out);
    return status;
}

static fc_status add_start(reader *r, fc_sweep_plan *plan)
{
    static const char key[] = "model.init", assigned[] = "model.init=";
    bool set = false;
    for (int i = 0; i < r->sets + r->overrides; i++) {
        const char *text = i < r->sets ? r->set[i] : r->override[i - r->sets];
        set = set || strncmp(text, assigned, sizeof assigned - 1) == 0;
    }
    for (int a = 0; a < r->axis_count; a++) {
        set = set || strcmp(r->axes[a].key, key) == 0;
    }
    if (set) {
        return fc_yaml_error(r->start, "every run starts from this one's model, but model.init is "
                                       "set as well; keep one of them");
    }
    char *file;
    FC_TRY(find_experiment(r, r->start, &file));
    plan->has_start = true;
    fc_status status = settle_run(r, plan, file, START);
    fc_free(&file);
    return status;
}

static fc_status add_runs(const reader *r, fc_sweep_plan *plan, const fc_yaml *item)
{
    char *beside;
    int combinations = 1;
    FC_TRY(find_experiment(r, item, &beside));
    fc_status status = FC_OK;
    for (int a = 0; a < r->axis_count && status == FC_OK; a++) {
        combinations *= fc_yaml_size(r->axes[a].values);
        if (combinations > MOST_RUNS) {
            status =
                FC_FAIL(FC_USAGE, "%s: matrix: more than %d combinations", r->path, (int)MOST_RUNS);
        }
    }
    for (int i = 0; i < combinations && status == FC_OK; i++) {
        status = settle_run(r, plan, beside, i);
    }
    fc_free(&beside);
    return status;
}

/* ---- The file ---- */

static bool is_of_sweep(const char *assignment)
{
    static const char *const keys[] = {"name", "output", "start_from", "runs", "matrix", "set"};
    size_t length = strcspn(assignment, ".=");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strlen(keys[i]) == length && strncmp(assignment, keys[i], length) == 0) {
            return true;
        }
    }
    return false;
}

/* A key the matrix goes through cannot be fixed for all runs as well. */
static fc_status check_overrides(const reader *r)
{
    for (int i = 0; i < r->overrides; i++) {
        for (int a = 0; a < r->axis_count; a++) {
            size_t length = strlen(r->axes[a].key);
            if (strncmp(r->override[i], r->axes[a].key, length) == 0 &&
                r->override[i][length] == '=') {
                return FC_FAIL(FC_USAGE,
                               "command line: %s: the sweep's matrix sets it; use "
                               "matrix.%s=[...]",
                               r->axes[a].key, r->axes[a].key);
            }
        }
    }
    return FC_OK;
}

static fc_status read_text(const reader *r, const char *key, const char *fallback, char **out)
{
    const fc_yaml *node = fc_yaml_get(r->tree, key);
    if (node != NULL && (fc_yaml_text(node) == NULL || fc_yaml_text(node)[0] == '\0')) {
        return fc_yaml_error(node, "want a text");
    }
    *out = fc_strdup(node != NULL ? fc_yaml_text(node) : fallback);
    return FC_OK;
}

static fc_status read_sweep(reader *r, fc_sweep_plan *plan)
{
    static const char *const known[] = {"name",   "output", "start_from", "runs",
                                        "matrix", "set",    NULL};
    const char *slash = strrchr(r->path, '/');
    char *stem = fc_strdup(slash != NULL ? slash + 1 : r->path);
    stem[strcspn(stem, ".")] = '\0';
    fc_status status = read_text(r, "name", stem, &plan->name);
    fc_free(&stem);
    FC_TRY(status);
    FC_TRY(fc_yaml_expand(r->tree, "name", plan->name));
    char *standard = fc_format("runs/%s", plan->name);
    status = read_text(r, "output", standard, &plan->output);
    fc_free(&standard);
    FC_TRY(status);
    const fc_yaml *matrix = fc_yaml_get(r->tree, "matrix"), *set = fc_yaml_get(r->tree, "set");
    const fc_yaml *runs = fc_yaml_get(r->tree, "runs");
    if (matrix != NULL && fc_yaml_type(matrix) == FC_YAML_MAPPING) {
        FC_TRY(read_matrix(r, matrix));
    } else if (matrix != NULL && fc_yaml_type(matrix) != FC_YAML_NULL) {
        return fc_yaml_error(matrix, "want a mapping such as {seed: [0, 1, 2]}");
    }
    if (set != NULL && fc_yaml_type(set) == FC_YAML_MAPPING) {
        FC_TRY(read_set(r, set));
    } else if (set != NULL && fc_yaml_type(set) != FC_YAML_NULL) {
        return fc_yaml_error(set, "want a mapping such as {train.epochs: 2}");
    }
    if (runs == NULL || fc_yaml_type(runs) != FC_YAML_SEQUENCE || fc_yaml_size(runs) == 0) {
        return FC_FAIL(FC_USAGE, "%s: runs: want a list of experiments, such as [row1.yaml]",
                       r->path);
    }
    fc_yaml_mark_read(runs);
    r->start = fc_yaml_get(r->tree, "start_from");
    FC_TRY(fc_yaml_check_unknown(r->tree, known));
    FC_TRY(check_overrides(r));
    if (r->start != NULL && fc_yaml_type(r->start) != FC_YAML_NULL) {
        FC_TRY(add_start(r, plan));
    }
    for (int i = 0; i < fc_yaml_size(runs); i++) {
        FC_TRY(add_runs(r, plan, fc_yaml_item(runs, i)));
    }
    return FC_OK;
}

fc_status fc_sweep_plan_load(fc_sweep_plan **out, const char *path, int overrides,
                             char *const *override, bool share_scenes)
{
    *out = NULL;
    char *file = fc_path_find(path);
    if (file == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: no such sweep file, here or among the shipped ones", path);
    }
    reader r = {.path = file,
                .override = fc_alloc((size_t)overrides + 1, sizeof *r.override),
                .share_scenes = share_scenes};
    fc_sweep_plan *plan = fc_alloc(1, sizeof *plan);
    fc_status status = FC_OK;
    FC_TRY_GOTO(status, fc_yaml_load(&r.tree, file), out);
    for (int i = 0; i < overrides; i++) {
        if (is_of_sweep(override[i])) {
            FC_TRY_GOTO(status, fc_yaml_override(r.tree, override[i]), out);
        } else {
            r.override[r.overrides++] = override[i];
        }
    }
    FC_TRY_GOTO(status, read_sweep(&r, plan), out);
out:
    if (status != FC_OK) {
        fc_sweep_plan_destroy(&plan);
    }
    *out = plan;
    for (int i = 0; i < r.sets; i++) {
        fc_free(&r.set[i]);
    }
    fc_free(&r.set);
    fc_yaml_destroy(&r.tree);
    fc_free(&r.override);
    fc_free(&file);
    return status;
}

void fc_sweep_plan_destroy(fc_sweep_plan **plan)
{
    if (*plan == NULL) {
        return;
    }
    for (int i = 0; i < (*plan)->count; i++) {
        fc_sweep_run *run = &(*plan)->run[i];
        for (int k = 0; k < run->overrides; k++) {
            fc_free(&run->override[k]);
        }
        fc_config_destroy(&run->config);
        fc_free(&run->override);
        fc_free(&run->file);
        fc_free(&run->name);
        fc_free(&run->with);
    }
    fc_free(&(*plan)->run);
    fc_free(&(*plan)->name);
    fc_free(&(*plan)->output);
    fc_free(plan);
}
