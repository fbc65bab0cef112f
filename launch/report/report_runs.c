#include "launch/report/report_runs.h"

#include "core/log.h"
#include "core/memory.h"
#include "core/paths.h"
#include "data/scenes/scenes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What a run is ---- */

/* The paper's abbreviations, in its order; other terms go by their own name, after these. */
static const char *const short_terms[][2] = {
    {"global_contrastive", "GC"}, {"region_contrastive", "RC"}, {"self_distillation", "SD"}};
enum { SHORT_TERMS = sizeof short_terms / sizeof *short_terms };

static void append(char **text, const char *between, const char *more)
{
    char *longer = fc_format("%s%s%s", *text, **text != '\0' ? between : "", more);
    fc_free(text);
    *text = longer;
}

/* One term as it is written in tables: "GC", "0.5 RC", "SD (stop_gradient crops)". */
static void append_term(char **text, const char *name, const fc_yaml *node)
{
    const fc_yaml *weight =
        fc_yaml_type(node) == FC_YAML_MAPPING ? fc_yaml_get(node, "weight") : node;
    const char *written = weight != NULL ? fc_yaml_text(weight) : "1";
    double value = written != NULL ? strtod(written, NULL) : 0;
    if (!(value > 0)) {
        return; /* off */
    }
    char *term = value == 1 ? fc_strdup(name) : fc_format("%g %s", value, name);
    for (int i = 0; fc_yaml_type(node) == FC_YAML_MAPPING && i < fc_yaml_size(node); i++) {
        const char *key;
        const fc_yaml *option = fc_yaml_entry(node, i, &key);
        const char *set = fc_yaml_text(option);
        if (strcmp(key, "stop_gradient") == 0 && set != NULL && strcmp(set, "none") != 0) {
            char *longer = fc_format("%s (%s %s)", term, key, set);
            fc_free(&term);
            term = longer;
        }
    }
    append(text, "+", term);
    fc_free(&term);
}

static char *terms_of(const fc_yaml *config)
{
    char *text = fc_strdup("");
    const fc_yaml *losses = fc_yaml_get(config, "losses");
    if (losses == NULL || fc_yaml_type(losses) != FC_YAML_MAPPING) {
        return text;
    }
    for (int i = 0; i < SHORT_TERMS; i++) {
        const fc_yaml *term = fc_yaml_get(losses, short_terms[i][0]);
        if (term != NULL) {
            append_term(&text, short_terms[i][1], term);
        }
    }
    for (int i = 0; i < fc_yaml_size(losses); i++) {
        const char *name;
        const fc_yaml *term = fc_yaml_entry(losses, i, &name);
        bool is_short = false;
        for (int k = 0; k < SHORT_TERMS; k++) {
            is_short = is_short || strcmp(name, short_terms[k][0]) == 0;
        }
        if (!is_short) {
            append_term(&text, name, term);
        }
    }
    return text;
}

static const char *config_text(const fc_run *run)
{
    return run->config[0] != '\0' ? run->config : "{}";
}

/* The configuration as text without keys that are set apart ("KEY=" each, ended by NULL), and with
 * what is not in it: the number of ranks, and whether it was trained or only evaluated. */
static fc_status text_without(const fc_run *run, const char *const *apart, char **out)
{
    const char *text = config_text(run);
    fc_yaml *tree;
    FC_TRY(fc_yaml_parse(&tree, text, strlen(text), run->path));
    fc_status status = FC_OK;
    for (; *apart != NULL && status == FC_OK; apart++) {
        status = fc_yaml_override(tree, *apart);
    }
    char *rest = NULL;
    if (status == FC_OK) {
        status = fc_yaml_emit(tree, &rest);
    }
    if (status == FC_OK) {
        *out = fc_format("ranks: %lld\ntrained: %d\n%s", (long long)run->world_size, run->rows > 0,
                         rest);
    }
    fc_free(&rest);
    fc_yaml_destroy(&tree);
    return status;
}

static char *label_of(const fci_report_run *r)
{
    char *label = fc_strdup(r->run->name[0] != '\0' ? r->run->name : r->run->path);
    char *end = r->seed != NULL ? fc_format("-seed%s", r->seed) : fc_strdup("");
    char *found = end[0] != '\0' ? strstr(label, end) : NULL;
    if (found != NULL) {
        memmove(found, found + strlen(end), strlen(found + strlen(end)) + 1);
    }
    fc_free(&end);
    return label;
}

static bool is_tested_on_unseen(const fci_report_run *r)
{
    const char *key = "eval.box_classification.data.synthetic.unseen";
    const char *unseen = fc_paper_text(r->config, key);
    return unseen != NULL && strcmp(unseen, "true") == 0 &&
           r->run->categories == fc_scene_categories();
}

static fc_status understand(fci_report_run *r)
{
    const char *text = config_text(r->run);
    FC_TRY(fc_yaml_parse(&r->config, text, strlen(text), r->run->path));
    static const char *const seeds[] = {"name=", "seed=", "output=", "data.scenes=", NULL};
    static const char *const terms[] = {
        "name=", "seed=", "output=", "data.scenes=", "losses=", NULL};
    FC_TRY(text_without(r->run, seeds, &r->key));
    FC_TRY(text_without(r->run, terms, &r->setting));
    r->seed = fc_paper_text(r->config, "seed");
    r->label = label_of(r);
    r->terms = terms_of(r->config);
    r->final = r->run->evals - 1;
    r->finished = strcmp(r->run->status, "completed") == 0;
    r->scenes = is_tested_on_unseen(r);
    return FC_OK;
}

/* ---- Groups ---- */

static void add_to_group(fci_report *report, int run)
{
    fci_group *group = NULL;
    for (int i = 0; i < report->groups && group == NULL; i++) {
        const fci_report_run *first = &report->run[report->group[i].run[0]];
        if (strcmp(first->key, report->run[run].key) == 0) {
            group = &report->group[i];
        }
    }
    if (group == NULL) {
        report->group =
            fc_realloc(report->group, (size_t)report->groups + 1, sizeof *report->group);
        group = &report->group[report->groups++];
        *group = (fci_group){.label = report->run[run].label, .terms = report->run[run].terms};
    }
    group->run = fc_realloc(group->run, (size_t)group->count + 1, sizeof *group->run);
    group->run[group->count++] = run;
    group->finished += report->run[run].finished;
}

static void find_paper(const fci_report *report, fci_group *group)
{
    const fci_report_run *first = &report->run[group->run[0]];
    const fc_run *run = first->run;
    const char *terms = run->rows > 0 ? first->terms : "";
    fc_paper_setting setting;
    bool known = fc_paper_setting_of(run, first->config, &setting);
    group->paper = known ? fc_paper_find(setting, terms) : NULL;
    group->differences =
        group->paper != NULL
            ? fc_paper_differences(run, first->config, setting,
                                   run->has_retrieval ? run->retrieval_protocol : NULL,
                                   "eval.retrieval")
            : fc_strdup("");
    const char *flickr = NULL;
    for (int i = 0; i < run->sets; i++) {
        flickr = strcmp(run->set[i].name, FCI_FLICKR) == 0 ? run->set[i].protocol : flickr;
    }
    bool tested = known && setting == FC_PAPER_CC_COCO && flickr != NULL;
    group->flickr = tested ? fc_paper_find(FC_PAPER_CC_FLICKR, terms) : NULL;
    group->flickr_differences =
        group->flickr != NULL ? fc_paper_differences(run, first->config, FC_PAPER_CC_FLICKR, flickr,
                                                     "eval.retrieval.more." FCI_FLICKR)
                              : fc_strdup("");
}

fc_status fci_report_load(fci_report **out, int count, const char *const *paths, bool missing_ok)
{
    fci_report *report = fc_alloc(1, sizeof *report);
    *out = NULL;
    report->run = fc_alloc((size_t)count, sizeof *report->run);
    fc_status status = FC_OK;
    for (int i = 0; i < count; i++) {
        if (missing_ok && !fc_path_is_file(paths[i])) {
            fc_log_info("no results yet: %s", paths[i]);
            continue;
        }
        fci_report_run *r = &report->run[report->runs++];
        FC_TRY_GOTO(status, fc_run_load(&r->run, paths[i]), out);
        FC_TRY_GOTO(status, understand(r), out);
        add_to_group(report, report->runs - 1);
    }
    if (report->runs == 0) {
        status = FC_FAIL(FC_NOINPUT, "no run has results yet, so there is nothing to report");
    }
    for (int i = 0; i < report->groups; i++) {
        find_paper(report, &report->group[i]);
    }
    fci_report_find_measures(report);
out:
    if (status != FC_OK) {
        fci_report_destroy(&report);
    }
    *out = report;
    return status;
}

void fci_report_destroy(fci_report **report)
{
    fci_report *r = *report;
    if (r == NULL) {
        return;
    }
    for (int i = 0; i < r->groups; i++) {
        fc_free(&r->group[i].run);
        fc_free(&r->group[i].differences);
        fc_free(&r->group[i].flickr_differences);
    }
    for (int i = 0; i < r->runs; i++) {
        fc_run_destroy(&r->run[i].run);
        fc_yaml_destroy(&r->run[i].config);
        fc_free(&r->run[i].label);
        fc_free(&r->run[i].terms);
        fc_free(&r->run[i].key);
        fc_free(&r->run[i].setting);
    }
    for (int i = 0; i < r->measures; i++) {
        fc_free(&r->measure[i].key);
        fc_free(&r->measure[i].title);
    }
    fc_free(&r->measure);
    fc_free(&r->group);
    fc_free(&r->run);
    fc_free(report);
}

/* The number of characters all labels begin with, cut back to the end of a word. */
static size_t common_start(const fci_report *report)
{
    const char *first = report->group[0].label;
    size_t common = strlen(first);
    for (int i = 1; i < report->groups; i++) {
        size_t same = 0;
        while (same < common && first[same] == report->group[i].label[same]) {
            same++;
        }
        common = same;
    }
    while (common > 0 && strchr("_-.", first[common - 1]) == NULL) {
        common--;
    }
    return common;
}

char **fci_report_short_labels(const fci_report *report)
{
    char **labels = fc_alloc((size_t)report->groups, sizeof *labels);
    size_t skip = report->groups > 1 ? common_start(report) : 0;
    for (int i = 0; i < report->groups; i++) {
        labels[i] = fc_strdup(report->group[i].label + skip);
    }
    return labels;
}
