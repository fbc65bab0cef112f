#include "launch/summary.h"

#include "core/log.h"
#include "launch/table.h"

#include <math.h>
#include <stdio.h>

typedef struct measure {
    const char *name;
    double before, after, chance;
} measure;

/* A picture with about `own` captions among `all`, k drawn at random: the chance that one of them
 * is its own. */
static double chance_of_any(double own, double all, int k)
{
    double miss = 1;
    for (int i = 0; i < k; i++) {
        double left = all - i;
        miss *= left > 0 ? fmax(0, (left - own) / left) : 0;
    }
    return 1 - miss;
}

static void add(fc_table *t, measure m, bool has_before)
{
    fc_table_cell(t, "%s", m.name);
    if (has_before) {
        fc_table_percent(t, m.before);
    }
    fc_table_percent(t, m.after);
    fc_table_percent(t, m.chance);
}

static void add_boxes(fc_table *t, const fc_evaluation *b, const fc_evaluation *e)
{
    double classes = (double)e->box.categories;
    bool old = b != NULL && b->has_box;
    add(t,
        (measure){"box classification, top-1", old ? b->box.top1 : NAN, e->box.top1, 1 / classes},
        b != NULL);
    add(t,
        (measure){"box classification, top-5", old ? b->box.top5 : NAN, e->box.top5,
                  fmin(1, 5 / classes)},
        b != NULL);
    if (isfinite(e->unseen_top1)) {
        add(t,
            (measure){"  top-1, combinations seen in training", old ? b->seen_top1 : NAN,
                      e->seen_top1, 1 / classes},
            b != NULL);
        add(t,
            (measure){"  top-1, combinations never seen", old ? b->unseen_top1 : NAN,
                      e->unseen_top1, 1 / classes},
            b != NULL);
    }
}

/* before: whether there is such a column; o: what stands there, NULL: nothing. */
static void add_retrieval(fc_table *t, bool before, const fc_retrieval_result *o,
                          const fc_retrieval_result *r)
{
    const fc_retrieval_result none = {NAN, NAN, NAN, NAN, NAN, NAN, 0, 0};
    o = o != NULL ? o : &none;
    double images = (double)r->images, captions = (double)r->captions, own = captions / images;
    const measure rows[] = {
        {"picture to text, R@1", o->i2t_r1, r->i2t_r1, chance_of_any(own, captions, 1)},
        {"picture to text, R@5", o->i2t_r5, r->i2t_r5, chance_of_any(own, captions, 5)},
        {"picture to text, R@10", o->i2t_r10, r->i2t_r10, chance_of_any(own, captions, 10)},
        {"text to picture, R@1", o->t2i_r1, r->t2i_r1, fmin(1, 1 / images)},
        {"text to picture, R@5", o->t2i_r5, r->t2i_r5, fmin(1, 5 / images)},
        {"text to picture, R@10", o->t2i_r10, r->t2i_r10, fmin(1, 10 / images)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        add(t, rows[i], before);
    }
}

/* Further stores, each under its name. */
static void add_more(fc_table *t, const fc_evaluation *b, const fc_evaluation *e)
{
    for (int i = 0; i < e->more_count; i++) {
        bool old = b != NULL && i < b->more_count;
        fc_table_rule(t);
        fc_table_cell(t, "retrieval on %s", e->more[i].name);
        for (int column = b != NULL ? 3 : 2; column > 0; column--) {
            fc_table_cell(t, "%s", "");
        }
        add_retrieval(t, b != NULL, old ? &b->more[i].result : NULL, &e->more[i].result);
    }
}

void fc_summary_print(const fc_evaluation *before, const fc_evaluation *after)
{
    if (fc_log_rank() != 0 || (!after->has_box && !after->has_retrieval)) {
        return;
    }
    static const char *const with[] = {"per cent", "before", "after", "chance"};
    static const char *const without[] = {"per cent", "result", "chance"};
    fc_table *t = before != NULL ? fc_table_create(4, with) : fc_table_create(3, without);
    if (after->has_box) {
        add_boxes(t, before, after);
    }
    if (after->has_retrieval) {
        bool old = before != NULL && before->has_retrieval;
        add_retrieval(t, before != NULL, old ? &before->retrieval : NULL, &after->retrieval);
    }
    add_more(t, before, after);
    fc_table_print(t, stdout);
    fflush(stdout);
    fc_table_destroy(&t);
}

void fc_summary_log(const fc_evaluation *e)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "epoch %g:", e->epoch);
    if (e->has_box) {
        n += snprintf(text + n, sizeof text - (size_t)n, " box top-1 %.1f top-5 %.1f",
                      100 * e->box.top1, 100 * e->box.top5);
    }
    if (e->has_retrieval) {
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "%s R@1 picture to text %.1f, text to picture %.1f", e->has_box ? ";" : "",
                      100 * e->retrieval.i2t_r1, 100 * e->retrieval.t2i_r1);
    }
    for (int i = 0; i < e->more_count; i++) {
        n += snprintf(text + n, sizeof text - (size_t)n, "; on %s %.1f, %.1f", e->more[i].name,
                      100 * e->more[i].result.i2t_r1, 100 * e->more[i].result.t2i_r1);
    }
    fc_log_info("%s", text);
}
