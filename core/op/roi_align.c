#include "core/op/shared.h"

#include <math.h>

typedef struct roi_ctx {
    fc_tensor *dense, *y;
    fci_roi_align_args args;
} roi_ctx;

/* Far outside any picture; keeps the number of samples within reason. */
static const float FAR = 1000.0F;

static void roi_backward(fc_tape *tape, void *ctx)
{
    roi_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.ddense = fci_op_grad(tape, c->dense);
    FCI_RUN(tape, roi_align_bwd, &c->args);
}

fc_tensor *fc_roi_align(fc_tape *tape, fc_tensor *dense, int grid, const float *boxes,
                        const int32_t *image, int64_t n)
{
    if (dense == NULL || !fci_op_ready(tape, "roi_align", 1, &dense, 0)) {
        return NULL;
    }
    const int64_t cells = (int64_t)grid * grid;
    if (grid < 1 || dense->rows % cells != 0) {
        return fci_tape_fail(tape, FC_BUG, "roi_align: dense (%lld,%lld) on a grid of side %d",
                             (long long)dense->rows, (long long)dense->cols, grid);
    }
    const int64_t pictures = dense->rows / cells;
    for (int64_t i = 0; i < n; i++) {
        const float *b = boxes + 4 * i;
        bool ok = image[i] >= 0 && image[i] < pictures;
        for (int j = 0; j < 4; j++) {
            ok = ok && fabsf(b[j]) <= FAR;
        }
        if (!ok) {
            return fci_tape_fail(tape, FC_BUG,
                                 "roi_align: box %lld is (%g %g %g %g) of picture %d of %lld",
                                 (long long)i, (double)b[0], (double)b[1], (double)b[2],
                                 (double)b[3], image[i], (long long)pictures);
        }
    }
    fc_tensor *y = fc_tape_matrix(tape, n, dense->cols, fci_needs_grad(tape, 1, &dense));
    fci_roi_align_args args = {.pictures = pictures,
                               .cols = dense->cols,
                               .count = n,
                               .grid = grid,
                               .boxes = fci_tape_copy(tape, boxes, (size_t)n * 4 * sizeof *boxes),
                               .image = fci_tape_copy(tape, image, (size_t)n * sizeof *image),
                               .dense = dense->data,
                               .y = y->data};
    FCI_RUN(tape, roi_align_fwd, &args);
    roi_ctx *c = fci_tape_node(tape, roi_backward, sizeof *c, y, 1, &dense);
    if (c != NULL) {
        *c = (roi_ctx){dense, y, args};
    }
    return y;
}
