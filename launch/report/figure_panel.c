/* One panel of curves: its scales, ticks, grid and points. */
#include "launch/report/figure_internal.h"

#include <math.h>
#include <stdio.h>

enum { MOST_TICKS = 24 };
static const double tick_size = 9.5, label_size = 10.5, panel_title_size = 11.5;

/* From a value to a place on an axis. */
typedef struct scale {
    double low, high; /* of the values, as their logarithms where log */
    double from, to;  /* on the page */
    bool log;
    int ticks;
    double tick[MOST_TICKS];
} scale;

double fci_nice_step(double range, int count)
{
    double rough = range / count, power = pow(10, floor(log10(rough))), part = rough / power;
    const double nice[] = {1, 2, 5, 10};
    for (int i = 0; i < 3; i++) {
        if (part <= nice[i] * 1.0000001) {
            return nice[i] * power;
        }
    }
    return nice[3] * power;
}

void fci_number_text(char *text, size_t bytes, double value, bool big_units)
{
    const double thousand = 1e3, million = 1e6;
    if (big_units && fabs(value) >= million) {
        snprintf(text, bytes, "%.4gM", value / million);
    } else if (big_units && fabs(value) >= thousand) {
        snprintf(text, bytes, "%.4gK", value / thousand);
    } else {
        snprintf(text, bytes, "%.6g", fabs(value) < 1e-12 ? 0.0 : value);
    }
}

static double place(const scale *s, double value)
{
    double v = s->log ? log10(value) : value;
    return s->from + (v - s->low) / (s->high - s->low) * (s->to - s->from);
}

static bool shown(const scale *s, double value)
{
    return isfinite(value) && (!s->log || value > 0);
}

/* Where the values of one axis lie; nothing finite gives 0 to 1. */
static void span(const fc_panel *p, bool x, scale *s)
{
    s->low = INFINITY;
    s->high = -INFINITY;
    bool negative = false;
    for (int i = 0; i < p->count; i++) {
        const fc_series *series = &p->series[i];
        for (int64_t k = 0; k < series->n; k++) {
            double value = x ? series->x[k] : series->y[k];
            double other = x ? series->y[k] : series->x[k];
            double spread =
                !x && series->spread != NULL && isfinite(series->spread[k]) ? series->spread[k] : 0;
            if (!shown(s, value) || !isfinite(other)) {
                continue;
            }
            negative = negative || value < 0;
            value = s->log ? log10(value) : value;
            s->low = fmin(s->low, value - spread);
            s->high = fmax(s->high, value + spread);
        }
    }
    if (!s->log && !negative) {
        s->low = fmax(s->low, 0); /* a spread below nothing needs no room */
    }
    if (!(s->low <= s->high)) {
        s->low = 0;
        s->high = 1;
    }
    double least = 1e-9 + 1e-6 * fabs(s->high);
    if (s->high - s->low < least) {
        double half = s->high == 0 ? 0.5 : 0.1 * fabs(s->high);
        s->low -= half;
        s->high += half;
    }
}

static void linear_ticks(scale *s, int count, bool widen)
{
    double step = fci_nice_step(s->high - s->low, count);
    if (widen) {
        s->low = floor(s->low / step + 1e-9) * step;
        s->high = ceil(s->high / step - 1e-9) * step;
    }
    for (double v = ceil(s->low / step - 1e-9) * step;
         v <= s->high + 1e-9 * step && s->ticks < MOST_TICKS; v += step) {
        s->tick[s->ticks++] = v;
    }
}

/* 1, 2 and 5 times powers of ten while these are few, else the powers alone. */
static void log_ticks(scale *s)
{
    const double room = 0.08, parts[] = {1, 2, 5}, few = 2.5;
    s->low -= room;
    s->high += room;
    int each = s->high - s->low > few ? 1 : 3;
    for (double e = floor(s->low); e <= ceil(s->high); e += 1) {
        for (int i = 0; i < each && s->ticks < MOST_TICKS; i++) {
            double v = parts[i] * pow(10, e);
            if (log10(v) >= s->low && log10(v) <= s->high) {
                s->tick[s->ticks++] = v;
            }
        }
    }
}

static void draw_axes(cairo_t *c, const fc_panel *p, fci_box box, const scale *x, const scale *y)
{
    char text[32];
    cairo_set_line_width(c, 0.7);
    for (int i = 0; i < y->ticks; i++) {
        double at = place(y, y->tick[i]);
        fci_set_grey(c, 0.88);
        fci_draw_line(c, x->from, at, x->to, at);
        fci_set_grey(c, 0.25);
        fci_number_text(text, sizeof text, y->tick[i], false);
        fci_draw_text(c, x->from - 5, at + 3.5, tick_size, FCI_RIGHT, text);
    }
    double last_end = -1;
    for (int i = 0; i < x->ticks; i++) {
        double at = place(x, x->tick[i]);
        fci_set_grey(c, 0.5);
        fci_draw_line(c, at, y->from, at, y->from + 4);
        fci_number_text(text, sizeof text, x->tick[i], true);
        double half = fci_text_width_at(c, tick_size, text) / 2;
        if (at - half < last_end + 4) {
            continue; /* no room beside the one before */
        }
        last_end = at + half;
        fci_set_grey(c, 0.25);
        fci_draw_text(c, at, y->from + 15, tick_size, FCI_CENTER, text);
    }
    fci_set_grey(c, 0.5);
    fci_draw_line(c, x->from, y->from, x->to, y->from);
    fci_draw_line(c, x->from, y->from, x->from, y->to);
    fci_set_grey(c, 0.1);
    fci_draw_text(c, (x->from + x->to) / 2, y->from + 31, label_size, FCI_CENTER, p->x_label);
    fci_draw_text(c, x->from, box.y + 13, panel_title_size, FCI_LEFT, p->title);
    cairo_save(c);
    cairo_translate(c, box.x + 18, (y->from + y->to) / 2);
    cairo_rotate(c, -M_PI / 2);
    fci_draw_text(c, 0, 0, label_size, FCI_CENTER, p->y_label);
    cairo_restore(c);
}

static void draw_marker(cairo_t *c, const fc_series *s, int64_t k, double x, double y)
{
    const double side = 7, small = 2.6, large = 4.2;
    cairo_set_dash(c, NULL, 0, 0);
    cairo_set_line_width(c, 1.4);
    if (s->points) {
        cairo_rectangle(c, x - side / 2, y - side / 2, side, side);
        cairo_stroke(c);
        return;
    }
    cairo_arc(c, x, y, k == s->n - 1 && s->n > 1 ? large : small, 0, 2 * M_PI);
    if (k == 0 && s->hollow_first) {
        cairo_save(c);
        cairo_set_source_rgb(c, 1, 1, 1);
        cairo_fill_preserve(c);
        cairo_restore(c);
        cairo_stroke(c);
    } else {
        cairo_fill(c);
    }
}

static void draw_series(cairo_t *c, const fc_series *s, const scale *x, const scale *y)
{
    bool pen = false;
    fci_set_style(c, s->style, s->faint);
    for (int64_t k = 0; k < s->n && !s->points; k++) {
        if (!shown(x, s->x[k]) || !shown(y, s->y[k])) {
            pen = false;
            continue;
        }
        double at_x = place(x, s->x[k]), at_y = place(y, s->y[k]);
        if (pen) {
            cairo_line_to(c, at_x, at_y);
        } else {
            cairo_move_to(c, at_x, at_y);
        }
        pen = true;
    }
    cairo_stroke(c);
    for (int64_t k = 0; k < s->n; k++) {
        if (!shown(x, s->x[k]) || !shown(y, s->y[k])) {
            continue;
        }
        double at_x = place(x, s->x[k]), at_y = place(y, s->y[k]);
        if (s->spread != NULL && isfinite(s->spread[k]) && s->spread[k] > 0) {
            cairo_set_line_width(c, 1);
            cairo_set_dash(c, NULL, 0, 0);
            fci_draw_line(c, at_x, place(y, s->y[k] - s->spread[k]), at_x,
                          place(y, s->y[k] + s->spread[k]));
        }
        if (s->markers || s->points) {
            draw_marker(c, s, k, at_x, at_y);
        }
    }
}

void fci_draw_panel(cairo_t *c, const fc_panel *p, fci_box box)
{
    const double left = 54, right = 14, top = 22, bottom = 42, marker_room = 0.03;
    const int x_ticks = box.width > 500 ? 8 : 5, y_ticks = 5;
    scale x = {.from = box.x + left, .to = box.x + box.width - right, .log = p->log_x};
    scale y = {.from = box.y + box.height - bottom, .to = box.y + top};
    span(p, true, &x);
    span(p, false, &y);
    if (p->log_x) {
        log_ticks(&x);
    } else {
        double room = p->count > 0 && p->series[0].markers ? marker_room * (x.high - x.low) : 0;
        x.low -= x.low == 0 ? 0 : room; /* epochs begin at the axis */
        x.high += room;
        linear_ticks(&x, x_ticks, false);
    }
    linear_ticks(&y, y_ticks, true);
    draw_axes(c, p, box, &x, &y);
    cairo_save(c);
    cairo_rectangle(c, x.from - 6, y.to - 6, x.to - x.from + 12, y.from - y.to + 12);
    cairo_clip(c);
    for (int i = 0; i < p->count; i++) {
        draw_series(c, &p->series[i], &x, &y);
    }
    cairo_restore(c);
}
