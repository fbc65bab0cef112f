#include "launch/table.h"

#include "core/memory.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2 }; /* blanks between columns */

struct fc_table {
    int columns;
    bool headed;
    int cells, capacity; /* headings included, row by row */
    char **cell;
    int *rules; /* rows (counted as the cells are) with a line before them */
    int rule_count;
};

int fc_text_width(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80 ? 1 : 0;
    }
    return width;
}

bool fc_text_utf8(void)
{
    const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0') {
            return strstr(value, "UTF-8") != NULL || strstr(value, "utf8") != NULL ||
                   strstr(value, "UTF8") != NULL || strstr(value, "utf-8") != NULL;
        }
    }
    return false;
}

static void add(fc_table *t, char *text)
{
    if (t->cells == t->capacity) {
        t->capacity = 2 * t->capacity + 32;
        t->cell = fc_realloc(t->cell, (size_t)t->capacity, sizeof *t->cell);
    }
    t->cell[t->cells++] = text;
}

fc_table *fc_table_create(int columns, const char *const *headings)
{
    FC_ASSERT(columns > 0);
    fc_table *t = fc_alloc(1, sizeof *t);
    t->columns = columns;
    t->headed = headings != NULL;
    for (int i = 0; headings != NULL && i < columns; i++) {
        add(t, fc_strdup(headings[i]));
    }
    if (t->headed) {
        fc_table_rule(t);
    }
    return t;
}

void fc_table_destroy(fc_table **table)
{
    if (*table == NULL) {
        return;
    }
    for (int i = 0; i < (*table)->cells; i++) {
        fc_free(&(*table)->cell[i]);
    }
    fc_free(&(*table)->cell);
    fc_free(&(*table)->rules);
    fc_free(table);
}

void fc_table_cell(fc_table *t, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    add(t, fc_strdup(text));
}

void fc_table_percent(fc_table *t, double share)
{
    if (isnan(share)) {
        fc_table_cell(t, "-");
    } else {
        fc_table_cell(t, "%.1f", 100 * share);
    }
}

void fc_table_end_row(fc_table *t)
{
    while (t->cells % t->columns != 0) {
        add(t, fc_strdup(""));
    }
}

void fc_table_rule(fc_table *t)
{
    fc_table_end_row(t);
    t->rules = fc_realloc(t->rules, (size_t)t->rule_count + 1, sizeof *t->rules);
    t->rules[t->rule_count++] = t->cells / t->columns;
}

/* Numbers, and what stands for a missing one. */
static bool looks_numeric(const char *text)
{
    if (text[0] == '\0' || strcmp(text, "-") == 0 || strcmp(text, "nan") == 0) {
        return true;
    }
    text += *text == '+' || *text == '-' || *text == '<' || *text == '>' ? 1 : 0;
    return isdigit((unsigned char)text[0]) != 0 ||
           (text[0] == '.' && isdigit((unsigned char)text[1]) != 0);
}

typedef struct text_buffer {
    char *text;
    size_t used, capacity;
} text_buffer;

static void put(text_buffer *b, const char *bytes, size_t count)
{
    if (b->used + count + 1 > b->capacity) {
        b->capacity = 2 * (b->used + count + 1);
        b->text = fc_realloc(b->text, b->capacity, 1);
    }
    memcpy(b->text + b->used, bytes, count);
    b->used += count;
    b->text[b->used] = '\0';
}

static void put_many(text_buffer *b, char c, int count)
{
    for (int i = 0; i < count; i++) {
        put(b, &c, 1);
    }
}

static void end_line(text_buffer *b)
{
    while (b->used > 0 && b->text[b->used - 1] == ' ') {
        b->used--;
    }
    put(b, "\n", 1);
}

static void measure(const fc_table *t, int column, int *width, bool *right)
{
    *width = 0;
    *right = true;
    for (int i = column; i < t->cells; i += t->columns) {
        int w = fc_text_width(t->cell[i]);
        *width = w > *width ? w : *width;
        if (!(t->headed && i == column)) {
            *right = *right && looks_numeric(t->cell[i]);
        }
    }
}

char *fc_table_render(const fc_table *t)
{
    int *width = fc_alloc((size_t)t->columns, sizeof *width), total = 0;
    bool *right = fc_alloc((size_t)t->columns, sizeof *right);
    for (int c = 0; c < t->columns; c++) {
        measure(t, c, &width[c], &right[c]);
        total += width[c] + (c > 0 ? GAP : 0);
    }
    text_buffer b = {0};
    put(&b, "", 0);
    for (int i = 0, rule = 0; i <= t->cells; i++) {
        int c = i % t->columns;
        for (; c == 0 && rule < t->rule_count && t->rules[rule] == i / t->columns; rule++) {
            put_many(&b, '-', total);
            end_line(&b);
        }
        if (i == t->cells) {
            break;
        }
        int blanks = width[c] - fc_text_width(t->cell[i]);
        put_many(&b, ' ', (c > 0 ? GAP : 0) + (right[c] ? blanks : 0));
        put(&b, t->cell[i], strlen(t->cell[i]));
        put_many(&b, ' ', right[c] ? 0 : blanks);
        if (c == t->columns - 1 || i == t->cells - 1) {
            end_line(&b);
        }
    }
    fc_free(&width);
    fc_free(&right);
    return b.text;
}

void fc_table_print(const fc_table *t, FILE *to)
{
    char *text = fc_table_render(t);
    fputs(text, to);
    fc_free(&text);
}
