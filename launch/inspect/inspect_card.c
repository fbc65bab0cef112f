#include "launch/inspect/inspect_card.h"

#include "core/memory.h"
#include "launch/inspect/inspect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <unistr.h>

enum { LINE = 16, THUMB = 48, GAP = 6, COLOURS = 10, LONGEST = 512 };
#define TEXT_SIZE 12.0

/* Where drawing is, and whether it is only measured. */
typedef struct pen {
    cairo_t *cr;
    double x, y;
    bool draw;
} pen;

void fci_card_colour(int i, int rgb[3])
{
    /* Far apart in hue, light enough for black digits. */
    static const uint8_t colours[COLOURS][3] = {
        {255, 82, 82}, {64, 196, 255}, {255, 214, 0},   {105, 240, 104}, {234, 128, 252},
        {255, 145, 0}, {29, 233, 182}, {255, 128, 171}, {174, 214, 30},  {156, 166, 255}};
    for (int k = 0; k < 3; k++) {
        rgb[k] = colours[i % COLOURS][k];
    }
}

static void set_colour(cairo_t *cr, int i)
{
    int rgb[3];
    fci_card_colour(i, rgb);
    cairo_set_source_rgb(cr, rgb[0] / 255.0, rgb[1] / 255.0, rgb[2] / 255.0);
}

static void set_font(cairo_t *cr, bool bold)
{
    cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, TEXT_SIZE);
}

/* ---- Text ---- */

/* A copy that cairo takes: one line, valid UTF-8, not endless; heap. */
static char *drawable(const char *text)
{
    char *out = fci_text_clipped(text, LONGEST);
    const uint8_t *bad;
    while ((bad = u8_check((const uint8_t *)out, strlen(out))) != NULL) {
        out[(const char *)bad - out] = '?';
    }
    return out;
}

static double width_of(cairo_t *cr, const char *text, size_t bytes)
{
    char part[4 * LONGEST + 8];
    cairo_text_extents_t extents;
    snprintf(part, sizeof part, "%.*s", (int)bytes, text);
    cairo_text_extents(cr, part, &extents);
    return extents.x_advance;
}

/* Bytes of the characters that fit into a width: whole words where there is one that fits. */
static size_t fitting(cairo_t *cr, const char *text, double width)
{
    size_t fit = 0, word = 0;
    for (size_t at = 0; text[at] != '\0';) {
        size_t next = at + 1;
        while (((unsigned char)text[next] & 0xc0) == 0x80) {
            next++;
        }
        if (width_of(cr, text, next) > width) {
            return word > 0 ? word : fit > 0 ? fit : next;
        }
        fit = at = next;
        if (text[at] == ' ' || text[at] == '\0') {
            word = at;
        }
    }
    return fit;
}

/* Text in at most `lines` lines of a width, "..." where there is more; moves the pen below it. */
static void write_text(pen *p, const char *text, double x, double width, int lines)
{
    char *left = drawable(text), *at = left;
    for (int line = 0; line < lines && (line == 0 || *at != '\0'); line++) {
        size_t bytes = fitting(p->cr, at, width);
        char *shown = fc_format("%.*s", (int)bytes, at);
        if (line == lines - 1 && at[bytes] != '\0') {
            fc_free(&shown);
            bytes = fitting(p->cr, at, width - width_of(p->cr, "...", 3));
            shown = fc_format("%.*s...", (int)bytes, at);
        }
        if (p->draw) {
            cairo_move_to(p->cr, x, p->y + TEXT_SIZE);
            cairo_show_text(p->cr, shown);
        }
        fc_free(&shown);
        p->y += LINE;
        at += bytes;
        at += strspn(at, " ");
    }
    fc_free(&left);
}

/* ---- Pictures ---- */

/* RGB pixels of any size at (x, y) of the sheet, resized to width x height. */
static fc_status put_pixels(cairo_t *cr, const fc_picture *p, double x, double y, int width,
                            int height)
{
    size_t pixels = (size_t)width * (size_t)height;
    uint8_t *rgb = fc_alloc(pixels, 3);
    fc_status status =
        fc_resize(p, (fc_rect){0, 0, p->width, p->height}, FC_BILINEAR, width, height, rgb);
    if (status == FC_OK) {
        cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
        int stride = cairo_image_surface_get_stride(surface);
        uint8_t *rows = cairo_image_surface_get_data(surface);
        cairo_surface_flush(surface);
        for (int r = 0; rows != NULL && r < height; r++) {
            for (int c = 0; c < width; c++) {
                const uint8_t *v = rgb + 3 * ((size_t)r * (size_t)width + (size_t)c);
                uint32_t value = (uint32_t)v[0] << 16 | (uint32_t)v[1] << 8 | v[2];
                memcpy(rows + (size_t)r * (size_t)stride + 4 * (size_t)c, &value, sizeof value);
            }
        }
        cairo_surface_mark_dirty(surface);
        cairo_set_source_surface(cr, surface, x, y);
        cairo_paint(cr);
        cairo_surface_destroy(surface);
    }
    fc_free(&rgb);
    return status;
}

static void empty_frame(pen *p, double width, double height)
{
    char *reason = fc_strdup(fc_error_message());
    fc_error_clear();
    cairo_set_source_rgb(p->cr, 0.85, 0.85, 0.85);
    cairo_rectangle(p->cr, p->x, p->y, width, height);
    cairo_fill(p->cr);
    cairo_set_source_rgb(p->cr, 0.7, 0, 0);
    pen inside = {p->cr, p->x, p->y + GAP, true};
    write_text(&inside, reason, p->x + GAP, width - 2 * GAP, 4);
    fc_free(&reason);
}

/* The number of a box, in its colour, left top at (x, y). */
static void tag(cairo_t *cr, int i, double x, double y)
{
    char number[16];
    snprintf(number, sizeof number, "%d", i + 1);
    set_font(cr, true);
    double width = width_of(cr, number, strlen(number)) + 6;
    set_colour(cr, i);
    cairo_rectangle(cr, x, y, width, LINE);
    cairo_fill(cr);
    cairo_set_source_rgb(cr, 0, 0, 0);
    cairo_move_to(cr, x + 3, y + TEXT_SIZE);
    cairo_show_text(cr, number);
}

/* A box on its picture: coloured on a dark rim, so that it shows on any ground. */
static void outline(cairo_t *cr, int i, double x, double y, double width, double height)
{
    cairo_rectangle(cr, x, y, width, height);
    cairo_set_source_rgba(cr, 0, 0, 0, 0.6);
    cairo_set_line_width(cr, 4);
    cairo_stroke_preserve(cr);
    set_colour(cr, i);
    cairo_set_line_width(cr, 2);
    cairo_stroke(cr);
}

static int boxes_shown(const fc_store *s, int64_t image)
{
    if (s->region_of == NULL) {
        return 0;
    }
    uint64_t count = s->region_of[image + 1] - s->region_of[image];
    return count < FCI_CARD_BOXES ? (int)count : FCI_CARD_BOXES;
}

/* A number sits in its box's left top corner, above a box that it would hide (below where there is
 * no room), and to the right of a number that is there already. */
static void place_tags(cairo_t *cr, const float *boxes, int count, double x, double y, double sx,
                       double sy)
{
    double taken[FCI_CARD_BOXES][2];
    for (int i = 0; i < count; i++) {
        const float *b = boxes + 4 * i;
        double at = x + (double)b[0] * sx - 1, top = y + (double)b[1] * sy - 1;
        if ((double)(b[2] - b[0]) * sx < 2 * LINE && (double)(b[3] - b[1]) * sy < 2 * LINE) {
            top = top - LINE >= y ? top - LINE : y + (double)b[3] * sy + 1;
        }
        for (int k = 0; k < i; k++) {
            if (fabs(taken[k][0] - at) < LINE && fabs(taken[k][1] - top) < LINE) {
                at = taken[k][0] + LINE + 1;
                k = -1; /* look at all again */
            }
        }
        taken[i][0] = at;
        taken[i][1] = top;
        tag(cr, i, at, top);
    }
}

/* The picture with its boxes; moves the pen below it. */
static fc_status draw_picture(pen *p, fc_store *s, int64_t image)
{
    double scale =
        fmin((double)FCI_CARD_WIDTH / s->width[image], (double)FCI_CARD_PICTURE / s->height[image]);
    int width = (int)fmax(1, s->width[image] * scale + 0.5),
        height = (int)fmax(1, s->height[image] * scale + 0.5);
    double sx = (double)width / s->width[image], sy = (double)height / s->height[image];
    fc_picture picture;
    if (p->draw && fc_store_picture(s, image, &picture) != FC_OK) {
        empty_frame(p, width, height);
    } else if (p->draw) {
        fc_status status = put_pixels(p->cr, &picture, p->x, p->y, width, height);
        fc_picture_free(&picture);
        FC_TRY(status);
        int count = boxes_shown(s, image);
        const float *boxes = count > 0 ? s->boxes + 4 * s->region_of[image] : NULL;
        cairo_save(p->cr);
        cairo_rectangle(p->cr, p->x, p->y, width, height);
        cairo_clip(p->cr); /* a damaged box stays within its picture */
        for (int i = 0; i < count; i++) {
            const float *b = boxes + 4 * i;
            outline(p->cr, i, p->x + (double)b[0] * sx, p->y + (double)b[1] * sy,
                    (double)(b[2] - b[0]) * sx, (double)(b[3] - b[1]) * sy);
        }
        place_tags(p->cr, boxes, count, p->x, p->y, sx, sy);
        cairo_restore(p->cr);
    }
    p->y += height + GAP;
    return FC_OK;
}

/* ---- Captions and crops ---- */

/* A region's crop as training takes it. */
static fc_status draw_crop(pen *p, fc_store *s, int64_t image, int64_t region)
{
    uint8_t rgb[3 * THUMB * THUMB];
    fc_store_scratch scratch = {0};
    fc_status status = fc_store_fit_crop(s, region, image, NULL, THUMB, &scratch, rgb);
    fc_store_scratch_fini(&scratch);
    if (status != FC_OK) {
        empty_frame(p, THUMB, THUMB);
        return FC_OK;
    }
    fc_picture crop = {THUMB, THUMB, rgb};
    return put_pixels(p->cr, &crop, p->x, p->y, THUMB, THUMB);
}

static char *region_title(const fc_store *s, int64_t region)
{
    int32_t k = s->has_category ? s->category[region] : -1;
    const char *category = k >= 0 && k < s->categories ? s->category_names[k] : "";
    const float *b = s->boxes + 4 * region;
    char score[32] = "";
    if (s->has_score) {
        snprintf(score, sizeof score, "  score %.2f", (double)s->score[region]);
    }
    return fc_format("%s%s%.0f x %.0f%s", category, category[0] == '\0' ? "" : "  ",
                     (double)(b[2] - b[0]), (double)(b[3] - b[1]), score);
}

static fc_status draw_region(pen *p, fc_store *s, int64_t image, int i)
{
    int64_t region = (int64_t)s->region_of[image] + i;
    double top = p->y, x = p->x + 26;
    if (p->draw) {
        tag(p->cr, i, p->x, top);
        pen thumb = {p->cr, x, top, true};
        FC_TRY(draw_crop(&thumb, s, image, region));
        set_colour(p->cr, i);
        cairo_rectangle(p->cr, x, top, THUMB, THUMB);
        cairo_set_line_width(p->cr, 2);
        cairo_stroke(p->cr);
    }
    x += THUMB + GAP;
    double width = p->x + FCI_CARD_WIDTH - x;
    char *title = region_title(s, region), *caption = NULL;
    cairo_set_source_rgb(p->cr, 0, 0, 0);
    set_font(p->cr, true);
    write_text(p, title, x, width, 1);
    fc_free(&title);
    FC_TRY(fci_text_of_item(s, FC_REGION_TOKENS, region, &caption));
    set_font(p->cr, false);
    write_text(p, caption, x, width, 2);
    fc_free(&caption);
    p->y = fmax(p->y, top + THUMB) + GAP;
    return FC_OK;
}

static fc_status draw_head(pen *p, fc_store *s, int64_t image)
{
    char *name = NULL, *caption = NULL, id[32] = "";
    if (s->image_id != NULL) {
        snprintf(id, sizeof id, "id %lld  ", (long long)s->image_id[image]);
    }
    FC_TRY(fc_store_text(s, "images/name", image, &name));
    char *title = fc_format("%lld  %s%s%s%d x %d", (long long)image, id, name == NULL ? "" : name,
                            name == NULL ? "" : "  ", s->width[image], s->height[image]);
    fc_free(&name);
    cairo_set_source_rgb(p->cr, 0, 0, 0);
    set_font(p->cr, true);
    write_text(p, title, p->x, FCI_CARD_WIDTH, 1);
    fc_free(&title);
    if (s->caption_of != NULL && s->caption_of[image] < s->caption_of[image + 1]) {
        FC_TRY(fci_text_of_item(s, FC_CAPTION_TOKENS, (int64_t)s->caption_of[image], &caption));
        set_font(p->cr, false);
        write_text(p, caption, p->x, FCI_CARD_WIDTH, 2);
        fc_free(&caption);
    }
    p->y += GAP;
    return FC_OK;
}

fc_status fci_card(cairo_t *cr, fc_store *s, int64_t image, double x, double y, bool draw,
                   double *height)
{
    pen p = {cr, x, y, draw};
    FC_TRY(draw_head(&p, s, image));
    FC_TRY(draw_picture(&p, s, image));
    int shown = boxes_shown(s, image);
    for (int i = 0; i < shown; i++) {
        FC_TRY(draw_region(&p, s, image, i));
    }
    int64_t all =
        s->region_of == NULL ? 0 : (int64_t)(s->region_of[image + 1] - s->region_of[image]);
    if (all > shown) {
        char more[64];
        snprintf(more, sizeof more, "and %s more region%s", fci_text_count(all - shown),
                 all - shown > 1 ? "s" : "");
        cairo_set_source_rgb(cr, 0.4, 0.4, 0.4);
        set_font(cr, false);
        write_text(&p, more, x, FCI_CARD_WIDTH, 1);
    }
    *height = p.y - y;
    return FC_OK;
}
