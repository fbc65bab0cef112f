/* Maps over patches: what becomes of flat ones, mass in boxes, resizing, colours, overlays. */
#include "core/memory.h"
#include "launch/explain/heatmap.h"
#include "tests/check.h"

#include <math.h>

static void test_normalize(void)
{
    double map[4] = {2, 4, 3, 2}, flat[3] = {7, 7, 7}, bad[3] = {0, NAN, 1},
           endless[2] = {0, INFINITY};
    const double want[4] = {0, 1, 0.5, 0};
    fc_heatmap_normalize(map, 4);
    FC_CHECK_NEAR(fc_check_max_abs(map, want, 4), 0, 1e-15);
    fc_heatmap_normalize(flat, 3);
    fc_heatmap_normalize(bad, 3);
    fc_heatmap_normalize(endless, 2);
    for (int i = 0; i < 3; i++) {
        FC_CHECK(flat[i] == 0 && bad[i] == 0 && endless[i % 2] == 0);
    }
}

static void test_boxes(void)
{
    enum { GRID = 4 };
    double flat[GRID * GRID], point[GRID * GRID] = {0}, none[GRID * GRID] = {0};
    const double odd[4] = {0.1, 0.2, 0.55, 0.9}, patch[4] = {0.5, 0.25, 0.75, 0.5};
    const double half[4] = {0.625, 0.25, 0.75, 0.5}, all[4] = {0, 0, 1, 1},
                 empty[4] = {.3, .3, .3, .3};
    for (int i = 0; i < GRID * GRID; i++) {
        flat[i] = 0.3;
    }
    point[1 * GRID + 2] = 5; /* row 1, column 2 */
    FC_CHECK_NEAR(fc_heatmap_lift(flat, GRID, odd), 1, 1e-12);
    FC_CHECK_NEAR(fc_heatmap_lift(flat, GRID, all), 1, 1e-12);
    FC_CHECK_NEAR(fc_heatmap_lift(point, GRID, patch), 16, 1e-12);
    FC_CHECK_NEAR(fc_heatmap_lift(point, GRID, half), 16, 1e-12); /* half the mass, half the area */
    FC_CHECK_NEAR(fc_heatmap_lift(point, GRID, (double[]){0, 0.25, 0.5, 0.5}), 0, 1e-12);
    FC_CHECK_NEAR(fc_heatmap_lift(point, GRID, (double[]){0, 0, 1, 0.5}), 2, 1e-12);
    FC_CHECK_NEAR(fc_heatmap_lift(none, GRID, odd), 0, 0);
    FC_CHECK_NEAR(fc_heatmap_lift(flat, GRID, empty), 0, 0);
    FC_CHECK(fc_heatmap_peak_inside(point, GRID, patch));
    FC_CHECK(fc_heatmap_peak_inside(point, GRID, half)); /* its border goes through the centre */
    FC_CHECK(!fc_heatmap_peak_inside(point, GRID, (double[]){0.7, 0, 1, 1}));
    FC_CHECK(
        fc_heatmap_peak_inside(flat, GRID, (double[]){0, 0, 0.2, 0.2})); /* the first of equals */
}

static void test_resize(void)
{
    const double map[4] = {0, 4, 8, 12}; /* 4 x + 8 y */
    double same[4], wide[4 * 2], one[6];
    const double row[4] = {0, 1, 3, 4};
    fc_heatmap_resize(map, 2, 2, 2, same);
    FC_CHECK_NEAR(fc_check_max_abs(same, map, 4), 0, 1e-15);
    fc_heatmap_resize(map, 2, 4, 2, wide);
    for (int i = 0; i < 8; i++) {
        FC_CHECK_NEAR(wide[i], row[i % 4] + i / 4 * 8, 1e-14);
    }
    fc_heatmap_resize((double[]){3}, 1, 3, 2, one);
    for (int i = 0; i < 6; i++) {
        FC_CHECK_NEAR(one[i], 3, 0);
    }
}

static void test_color(void)
{
    static const double want[5][4] = {
        {0, 0, 0, 0.5}, {0.25, 0, 0.5, 1}, {0.5, 0.5, 1, 0.5}, {0.75, 1, 0.5, 0}, {1, 0.5, 0, 0}};
    for (int i = 0; i < 5; i++) {
        double rgb[3];
        fc_heatmap_color(want[i][0], rgb);
        FC_CHECK_NEAR(fc_check_max_abs(rgb, want[i] + 1, 3), 0, 1e-15);
    }
}

/* Grey 0 and 200 stretched to 0 and 1; map 0 left, 1 right; the largest sum is 1.5. */
static void test_overlay(void)
{
    uint8_t rgb[4 * 3] = {0, 0, 0, 200, 200, 200, 0, 0, 0, 200, 200, 200};
    const uint8_t want[4 * 3] = {0, 0, 85, 255, 170, 170, 0, 0, 85, 255, 170, 170};
    double map[4] = {5, 9, 5, 9};
    const fc_picture picture = {.width = 2, .height = 2, .rgb = rgb};
    fc_picture out;
    fc_heatmap_overlay(&out, &picture, map, 2);
    FC_CHECK(out.width == 2 && out.height == 2);
    for (int i = 0; i < 12; i++) {
        FC_CHECK_INT(out.rgb[i], want[i]);
    }
    fc_picture_free(&out);
}

int main(void)
{
    test_normalize();
    test_boxes();
    test_resize();
    test_color();
    test_overlay();
    return fc_check_end();
}
