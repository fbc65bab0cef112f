#include "data/prepare/proposals.h"

#include "core/memory.h"

#include <math.h>
#include <stdlib.h>

int fci_size_fault(const fci_size_filter *rules, int width, int height)
{
    int longer = width > height ? width : height, shorter = width > height ? height : width;
    if (shorter < rules->min_side) {
        return FCI_COUNT_pictures_too_small;
    }
    if (rules->max_aspect > 0 && longer > rules->max_aspect * shorter) {
        return FCI_COUNT_pictures_too_long;
    }
    return -1;
}

/* Best first; NaN scores last. Stable through the address: qsort is not. */
static int by_score(const void *a, const void *b)
{
    const fci_plan_region *const *x = a, *const *y = b;
    double p = isnan((*x)->score) ? -INFINITY : (*x)->score;
    double q = isnan((*y)->score) ? -INFINITY : (*y)->score;
    return p != q ? (p < q) - (p > q) : (*x > *y) - (*x < *y);
}

static double overlap(const double a[4], const double b[4])
{
    double w = fmin(a[0] + a[2], b[0] + b[2]) - fmax(a[0], b[0]);
    double h = fmin(a[1] + a[3], b[1] + b[3]) - fmax(a[1], b[1]);
    if (!(w > 0 && h > 0)) {
        return 0;
    }
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h);
}

/* The count of what is wrong with a box, or -1. Boxes that are not finite are left to whoever
 * places them in their picture. */
static int fault(const fci_proposals *rules, const fci_plan_region *r)
{
    double side_min = fmin(r->box[2], r->box[3]), side_max = fmax(r->box[2], r->box[3]);
    if (!(r->score >= rules->min_score)) {
        return FCI_COUNT_regions_low_score;
    }
    if (side_min < rules->min_side) {
        return FCI_COUNT_regions_too_small;
    }
    if (rules->max_side > 0 && side_max > rules->max_side) {
        return FCI_COUNT_regions_too_large;
    }
    return -1;
}

void fci_proposals_filter(const fci_proposals *rules, fci_plan_image *image, fci_counts *counts)
{
    if (image->regions == 0) {
        return;
    }
    fci_plan_region **order = fc_alloc((size_t)image->regions, sizeof *order);
    fci_plan_region *kept = fc_alloc((size_t)image->regions, sizeof *kept);
    int n = 0;
    for (int i = 0; i < image->regions; i++) {
        order[i] = &image->region[i];
    }
    qsort(order, (size_t)image->regions, sizeof(fci_plan_region *), by_score);
    for (int i = 0; i < image->regions; i++) {
        int why = fault(rules, order[i]);
        for (int k = 0; k < n && why < 0 && rules->nms_iou < 1; k++) {
            if (overlap(order[i]->box, kept[k].box) > rules->nms_iou) {
                why = FCI_COUNT_regions_suppressed;
            }
        }
        if (why < 0 && rules->max_boxes > 0 && n == rules->max_boxes) {
            why = FCI_COUNT_regions_over_limit;
        }
        if (why >= 0) {
            counts->of[why]++;
        } else {
            kept[n++] = *order[i];
        }
    }
    for (int i = 0; i < n; i++) {
        image->region[i] = kept[i];
    }
    image->regions = n;
    fc_free(&order);
    fc_free(&kept);
}
