/* The sheet of all maps. A band a picture; lengths in pixels. */
#include "core/memory.h"
#include "launch/explain/explain_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cairo.h>

enum {
    MARGIN = 20,
    TILE = 190,      /* longest side of a picture or map */
    GAP = 10,        /* between tiles */
    COLUMNS = 10,    /* tiles side by side, the picture included */
    KIND = 26,       /* at the left, for what a row shows */
    LINE = 17,       /* height of a line of text */
    LABEL_LINES = 2, /* below a tile */
    MOST_SIDE = 30000
};

typedef struct sheet {
    cairo_t *cr;
    bool draw; /* false: only measured */
    const fc_explain_request *request;
    const fc_explained *found;
    int grid, columns; /* columns: of the widest band */
    double width;
} sheet;

static void color(const sheet *s, double grey)
{
    cairo_set_source_rgb(s->cr, grey, grey, grey);
}

static void font(const sheet *s, double size, bool bold)
{
    cairo_select_font_face(s->cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(s->cr, size);
}

static double advance(const sheet *s, const char *text)
{
    cairo_text_extents_t e;
    cairo_text_extents(s->cr, text, &e);
    return e.x_advance;
}

static void say(const sheet *s, double x, double y, const char *text)
{
    if (s->draw) {
        cairo_move_to(s->cr, x, y);
        cairo_show_text(s->cr, text);
    }
}

/* Bytes of the first letter of a UTF-8 text. */
static size_t letter(const char *text)
{
    size_t n = text[0] != '\0' ? 1 : 0;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) {
        n++;
    }
    return n;
}

/* A text below a tile, broken at blanks into lines that fit; what is too long ends in dots. */
static void label(const sheet *s, double x, double y, double width, const char *text)
{
    char line[256] = "";
    for (int n = 1; n <= LABEL_LINES && *text != '\0'; n++) {
        size_t used = 0, blank = 0;
        const bool last = n == LABEL_LINES;
        while (*text != '\0' && used + 8 < sizeof line) {
            const size_t more = letter(text + used);
            if (more == 0) {
                break;
            }
            memcpy(line, text, used + more);
            snprintf(line + used + more, sizeof line - used - more, "%s", last ? "..." : "");
            const bool ends = text[used + more] == '\0';
            line[used + more] = ends ? '\0' : line[used + more];
            if (advance(s, line) > width) {
                break;
            }
            blank = ends || text[used] == ' ' ? used + more : blank;
            used += more;
        }
        const bool whole = text[used] == '\0';
        const size_t cut = whole || last || blank == 0 ? used : blank;
        snprintf(line, sizeof line, "%.*s%s", (int)cut, text, last && !whole ? "..." : "");
        say(s, x, y + n * LINE - 4, line);
        text += cut;
        text += *text == ' ' ? 1 : 0;
    }
}

static void paint(const sheet *s, const fc_picture *p, double x, double y)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, p->width, p->height);
    unsigned char *to = cairo_image_surface_get_data(surface);
    const int stride = cairo_image_surface_get_stride(surface);
    for (int row = 0; to != NULL && row < p->height; row++) {
        uint32_t *pixel = (uint32_t *)(void *)(to + (size_t)row * (size_t)stride);
        const uint8_t *rgb = p->rgb + (size_t)row * (size_t)p->width * 3;
        for (int column = 0; column < p->width; column++, rgb += 3) {
            pixel[column] = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
        }
    }
    cairo_surface_mark_dirty(surface);
    cairo_set_source_surface(s->cr, surface, x, y);
    cairo_paint(s->cr);
    cairo_surface_destroy(surface);
}

/* What a row shows, along its left side. */
static void kind(const sheet *s, double y, double height, const char *text)
{
    font(s, 11, true);
    color(s, 0.35);
    if (s->draw) {
        cairo_save(s->cr);
        cairo_move_to(s->cr, MARGIN + 12, y + (height + advance(s, text)) / 2);
        cairo_rotate(s->cr, -M_PI / 2);
        cairo_show_text(s->cr, text);
        cairo_restore(s->cr);
    }
}

/* Tiles [first, first + count) of a band, tile 0 being the picture, in one row; returns its height.
 */
static double row(const sheet *s, int index, const fc_picture *tile, double y, int first, int count,
                  bool dense)
{
    const fc_explain_picture *p = &s->request->picture[index];
    const fc_explained *e = &s->found[index];
    for (int i = 0; s->draw && i < count; i++) {
        const double x = MARGIN + KIND + i * (double)(tile->width + GAP);
        const int text = first + i - 1;
        if (text < 0) {
            if (!dense) {
                paint(s, tile, x, y);
                font(s, 11, false);
                color(s, 0.35);
                const char *slash = strrchr(p->source, '/');
                label(s, x, y + tile->height, tile->width, slash != NULL ? slash + 1 : p->source);
            }
            continue;
        }
        fc_picture overlay;
        const double *map = (dense ? e->dense : e->relevance) + (int64_t)text * s->grid * s->grid;
        fci_explain_overlay(tile, map, s->grid, &overlay);
        paint(s, &overlay, x, y);
        fc_picture_free(&overlay);
        font(s, 11, !p->text[text].phrase);
        color(s, 0);
        label(s, x, y + tile->height, tile->width, p->text[text].text);
    }
    kind(s, y, tile->height, dense ? "dense similarity" : "relevance");
    return tile->height + LABEL_LINES * LINE + GAP;
}

/* A text with its tokens shaded by relevance; returns its height. */
static double shaded(const sheet *s, const fc_explain_text *x, const double *relevance, double y)
{
    const double left = MARGIN + KIND, right = s->width - MARGIN, pad = 4;
    double at = left, most = 0, line = y;
    font(s, 12, false);
    for (int i = 0; i < x->count; i++) {
        most = fmax(most, relevance[i]);
    }
    for (int i = 1; i + 1 < x->count; i++) {
        const double wide = advance(s, x->shown[i]) + 2 * pad;
        if (at + wide > right && at > left) {
            at = left;
            line += LINE + 5;
        }
        if (s->draw) {
            const double share = most > 0 ? relevance[i] / most : 0;
            cairo_set_source_rgb(s->cr, 1, 1 - 0.75 * share, 1 - 0.85 * share);
            cairo_rectangle(s->cr, at, line, wide, LINE + 2);
            cairo_fill(s->cr);
            color(s, 0);
            say(s, at + pad, line + LINE - 4, x->shown[i]);
        }
        at += wide + 1;
    }
    return line + LINE + 7 - y;
}

/* One picture's band; *height of it. */
static fc_status band(const sheet *s, int index, double y, double *height)
{
    const fc_explain_picture *p = &s->request->picture[index];
    const double top = y;
    fc_picture tile;
    FC_TRY(fci_explain_enlarge(&p->picture, TILE, &tile));
    for (int first = 0; first <= p->texts; first += s->columns) {
        const int left = p->texts + 1 - first, count = left < s->columns ? left : s->columns;
        y += row(s, index, &tile, y, first, count, false);
        y += row(s, index, &tile, y, first, count, true);
    }
    for (int i = 0; i < p->texts; i++) {
        if (s->found[index].tokens[i] != NULL && p->text[i].count > 3) { /* more than one token */
            y += shaded(s, &p->text[i], s->found[index].tokens[i], y);
        }
    }
    fc_picture_free(&tile);
    *height = y + MARGIN - top;
    return FC_OK;
}

/* The whole sheet drawn, or only its height found. */
static fc_status all(sheet *s, const char *caption, double *height)
{
    double y = MARGIN;
    font(s, 12, true);
    color(s, 0.2);
    say(s, MARGIN, y + 8, caption);
    y += LINE + GAP;
    for (int i = 0; i < s->request->pictures; i++) {
        double more;
        FC_TRY(band(s, i, y, &more));
        y += more;
        if (s->draw && i + 1 < s->request->pictures) {
            color(s, 0.8);
            cairo_rectangle(s->cr, MARGIN, y - MARGIN / 2.0, s->width - 2 * MARGIN, 1);
            cairo_fill(s->cr);
        }
    }
    *height = y;
    return FC_OK;
}

static fc_status save(cairo_surface_t *surface, const char *path)
{
    cairo_surface_flush(surface);
    const unsigned char *from = cairo_image_surface_get_data(surface);
    const int stride = cairo_image_surface_get_stride(surface);
    fc_picture out = {.width = cairo_image_surface_get_width(surface),
                      .height = cairo_image_surface_get_height(surface)};
    if (from == NULL) {
        return FC_FAIL(FC_RUNTIME, "%s cannot be drawn: %s", path,
                       cairo_status_to_string(cairo_surface_status(surface)));
    }
    out.rgb = fc_alloc((size_t)out.width * (size_t)out.height, 3);
    for (int y = 0; y < out.height; y++) {
        const uint32_t *pixel = (const uint32_t *)(const void *)(from + (size_t)y * (size_t)stride);
        uint8_t *rgb = out.rgb + (size_t)y * (size_t)out.width * 3;
        for (int x = 0; x < out.width; x++) {
            for (int c = 0; c < 3; c++) {
                rgb[3 * x + c] = (uint8_t)(pixel[x] >> (16 - 8 * c));
            }
        }
    }
    fc_status status = fc_picture_save(&out, path);
    fc_picture_free(&out);
    return status;
}

/* Wide enough for the band with most tiles side by side. */
static void measure_width(sheet *s)
{
    double tiles = 0;
    for (int i = 0; i < s->request->pictures; i++) {
        const fc_explain_picture *p = &s->request->picture[i];
        int width, height;
        fc_picture_longest(p->picture.width, p->picture.height, TILE, &width, &height);
        const int count = p->texts + 1 < COLUMNS ? p->texts + 1 : COLUMNS;
        tiles = fmax(tiles, count * (double)(width + GAP));
    }
    s->columns = COLUMNS;
    s->width = fmax(2 * MARGIN + KIND + tiles, 720);
}

fc_status fc_explain_sheet(const char *path, const fc_explain_request *r, const fc_explained *e,
                           const char *caption, int grid)
{
    sheet s = {.request = r, .found = e, .grid = grid};
    double height = 0;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, 1);
    s.cr = cairo_create(surface);
    measure_width(&s);
    fc_status status = all(&s, caption, &height);
    cairo_destroy(s.cr);
    cairo_surface_destroy(surface);
    FC_TRY(status);
    if (height > MOST_SIDE) {
        return FC_FAIL(FC_USAGE, "a sheet of %.0f x %.0f pixels is too large: name fewer pictures",
                       s.width, height);
    }
    surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)s.width, (int)height);
    s.cr = cairo_create(surface);
    s.draw = true;
    cairo_set_source_rgb(s.cr, 1, 1, 1);
    cairo_paint(s.cr);
    status = all(&s, caption, &height);
    cairo_destroy(s.cr);
    if (status == FC_OK) {
        status = save(surface, path);
    }
    cairo_surface_destroy(surface);
    return status;
}
