/* Maps over the patches of a picture: how much of one lies in a box, and how one looks.
 *
 * A map is (grid, grid) values, rows first; patch (y, x) covers its share of the picture. */
#ifndef FC_LAUNCH_HEATMAP_H
#define FC_LAUNCH_HEATMAP_H

#include "data/picture/picture.h"

/** Min-max to [0, 1], in place. A constant map, and one with a value that is not finite, becomes
 * zeros. */
void fc_heatmap_normalize(double *map, int64_t count);

/** How many times denser the map is inside a box than over the picture: the box's share of the
 * map's mass over its share of the area; 1 for a constant map, 0 where there is no mass.
 *  map   no value below 0
 *  box   x0 y0 x1 y1 as fractions; patches it cuts count by their part inside */
double fc_heatmap_lift(const double *map, int grid, const double box[4]);
/** True where the centre of the largest value's patch (the first of several) is inside the box. */
bool fc_heatmap_peak_inside(const double *map, int grid, const double box[4]);

/** The map resized to width x height (bilinear, half-pixel centres; out rows first). */
void fc_heatmap_resize(const double *map, int grid, int width, int height, double *out);
/** Blue over green to red (the usual "jet"): value in [0, 1] to red, green, blue in [0, 1]. */
void fc_heatmap_color(double value, double rgb[3]);
/** The picture under the map: the normalised map resized and coloured, plus the picture stretched
 * to [0, 1], divided by the largest value of the sum, as such maps are usually shown. `map` is
 * normalised in place; one of zeros puts the colour of 0 everywhere. *out is the caller's
 * (fc_picture_free). */
void fc_heatmap_overlay(fc_picture *out, const fc_picture *picture, double *map, int grid);

#endif
