/* One PNG a map. */
#include "core/memory.h"
#include "launch/explain/explain_parts.h"
#include "launch/explain/heatmap.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 448, SLUG = 48 }; /* pixels of an overlay's longest side; letters of a name */

/* "A red star, left" -> "a-red-star-left". */
static void slug(const char *text, char *out)
{
    int n = 0;
    for (; *text != '\0' && n < SLUG; text++) {
        if (isalnum((unsigned char)*text)) {
            out[n++] = (char)tolower((unsigned char)*text);
        } else if (n > 0 && out[n - 1] != '-') {
            out[n++] = '-';
        }
    }
    while (n > 0 && out[n - 1] == '-') {
        n--;
    }
    out[n] = '\0';
}

fc_status fci_explain_enlarge(const fc_picture *from, int side, fc_picture *out)
{
    *out = (fc_picture){0};
    fc_picture_longest(from->width, from->height, side, &out->width, &out->height);
    out->rgb = fc_alloc((size_t)out->width * (size_t)out->height, 3);
    const fc_rect all = {0, 0, from->width, from->height};
    fc_status status = fc_resize(from, all, FC_BICUBIC, out->width, out->height, out->rgb);
    if (status != FC_OK) {
        fc_picture_free(out);
    }
    return status;
}

void fci_explain_overlay(const fc_picture *picture, const double *map, int grid, fc_picture *out)
{
    const size_t patches = (size_t)grid * (size_t)grid;
    double *copy = memcpy(fc_alloc(patches, sizeof *copy), map, patches * sizeof *copy);
    fc_heatmap_overlay(out, picture, copy, grid);
    fc_free(&copy);
}

fc_status fc_explain_overlays(const char *folder, int index, const fc_explain_picture *picture,
                              const fc_explained *e, int grid)
{
    fc_picture large;
    FC_TRY(fci_explain_enlarge(&picture->picture, SIDE, &large));
    fc_status status = FC_OK;
    for (int i = 0; status == FC_OK && i < 2 * picture->texts; i++) {
        const int text = i / 2;
        const bool dense = i % 2 == 1;
        char name[SLUG + 1];
        slug(picture->text[text].text, name);
        char *path = fc_format("%s/%d-%02d-%s-%s.png", folder, index, text,
                               dense ? "dense" : "relevance", name);
        fc_picture overlay = {0};
        fci_explain_overlay(&large, (dense ? e->dense : e->relevance) + text * grid * grid, grid,
                            &overlay);
        status = fc_picture_save(&overlay, path);
        fc_picture_free(&overlay);
        fc_free(&path);
    }
    fc_picture_free(&large);
    return status;
}
