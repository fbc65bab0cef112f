/* Notes beside the tables, and the CSV files. */
#include "core/memory.h"
#include "launch/report/report_tables.h"

#include <math.h>
#include <string.h>

/* ---- Notes ---- */

/* A protocol without the folders its data lies in: seeds of one experiment may have copies. */
static char *short_protocol(const char *protocol)
{
    static const char mark[] = "data ";
    const char *data = strstr(protocol, mark);
    if (data == NULL) {
        return fc_strdup(protocol);
    }
    const char *path = data + strlen(mark), *name = path;
    for (const char *p = path; *p != '\0' && *p != ';'; p++) {
        name = *p == '/' ? p + 1 : name;
    }
    return fc_format("%.*s%s", (int)(path - protocol), protocol, name);
}

static bool is_known(const fc_growing *g, const char *line)
{
    return g->text != NULL && strstr(g->text, line) != NULL;
}

static void note_protocol(fc_growing *g, const char *what, const char *set, const char *protocol)
{
    if (protocol == NULL || protocol[0] == '\0') {
        return;
    }
    char *text = short_protocol(protocol);
    char *line = fc_format("%s%s: %s.\n", what, set, text);
    if (!is_known(g, line)) {
        fc_grow(g, "%s", line);
    }
    fc_free(&line);
    fc_free(&text);
}

static void note_protocols(fc_growing *g, const fci_report *r)
{
    for (int i = 0; i < r->runs; i++) {
        const fc_run *run = r->run[i].run;
        note_protocol(g, "Boxes", "", run->box_protocol);
        note_protocol(g, "Retrieval", "", run->retrieval_protocol);
        for (int k = 0; k < run->sets; k++) {
            note_protocol(g, "Retrieval ", run->set[k].name, run->set[k].protocol);
        }
    }
}

/* Groups that differ from the paper's setting in the same way share a line. */
static void note_differences(fc_growing *g, const fci_report *r)
{
    for (int i = 0; i < r->groups; i++) {
        const fci_group *group = &r->group[i];
        bool first = group->paper != NULL && group->differences[0] != '\0';
        char *who = fc_strdup(group->label);
        for (int k = 0; k < r->groups && first; k++) {
            const fci_group *other = &r->group[k];
            if (k == i || other->paper == NULL ||
                strcmp(other->differences, group->differences) != 0) {
                continue;
            }
            first = k > i;
            char *longer = fc_format("%s, %s", who, other->label);
            fc_free(&who);
            who = longer;
        }
        if (first) {
            fc_grow(g,
                    "The paper's numbers are another measurement, so no difference from them is "
                    "given; ours (the paper's) of %s: %s.\n",
                    who, group->differences);
        }
        fc_free(&who);
    }
}

static void note_unfinished(fc_growing *g, const fci_report *r)
{
    bool any = false;
    for (int i = 0; i < r->runs; i++) {
        if (!r->run[i].finished) {
            fc_grow(g, "%s%s (%s)",
                    any ? ", " : "Not completed and in no mean: ", r->run[i].run->name,
                    r->run[i].run->status);
            any = true;
        }
    }
    if (any) {
        fc_grow(g, ".\n");
    }
}

char *fci_report_notes(const fci_report *r)
{
    fc_growing g = {0};
    bool several = false, scenes = false;
    for (int i = 0; i < r->groups; i++) {
        several = several || r->group[i].finished > 1;
        scenes = scenes || r->run[r->group[i].run[0]].scenes;
    }
    fc_grow(&g, "Per cent, at the last evaluation.%s\n",
            several
                ? " Mean +- standard deviation over seeds; changes have the standard error of a "
                  "difference of means, and what is less than twice that is called noise."
                : "");
    fc_grow(&g,
            "GC: global contrastive, RC: region contrastive, SD: self-distillation; I2T: picture "
            "to text, T2I: text to picture.\n");
    if (scenes) {
        fc_grow(&g, "Never seen: combinations of colour and shape that training scenes leave "
                    "out.\n");
    }
    note_differences(&g, r);
    note_protocols(&g, r);
    note_unfinished(&g, r);
    return g.text;
}

/* ---- CSV ---- */

/* A field as RFC 4180 has it. */
static void field(fc_growing *g, const char *text, bool last)
{
    bool plain = strpbrk(text, ",\"\r\n") == NULL;
    if (plain) {
        fc_grow(g, "%s", text);
    } else {
        fc_grow(g, "\"");
        for (; *text != '\0'; text++) {
            fc_grow_bytes(g, "\"\"", *text == '"' ? 2 : 0);
            fc_grow_bytes(g, text, *text == '"' ? 0 : 1);
        }
        fc_grow(g, "\"");
    }
    fc_grow_bytes(g, last ? "\n" : ",", 1);
}

/* Nothing where there is no number. */
static void number(fc_growing *g, double value, bool last)
{
    char *text = isfinite(value) ? fc_format("%.17g", value) : fc_strdup("");
    field(g, text, last);
    fc_free(&text);
}

char *fci_csv_groups(const fci_report *r)
{
    fc_growing g = {0};
    fc_grow(&g, "run,terms,seeds,measure,unit,mean,deviation,paper,difference,paper_row\n");
    for (int i = 0; i < r->groups; i++) {
        const fci_group *group = &r->group[i];
        for (int k = 0; k < r->measures; k++) {
            const fci_measure *m = &r->measure[k];
            fci_stat stat = fci_report_stat(r, group, m, false);
            bool comparable;
            double paper = fci_report_paper(group, m, &comparable);
            const fc_paper_row *row = m->set[0] == '\0' ? group->paper : group->flickr;
            field(&g, group->label, false);
            field(&g, group->terms, false);
            fc_grow(&g, "%d,", stat.n);
            field(&g, m->key, false);
            field(&g, "per cent", false);
            number(&g, 100 * stat.mean, false);
            number(&g, 100 * stat.deviation, false);
            number(&g, paper, false);
            number(&g, comparable ? 100 * stat.mean - paper : NAN, false);
            field(&g, isfinite(paper) ? row->where : "", true);
        }
    }
    return g.text;
}

char *fci_csv_runs(const fci_report *r)
{
    fc_growing g = {0};
    fc_grow(&g, "name,terms,seed,status,ranks,device,precision,train_images,step,epoch,loss,"
                "epoch_seconds,images_per_second,peak_device_bytes,peak_host_bytes");
    for (int k = 0; k < r->measures; k++) {
        fc_grow(&g, ",%s", r->measure[k].key);
    }
    fc_grow(&g, "\n");
    for (int i = 0; i < r->runs; i++) {
        const fci_report_run *one = &r->run[i];
        const fc_run *run = one->run;
        int64_t device = 0, host = 0;
        for (int64_t k = 0; k < run->ranks; k++) {
            device = run->peak_device_bytes[k] > device ? run->peak_device_bytes[k] : device;
            host = run->peak_host_bytes[k] > host ? run->peak_host_bytes[k] : host;
        }
        field(&g, run->name, false);
        field(&g, one->terms, false);
        field(&g, one->seed != NULL ? one->seed : "", false);
        field(&g, run->status, false);
        fc_grow(&g, "%lld,", (long long)run->world_size);
        field(&g, run->device, false);
        field(&g, run->precision, false);
        fc_grow(&g, "%lld,%lld,", (long long)run->train_images,
                (long long)(run->rows > 0 ? run->step[run->rows - 1] : 0));
        number(&g, one->final >= 0 ? run->eval_epoch[one->final] : NAN, false);
        number(&g, run->rows > 0 ? run->train[FC_TRAIN_LOSS][run->rows - 1] : NAN, false);
        number(&g, fci_report_epoch_seconds(one), false);
        number(&g, fci_report_speed(one), false);
        fc_grow(&g, "%lld,%lld", (long long)device, (long long)host);
        for (int k = 0; k < r->measures; k++) {
            fc_grow(&g, ",");
            double value = fci_report_value(one, one->final, &r->measure[k]);
            if (isfinite(value)) {
                fc_grow(&g, "%.17g", value);
            }
        }
        fc_grow(&g, "\n");
    }
    return g.text;
}
