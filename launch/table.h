/* Aligned tables for people: cells are filled row by row, widths come out by themselves. Columns
 * whose cells all look like numbers are set flush right, the others flush left. */
#ifndef FC_LAUNCH_TABLE_H
#define FC_LAUNCH_TABLE_H

#include "core/status.h"

#include <stdio.h>

typedef struct fc_table fc_table;

/** A table of so many columns; headings may be NULL (none). Texts are copied. */
fc_table *fc_table_create(int columns, const char *const *headings);
void fc_table_destroy(fc_table **table);
/** The next cell, left to right, then the next row. */
void fc_table_cell(fc_table *t, const char *fmt, ...) FC_PRINTF(2, 3);
/** A share as per cent with one decimal ("58.3"); "-" where it is NaN. */
void fc_table_percent(fc_table *t, double share);
/** Fill the rest of the row with nothing; no effect at a row's begin. */
void fc_table_end_row(fc_table *t);
/** A line across before the next row. */
void fc_table_rule(fc_table *t);
/** The whole table as text, every line ending in a newline; heap. */
char *fc_table_render(const fc_table *t);
void fc_table_print(const fc_table *t, FILE *to);

/** Columns a text takes on a terminal: characters of UTF-8, not bytes. */
int fc_text_width(const char *text);
/** True where the environment says that text is UTF-8. */
bool fc_text_utf8(void);

#endif
