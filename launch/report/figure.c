/* A figure's frame: title, grid of panels, legend; and where it goes. */
#include "launch/report/figure.h"

#include "core/memory.h"
#include "launch/report/figure_internal.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include <cairo-svg.h>

static const double page_width = 780, margin = 14, title_size = 14, small_size = 10.5;
static const double panel_height = 270, title_height = 30, legend_line = 18, note_height = 20;

/* Okabe and Ito's colours, which people with any colour vision tell apart; styles beyond them are
 * the same ones with another dash. */
static const double colours[][3] = {{0.00, 0.45, 0.70}, {0.84, 0.37, 0.00}, {0.00, 0.62, 0.45},
                                    {0.80, 0.47, 0.65}, {0.34, 0.71, 0.91}, {0.90, 0.62, 0.00},
                                    {0.35, 0.35, 0.35}, {0.60, 0.20, 0.20}};
enum { COLOURS = sizeof colours / sizeof *colours };

void fci_set_style(cairo_t *c, int style, bool faint)
{
    static const double dash[][2] = {{0, 0}, {5, 3}, {1.5, 2.5}};
    const double *rgb = colours[style % COLOURS];
    int kind = style / COLOURS % 3;
    cairo_set_source_rgba(c, rgb[0], rgb[1], rgb[2], faint ? 0.55 : 1);
    cairo_set_line_width(c, faint ? 1.0 : 1.8);
    cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
    cairo_set_dash(c, dash[kind], kind > 0 ? 2 : 0, 0);
}

void fci_set_grey(cairo_t *c, double level)
{
    cairo_set_source_rgb(c, level, level, level);
    cairo_set_dash(c, NULL, 0, 0);
}

void fci_draw_line(cairo_t *c, double x0, double y0, double x1, double y1)
{
    cairo_move_to(c, x0, y0);
    cairo_line_to(c, x1, y1);
    cairo_stroke(c);
}

/* Widths without rounding to pixels: a text is as wide on a page as it was measured to be. */
static void set_font(cairo_t *c, double size)
{
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(c, options);
    cairo_font_options_destroy(options);
    cairo_select_font_face(c, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, size);
}

double fci_text_width_at(cairo_t *c, double size, const char *text)
{
    cairo_text_extents_t e;
    set_font(c, size);
    cairo_text_extents(c, text, &e);
    return e.x_advance;
}

void fci_draw_text(cairo_t *c, double x, double y, double size, fci_align align, const char *text)
{
    double width = fci_text_width_at(c, size, text);
    cairo_move_to(c, x - (align == FCI_LEFT ? 0 : align == FCI_CENTER ? width / 2 : width), y);
    cairo_show_text(c, text);
}

/* ---- Legend ---- */

/* The first series of each style; NULL: nothing has it. */
static void find_styles(const fc_figure *f, const fc_series *first[FCI_STYLES], bool *others)
{
    for (int s = 0; s < FCI_STYLES; s++) {
        first[s] = NULL;
    }
    *others = false;
    for (int p = 0; p < f->panel_count; p++) {
        for (int i = 0; i < f->panel[p].count; i++) {
            const fc_series *s = &f->panel[p].series[i];
            *others = *others || s->points;
            if (!s->points && s->label != NULL && first[s->style % FCI_STYLES] == NULL) {
                first[s->style % FCI_STYLES] = s;
            }
        }
    }
}

static void legend_sample(cairo_t *c, const fc_series *s, double x, double y)
{
    fci_set_style(c, s->style, false);
    fci_draw_line(c, x, y, x + 22, y);
    if (s->markers) {
        cairo_set_dash(c, NULL, 0, 0);
        cairo_arc(c, x + 11, y, 3, 0, 2 * M_PI);
        cairo_fill(c);
    }
}

/* Draws, or with c's target a measuring one only measures; returns the height. */
static double legend(cairo_t *c, const fc_figure *f, double y, bool draw)
{
    static const double sample = 28, gap = 16;
    const fc_series *first[FCI_STYLES];
    bool others;
    double x = margin, top = y;
    find_styles(f, first, &others);
    int entries = 0;
    for (int s = 0; s <= FCI_STYLES; s++) {
        bool paper = s == FCI_STYLES;
        const char *label = paper ? "open squares: the paper" : NULL;
        if (!paper && first[s] != NULL) {
            label = first[s]->label;
        }
        if (label == NULL || (paper && !others)) {
            continue;
        }
        double width = (paper ? 0 : sample) + fci_text_width_at(c, small_size, label) + gap;
        if (x > margin && x + width > page_width - margin) {
            x = margin;
            y += legend_line;
        }
        if (draw && !paper) {
            legend_sample(c, first[s], x, y + 9);
        }
        if (draw) {
            fci_set_grey(c, 0.1);
            fci_draw_text(c, x + (paper ? 0 : sample), y + 13, small_size, FCI_LEFT, label);
        }
        x += width;
        entries++;
    }
    return entries > 0 ? y + legend_line - top : 0;
}

/* ---- The whole ---- */

static int columns_of(const fc_figure *f)
{
    return f->panel_count < 3    ? (f->panel_count > 0 ? f->panel_count : 1)
           : f->panel_count == 4 ? 2
                                 : 3;
}

static double body_height(const fc_figure *f)
{
    int columns = columns_of(f);
    return f->rows > 0 ? fci_bars_height(f)
                       : panel_height * ((f->panel_count + columns - 1) / columns);
}

static void draw(cairo_t *c, const fc_figure *f, double height)
{
    cairo_set_source_rgb(c, 1, 1, 1);
    cairo_paint(c);
    fci_set_grey(c, 0);
    fci_draw_text(c, margin, 21, title_size, FCI_LEFT, f->title);
    double y = title_height;
    if (f->rows > 0) {
        fci_draw_bars(c, f, (fci_box){margin, y, page_width - 2 * margin, body_height(f)});
    }
    int columns = columns_of(f);
    double width = (page_width - 2 * margin) / columns;
    /* One panel alone need not be as wide as the page. */
    for (int p = 0; p < f->panel_count; p++) {
        fci_box box = {margin + width * (p % columns), y + panel_height * (p / columns), width,
                       panel_height};
        fci_draw_panel(c, &f->panel[p], box);
    }
    y += body_height(f);
    y += legend(c, f, y, true);
    if (f->note != NULL) {
        fci_set_grey(c, 0.35);
        fci_draw_text(c, margin, height - 8, small_size, FCI_LEFT, f->note);
    }
}

/* Texts are measured on a surface that keeps nothing. */
static double whole_height(const fc_figure *f)
{
    cairo_surface_t *nothing = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    cairo_t *c = cairo_create(nothing);
    double height = title_height + body_height(f) + legend(c, f, 0, false) + 8 +
                    (f->note != NULL ? note_height : 0);
    cairo_destroy(c);
    cairo_surface_destroy(nothing);
    return ceil(height);
}

typedef struct sink {
    char *text;
    size_t bytes, capacity;
} sink;

static cairo_status_t take(void *ctx, const unsigned char *data, unsigned int length)
{
    sink *s = ctx;
    if (s->bytes + length + 1 > s->capacity) {
        s->capacity = 2 * (s->bytes + length + 1);
        s->text = fc_realloc(s->text, s->capacity, 1);
    }
    memcpy(s->text + s->bytes, data, length);
    s->bytes += length;
    s->text[s->bytes] = '\0';
    return CAIRO_STATUS_SUCCESS;
}

fc_status fc_figure_svg(const fc_figure *figure, char **out, size_t *bytes)
{
    sink s = {0};
    double height = whole_height(figure);
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(take, &s, page_width, height);
    cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
    cairo_t *c = cairo_create(surface);
    draw(c, figure, height);
    cairo_status_t status = cairo_status(c);
    cairo_destroy(c);
    cairo_surface_finish(surface);
    status = status != CAIRO_STATUS_SUCCESS ? status : cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (status != CAIRO_STATUS_SUCCESS) {
        fc_free(&s.text);
        return FC_FAIL(FC_RUNTIME, "cannot draw \"%s\": %s", figure->title,
                       cairo_status_to_string(status));
    }
    *out = s.text;
    *bytes = s.bytes;
    return FC_OK;
}

fc_status fc_figure_png(const fc_figure *figure, const char *path)
{
    const double scale = 2;
    double height = whole_height(figure);
    cairo_surface_t *surface = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, (int)(scale * page_width), (int)(scale * height));
    cairo_t *c = cairo_create(surface);
    cairo_scale(c, scale, scale);
    draw(c, figure, height);
    cairo_status_t status = cairo_status(c);
    cairo_destroy(c);
    status = status != CAIRO_STATUS_SUCCESS ? status : cairo_surface_write_to_png(surface, path);
    cairo_surface_destroy(surface);
    if (status == CAIRO_STATUS_SUCCESS) {
        return FC_OK;
    }
    const char *why =
        status == CAIRO_STATUS_WRITE_ERROR ? strerror(errno) : cairo_status_to_string(status);
    return FC_FAIL(FC_RUNTIME, "cannot write %s: %s", path, why);
}
