#include "launch/report/sheet.h"

#include "core/memory.h"
#include "launch/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Text that grows ---- */

void fc_grow_bytes(fc_growing *g, const char *bytes, size_t count)
{
    if (g->bytes + count + 1 > g->capacity) {
        g->capacity = 2 * (g->bytes + count + 1);
        g->text = fc_realloc(g->text, g->capacity, 1);
    }
    memcpy(g->text + g->bytes, bytes, count);
    g->bytes += count;
    g->text[g->bytes] = '\0';
}

static char *format_list(const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int length = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    FC_ASSERT(length >= 0);
    char *text = fc_alloc((size_t)length + 1, 1);
    vsnprintf(text, (size_t)length + 1, fmt, ap);
    return text;
}

void fc_grow(fc_growing *g, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = format_list(fmt, ap);
    va_end(ap);
    fc_grow_bytes(g, text, strlen(text));
    fc_free(&text);
}

/* ---- Cells ---- */

fc_sheet *fc_sheet_create(void)
{
    return fc_alloc(1, sizeof(fc_sheet));
}

void fc_sheet_destroy(fc_sheet **sheet)
{
    if (*sheet == NULL) {
        return;
    }
    for (int i = 0; i < (*sheet)->cells; i++) {
        fc_free(&(*sheet)->cell[i]);
    }
    fc_free(&(*sheet)->cell);
    fc_free(&(*sheet)->text_column);
    fc_free(sheet);
}

static void add(fc_sheet *s, char *text)
{
    if (s->cells == s->capacity) {
        s->capacity = 2 * s->capacity + 32;
        s->cell = fc_realloc(s->cell, (size_t)s->capacity, sizeof *s->cell);
    }
    s->cell[s->cells++] = text;
}

void fc_sheet_column(fc_sheet *s, bool text, const char *fmt, ...)
{
    FC_ASSERT(s->cells == s->columns);
    s->text_column = fc_realloc(s->text_column, (size_t)s->columns + 1, sizeof *s->text_column);
    s->text_column[s->columns++] = text;
    va_list ap;
    va_start(ap, fmt);
    add(s, format_list(fmt, ap));
    va_end(ap);
}

void fc_sheet_cell(fc_sheet *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(s, format_list(fmt, ap));
    va_end(ap);
}

int fc_sheet_rows(const fc_sheet *s)
{
    return s->columns > 0 ? s->cells / s->columns - 1 : 0;
}

/* ---- Markdown ---- */

static char *escaped_markdown(const char *text)
{
    char *out = fc_alloc(2 * strlen(text) + 1, 1), *to = out;
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            *to++ = '\\';
        }
        *to++ = *text == '\n' ? ' ' : *text;
    }
    return out;
}

static void pad(fc_growing *g, const char *text, int width, bool left)
{
    int blanks = width - fc_text_width(text);
    blanks = blanks > 0 ? blanks : 0;
    fc_grow(g, " %*s%s%*s |", left ? 0 : blanks, "", text, left ? blanks : 0, "");
}

char *fc_sheet_markdown(const fc_sheet *s)
{
    char **cell = fc_alloc((size_t)s->cells, sizeof *cell);
    int *width = fc_alloc((size_t)s->columns, sizeof *width);
    for (int i = 0; i < s->cells; i++) {
        cell[i] = escaped_markdown(s->cell[i]);
        int w = fc_text_width(cell[i]), *most = &width[i % s->columns];
        *most = w > *most ? w : *most;
        *most = *most < 3 ? 3 : *most; /* what the rule below the heading takes */
    }
    fc_growing g = {0};
    for (int i = 0; i < s->cells; i++) {
        int column = i % s->columns;
        if (column == 0) {
            fc_grow(&g, "|");
        }
        pad(&g, cell[i], width[column], s->text_column[column]);
        if (column == s->columns - 1) {
            fc_grow(&g, "\n");
        }
        if (i == s->columns - 1) {
            fc_grow(&g, "|");
            for (int c = 0; c < s->columns; c++) {
                fc_grow(&g, " ");
                for (int k = 0; k < width[c] - 1; k++) {
                    fc_grow(&g, "-");
                }
                fc_grow(&g, s->text_column[c] ? "- |" : ": |");
            }
            fc_grow(&g, "\n");
        }
    }
    for (int i = 0; i < s->cells; i++) {
        fc_free(&cell[i]);
    }
    fc_free(&cell);
    fc_free(&width);
    return g.text;
}

/* ---- HTML ---- */

char *fc_html_text(const char *text)
{
    fc_growing g = {0};
    fc_grow_bytes(&g, "", 0);
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            fc_grow(&g, "&lt;");
            break;
        case '>':
            fc_grow(&g, "&gt;");
            break;
        case '&':
            fc_grow(&g, "&amp;");
            break;
        case '"':
            fc_grow(&g, "&quot;");
            break;
        default:
            fc_grow_bytes(&g, text, 1);
        }
    }
    return g.text;
}

char *fc_sheet_html(const fc_sheet *s)
{
    fc_growing g = {0};
    fc_grow(&g, "<table>\n");
    for (int i = 0; i < s->cells; i++) {
        int column = i % s->columns;
        const char *tag = i < s->columns ? "th" : "td";
        char *text = fc_html_text(s->cell[i]), *sign = strstr(text, "+-");
        fc_grow(&g, "%s<%s%s>", column == 0 ? "<tr>" : "", tag,
                s->text_column[column] ? " class=\"text\"" : "");
        if (sign != NULL) {
            memcpy(sign, "\xc2\xb1", 2); /* in UTF-8 it takes two bytes as well */
        }
        fc_grow(&g, "%s", text);
        fc_grow(&g, "</%s>%s", tag, column == s->columns - 1 ? "</tr>\n" : "");
        fc_free(&text);
    }
    fc_grow(&g, "</table>\n");
    return g.text;
}
