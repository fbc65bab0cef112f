/* A table that goes into files: as Markdown, which people paste, or as HTML. */
#ifndef FC_LAUNCH_SHEET_H
#define FC_LAUNCH_SHEET_H

#include "core/status.h"

typedef struct fc_sheet {
    int columns, cells, capacity; /* the heading's cells included, row by row */
    char **cell;
    bool *text_column; /* (columns) set flush left; others flush right */
} fc_sheet;

fc_sheet *fc_sheet_create(void);
void fc_sheet_destroy(fc_sheet **sheet);
/** Add a column, before the first cell. text: words, not numbers. */
void fc_sheet_column(fc_sheet *sheet, bool text, const char *fmt, ...) FC_PRINTF(3, 4);
/** The next cell, left to right, then the next row. */
void fc_sheet_cell(fc_sheet *sheet, const char *fmt, ...) FC_PRINTF(2, 3);
int fc_sheet_rows(const fc_sheet *sheet);

/** Columns are padded, so that it reads as it stands; | and line breaks are escaped. Heap. */
char *fc_sheet_markdown(const fc_sheet *sheet);
/** <table> ... </table>; "+-" becomes the sign. Heap. */
char *fc_sheet_html(const fc_sheet *sheet);
/** Text with <, >, & and quotes escaped; heap. */
char *fc_html_text(const char *text);

/** Text that grows; heap. */
typedef struct fc_growing {
    char *text;
    size_t bytes, capacity;
} fc_growing;
void fc_grow(fc_growing *g, const char *fmt, ...) FC_PRINTF(2, 3);
void fc_grow_bytes(fc_growing *g, const char *bytes, size_t count);

#endif
