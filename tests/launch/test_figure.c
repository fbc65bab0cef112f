/* Figures: what is drawn lies on the page, however the legend's entries fall into lines. */
#include "core/memory.h"
#include "data/picture/picture.h"
#include "launch/report/figure.h"
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CURVES = 7, LENGTHS = 60 };

/* Rows at the bottom that are white all over. */
static int white_rows(const char *path)
{
    fc_picture p;
    if (!FC_CHECK_OK(fc_picture_load(&p, path))) {
        return 0;
    }
    int rows = 0;
    for (int y = p.height - 1; y >= 0; y--, rows++) {
        const uint8_t *row = p.rgb + (size_t)y * (size_t)p.width * 3;
        for (int i = 0; i < 3 * p.width; i++) {
            if (row[i] != 255) {
                fc_picture_free(&p);
                return rows;
            }
        }
    }
    fc_picture_free(&p);
    return rows;
}

/* A first label of every length: somewhere the last one just fits, and just does not. */
static void test_legend(const char *path)
{
    static const double x[2] = {0, 1}, y[2] = {1, 2};
    static const char *const names[CURVES] = {"pretrain: GC",  "row1: SD", "row2: GC",
                                              "row3: GC+SD",   "row4: RC", "row5: GC+RC",
                                              "row6: GC+RC+SD"};
    char label[CURVES][96];
    fc_series series[CURVES];
    for (int length = 0; length < LENGTHS; length++) {
        for (int i = 0; i < CURVES; i++) {
            bool first = i == 0;
            snprintf(label[i], sizeof label[i], "%.*s%s", first ? length : 0,
                     "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii", names[i]);
            series[i] = (fc_series){.label = label[i], .style = i, .n = 2, .x = x, .y = y};
        }
        fc_panel panel = {
            .title = "one", .x_label = "x", .y_label = "y", .count = CURVES, .series = series};
        fc_figure figure = {.title = "legend", .panel_count = 1, .panel = &panel};
        FC_CHECK_OK(fc_figure_png(&figure, path));
        const int margin = 8; /* points left below the last line, in which texts end above it */
        if (!FC_CHECK(white_rows(path) >= margin)) {
            fprintf(stderr, "%d letters: the legend runs off the page\n", length);
        }
    }
}

int main(void)
{
    char folder[] = "/tmp/fineclip-figure-XXXXXX";
    FC_CHECK(mkdtemp(folder) != NULL);
    char *path = fc_format("%s/figure.png", folder);
    test_legend(path);
    unlink(path);
    rmdir(folder);
    fc_free(&path);
    return fc_check_end();
}
