#include "data/grid.h"

static int fewest_cols(int rows)
{
    return (rows + 1) / 2;
}

static int most_cols(int rows, int split)
{
    return 2 * rows < split ? 2 * rows : split;
}

static int count_pairs(int split)
{
    int count = 0;
    for (int m = 1; m <= split; m++) {
        count += most_cols(m, split) - fewest_cols(m) + 1;
    }
    return count;
}

fc_grid fc_grid_draw(fc_rng *rng, int split)
{
    int which = (int)fc_rng_below(rng, (uint64_t)count_pairs(split)), m = 1;
    for (; which > most_cols(m, split) - fewest_cols(m); m++) {
        which -= most_cols(m, split) - fewest_cols(m) + 1;
    }
    return (fc_grid){.rows = m, .cols = fewest_cols(m) + which};
}

double fc_grid_mean_cells(int split, int most)
{
    double sum = 0;
    for (int m = 1; m <= split; m++) {
        for (int n = fewest_cols(m); n <= most_cols(m, split); n++) {
            sum += m * n < most ? m * n : most;
        }
    }
    return sum / count_pairs(split);
}

void fc_grid_cell(const fc_grid *grid, int64_t i, float box[4])
{
    int row = (int)(i / grid->cols), col = (int)(i % grid->cols);
    box[0] = (float)((double)col / grid->cols);
    box[1] = (float)((double)row / grid->rows);
    box[2] = (float)((double)(col + 1) / grid->cols);
    box[3] = (float)((double)(row + 1) / grid->rows);
}
