/* Cells of a random grid over a picture, in place of annotated regions (CLIPSelf's patches; Wu et
 * al., ICLR 2024). m rows by n columns, 1 <= m <= split and m/2 <= n <= 2m, n <= split, every such
 * pair as likely as any other: with split 6 there are 24, with 15 cells on average, 13 of
 * them where at most 20 are taken. */
#ifndef FC_DATA_GRID_H
#define FC_DATA_GRID_H

#include "core/rng.h"

typedef struct fc_grid {
    int rows, cols;
} fc_grid;

fc_grid fc_grid_draw(fc_rng *rng, int split);
/** Cells a picture on average, of which at most `most` are taken. */
double fc_grid_mean_cells(int split, int most);
/** Cell i, row by row: x0 y0 x1 y1 as fractions of the picture. */
void fc_grid_cell(const fc_grid *grid, int64_t i, float box[4]);

#endif
