/* Bars lying down: one row a thing, one column a measure, each column with a scale of its own. */
#include "launch/report/figure_internal.h"

#include <math.h>
#include <stdio.h>

static const double row_height = 34, head_height = 24, foot_height = 20, gap = 18;
static const double name_size = 10.5, note_size = 9, value_size = 9.5;

double fci_bars_height(const fc_figure *f)
{
    return head_height + row_height * f->rows + foot_height;
}

static double widest_label(cairo_t *c, const fc_figure *f)
{
    double width = 0;
    for (int r = 0; r < f->rows; r++) {
        width = fmax(width, fci_text_width_at(c, name_size, f->row_label[r]));
        width = fmax(width, fci_text_width_at(c, note_size, f->row_note[r]));
    }
    return width;
}

static void draw_bar(cairo_t *c, const fc_bar *bar, int style, fci_box box, double per_point)
{
    const double thick = 15, dot = 2;
    double middle = box.y + box.height / 2, right = box.x + bar->value * per_point;
    char text[48];
    if (!isfinite(bar->value)) {
        fci_set_grey(c, 0.4);
        fci_draw_text(c, box.x + 4, middle + 3.5, value_size, FCI_LEFT, "none");
        return;
    }
    fci_set_style(c, style, true);
    cairo_rectangle(c, box.x, middle - thick / 2, right - box.x, thick);
    cairo_fill(c);
    double end = right;
    cairo_set_line_width(c, 1);
    fci_set_grey(c, 0.15);
    if (isfinite(bar->spread) && bar->spread > 0) {
        double low = fmax(box.x, right - bar->spread * per_point);
        end = right + bar->spread * per_point;
        fci_draw_line(c, low, middle, end, middle);
        fci_draw_line(c, low, middle - 4, low, middle + 4);
        fci_draw_line(c, end, middle - 4, end, middle + 4);
    }
    for (int i = 0; i < bar->count && bar->count > 1; i++) {
        double at = box.x + bar->values[i] * per_point;
        end = fmax(end, at);
        cairo_arc(c, at, middle, dot, 0, 2 * M_PI);
        cairo_fill(c);
    }
    snprintf(text, sizeof text, "%.1f", bar->value);
    fci_set_grey(c, 0.1);
    fci_draw_text(c, end + 5, middle + 3.5, value_size, FCI_LEFT, text);
}

static void draw_scale(cairo_t *c, fci_box box, double top, double per_point)
{
    const double most = 4;
    double step = fci_nice_step(top, (int)most);
    char text[32];
    cairo_set_line_width(c, 0.7);
    for (double v = 0; v <= top * (1 + 1e-9); v += step) {
        double x = box.x + v * per_point;
        fci_set_grey(c, v > 0 ? 0.88 : 0.5);
        fci_draw_line(c, x, box.y, x, box.y + box.height);
        fci_set_grey(c, 0.25);
        fci_number_text(text, sizeof text, v, false);
        fci_draw_text(c, x, box.y + box.height + 13, note_size, FCI_CENTER, text);
    }
}

/* The largest value of a column, so that bar, spread and number find room. */
static double column_top(const fc_figure *f, int column)
{
    double top = 0;
    for (int r = 0; r < f->rows; r++) {
        const fc_bar *bar = &f->bar[r * f->columns + column];
        double spread = isfinite(bar->spread) ? bar->spread : 0;
        top = isfinite(bar->value) ? fmax(top, bar->value + spread) : top;
        for (int i = 0; i < bar->count; i++) {
            top = fmax(top, bar->values[i]);
        }
    }
    return top > 0 ? top : 1;
}

void fci_draw_bars(cairo_t *c, const fc_figure *f, fci_box box)
{
    const double number_room = 36;
    double labels = widest_label(c, f) + 12;
    double width = (box.width - labels) / f->columns;
    double y = box.y + head_height;
    for (int r = 0; r < f->rows; r++) {
        double middle = y + row_height * (r + 0.5);
        fci_set_grey(c, 0.05);
        fci_draw_text(c, box.x + labels - 10, middle - 1, name_size, FCI_RIGHT, f->row_label[r]);
        fci_set_grey(c, 0.4);
        fci_draw_text(c, box.x + labels - 10, middle + 11, note_size, FCI_RIGHT, f->row_note[r]);
    }
    for (int k = 0; k < f->columns; k++) {
        fci_box column = {box.x + labels + width * k, y, width - gap, row_height * f->rows};
        double top = column_top(f, k), per_point = (column.width - number_room) / top;
        fci_set_grey(c, 0.1);
        fci_draw_text(c, column.x, box.y + 14, name_size, FCI_LEFT, f->column_label[k]);
        draw_scale(c, column, top, per_point);
        for (int r = 0; r < f->rows; r++) {
            fci_box row = {column.x, y + row_height * r, column.width, row_height};
            draw_bar(c, &f->bar[r * f->columns + k], r, row, per_point);
        }
    }
}
