/* Figures of a report: panels of lines or bars, drawn by cairo into SVG or PNG with the same calls.
 * The caller owns all texts and arrays. Values that are NaN are left out. */
#ifndef FC_LAUNCH_FIGURE_H
#define FC_LAUNCH_FIGURE_H

#include "core/status.h"

#include <stdint.h>

/* One curve, or one path through points. Colours and dashes follow `style`, so that one thing looks
 * the same in every panel. */
typedef struct fc_series {
    const char *label; /* in the legend, once for each style */
    int style;         /* from 0 */
    int64_t n;
    const double *x, *y, *spread; /* (n); spread: +- bars, NULL: none */
    bool markers;                 /* a dot at every point; the last one larger */
    bool hollow_first;            /* the first dot open: before training */
    bool faint;                   /* a thin line: one seed of several */
    bool points;                  /* open squares and no line: somebody else's numbers */
} fc_series;

typedef struct fc_panel {
    const char *title, *x_label, *y_label;
    bool log_x;
    int count;
    fc_series *series;
} fc_panel;

/* One bar: a mean, its spread, and the single values it is made of. */
typedef struct fc_bar {
    double value, spread;
    int count;
    const double *values; /* (count) */
} fc_bar;

/* A figure is either panels of curves, or bars: one column a measure, one row a thing. */
typedef struct fc_figure {
    const char *title;
    const char *note; /* a line below; NULL: none */
    int panel_count;
    fc_panel *panel;
    int rows, columns; /* of bars */
    const char *const *row_label, *const *row_note, *const *column_label;
    const fc_bar *bar; /* (rows,columns), in per cent */
} fc_figure;

/** The figure as an SVG text; heap. FC_RUNTIME: cairo's reason. */
FC_NODISCARD fc_status fc_figure_svg(const fc_figure *figure, char **out, size_t *bytes);
/** The figure as a PNG file, two pixels a point. FC_RUNTIME: the file and the reason. */
FC_NODISCARD fc_status fc_figure_png(const fc_figure *figure, const char *path);

#endif
