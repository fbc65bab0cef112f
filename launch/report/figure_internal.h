/* What the parts of launch/figure*.c share. Units are points. */
#ifndef FC_LAUNCH_FIGURE_INTERNAL_H
#define FC_LAUNCH_FIGURE_INTERNAL_H

#include "launch/report/figure.h"

#include <cairo.h>

enum { FCI_STYLES = 16 };

typedef struct fci_box {
    double x, y, width, height;
} fci_box;

/* Where a text stands on the point it is given. */
typedef enum { FCI_LEFT, FCI_CENTER, FCI_RIGHT } fci_align;

/** Text with its base line at y. */
void fci_draw_text(cairo_t *c, double x, double y, double size, fci_align align, const char *text);
double fci_text_width_at(cairo_t *c, double size, const char *text);
/** Colour and dash of a style; faint: half as strong and thin. */
void fci_set_style(cairo_t *c, int style, bool faint);
void fci_set_grey(cairo_t *c, double level);
void fci_draw_line(cairo_t *c, double x0, double y0, double x1, double y1);

/** 1, 2 or 5 times a power of ten: the step that makes about `count` ticks over `range`. */
double fci_nice_step(double range, int count);
/** "0.02", "45", "100K", "2.5M" */
void fci_number_text(char *text, size_t bytes, double value, bool big_units);

/** One panel of curves within its box, axes and labels included. */
void fci_draw_panel(cairo_t *c, const fc_panel *panel, fci_box box);
/** All bars of a figure within the box; and the height they want. */
void fci_draw_bars(cairo_t *c, const fc_figure *figure, fci_box box);
double fci_bars_height(const fc_figure *figure);

#endif
