/* fc_roi_align: central differences, and plain sampling point by point. */
#include "core/memory.h"
#include "tests/check.h"
#include "tests/op/grad.h"

#include <math.h>
#include <string.h>

enum { GRID = 5, PICTURES = 3, COLS = 4, BOXES = 12 };

/* Inside, on borders, whole, thinner than a cell, outside in part and wholly, empty, reversed. */
static const float BOX[BOXES][4] = {{0.1F, 0.2F, 0.55F, 0.9F},
                                    {0, 0, 1, 1},
                                    {0.31F, 0.4F, 0.33F, 0.43F},
                                    {-0.3F, -0.5F, 0.4F, 0.2F},
                                    {0.8F, 0.7F, 1.6F, 1.3F},
                                    {0.5F, 0.5F, 0.5F, 0.5F},
                                    {0.6F, 0.2F, 0.3F, 0.9F},
                                    {2.5F, 2.5F, 3, 3},
                                    {0.2F, 0, 0.4F, 0.2F},
                                    {0.05F, 0.75F, 0.95F, 1},
                                    {0.123F, 0.456F, 0.789F, 0.987F},
                                    {-1.5F, -1.5F, 2.5F, 2.5F}};
/* In no order. */
static const int32_t IMAGE[BOXES] = {2, 0, 1, 0, 0, 1, 1, 2, 2, 0, 2, 1};

static fc_tensor *roi(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_roi_align(tape, in[0], GRID, BOX[0], IMAGE, BOXES);
}

static fc_tensor *roi_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, fc_roi_align(tape, in[0], GRID, BOX[2], IMAGE + 2, 6),
                          fc_roi_align(tape, in[0], GRID, BOX[0], IMAGE, 2));
}

static fc_tensor *roi_none(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_roi_align(tape, in[0], GRID, BOX[0], IMAGE, 0);
}

static double at_cell(const double *dense, int64_t picture, int64_t y, int64_t x, int channel)
{
    return dense[((picture * GRID + y) * GRID + x) * COLS + channel];
}

/* One bilinear sample as METHOD.md words it. */
static double sample(const double *dense, int64_t picture, double y, double x, int channel)
{
    if (y < -1 || y > GRID || x < -1 || x > GRID) {
        return 0;
    }
    y = fmin(fmax(y, 0), GRID - 1);
    x = fmin(fmax(x, 0), GRID - 1);
    const int64_t y0 = (int64_t)y, x0 = (int64_t)x;
    const int64_t y1 = y0 + 1 < GRID ? y0 + 1 : y0, x1 = x0 + 1 < GRID ? x0 + 1 : x0;
    const double fy = y - (double)y0, fx = x - (double)x0;
    return (1 - fy) * (1 - fx) * at_cell(dense, picture, y0, x0, channel) +
           (1 - fy) * fx * at_cell(dense, picture, y0, x1, channel) +
           fy * (1 - fx) * at_cell(dense, picture, y1, x0, channel) +
           fy * fx * at_cell(dense, picture, y1, x1, channel);
}

static double box_value(const double *dense, const float *box, int64_t picture, int channel)
{
    const float x0 = box[0] * GRID - 0.5F, y0 = box[1] * GRID - 0.5F;
    const float width = box[2] * GRID - 0.5F - x0, height = box[3] * GRID - 0.5F - y0;
    const int nx = (int)ceilf(width), ny = (int)ceilf(height);
    double sum = 0;
    for (int i = 0; i < ny; i++) {
        for (int j = 0; j < nx; j++) {
            sum += sample(dense, picture, (double)y0 + (i + 0.5) * (double)height / ny,
                          (double)x0 + (j + 0.5) * (double)width / nx, channel);
        }
    }
    return sum / fmax(1, ny * nx);
}

static void check_values(void)
{
    const fc_grad_case c = {.name = "roi_align values",
                            .leaves = 1,
                            .shape = {{PICTURES * GRID * GRID, COLS}},
                            .forward = roi};
    fc_grad_result r;
    fc_grad_run(&c, 9, FC_F64, &r);
    double want[BOXES * COLS];
    for (int i = 0; i < BOXES; i++) {
        for (int k = 0; k < COLS; k++) {
            want[i * COLS + k] = box_value(r.leaf[0], BOX[i], IMAGE[i], k);
        }
    }
    FC_CHECK_NEAR(fc_check_max_abs(r.y, want, BOXES * COLS), 0, 1e-13);
    for (int k = 0; k < COLS; k++) {
        FC_CHECK(r.y[5 * COLS + k] == 0 && r.y[6 * COLS + k] == 0 && r.y[7 * COLS + k] == 0);
        double mean = 0;
        for (int i = 0; i < GRID * GRID; i++) {
            mean += r.leaf[0][i * COLS + k] / (GRID * GRID);
        }
        FC_CHECK_NEAR(r.y[COLS + k], mean, 1e-13); /* the whole picture: every cell once */
    }
    fc_grad_result_fini(&r);
}

static void check_failures(void)
{
    fc_tape *tape = fc_tape_create(FC_F32);
    fc_tensor *dense = fc_tape_matrix(tape, 8, 3, false);
    const float good[4] = {0, 0, 1, 1}, bad[4] = {0, NAN, 1, 1};
    const int32_t first = 0, third = 2;
    FC_CHECK(fc_roi_align(tape, dense, 3, good, &first, 1) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "roi_align: dense (8,3) on a grid of side 3");
    fc_tape_reset(tape);
    dense = fc_tape_matrix(tape, 8, 3, false);
    FC_CHECK(fc_roi_align(tape, dense, 2, good, &third, 1) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "roi_align: box 0 is (0 0 1 1) of picture 2 of 2");
    fc_tape_reset(tape);
    dense = fc_tape_matrix(tape, 8, 3, false);
    FC_CHECK(fc_roi_align(tape, dense, 2, bad, &first, 1) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "roi_align: box 0 is (0 nan 1 1)");
    fc_tape_destroy(&tape);
}

int main(void)
{
    const fc_grad_case cases[] = {
        {"roi_align", 1, {{PICTURES * GRID * GRID, COLS}}, .forward = roi},
        {"roi_align, used twice", 1, {{PICTURES * GRID * GRID, COLS}}, .forward = roi_twice},
        {"roi_align, no boxes", 1, {{PICTURES * GRID * GRID, COLS}}, .forward = roi_none},
        {"roi_align, no pictures", 1, {{0, COLS}}, .forward = roi_none},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fc_check_gradient(&cases[i]);
    }
    check_values();
    check_failures();
    return fc_check_end();
}
