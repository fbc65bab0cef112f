/* Which pictures are good enough, and which of a detector's boxes become regions. */
#ifndef FC_DATA_PROPOSALS_H
#define FC_DATA_PROPOSALS_H

#include "data/prepare/plan.h"

typedef struct fci_size_filter {
    int min_side;      /* pixels of the shorter side; 0: any */
    double max_aspect; /* longer side over shorter; 0: any */
} fci_size_filter;

/** What a picture of this size is counted as, or -1 where it passes. */
int fci_size_fault(const fci_size_filter *rules, int width, int height);

typedef struct fci_proposals {
    double min_score;          /* lower scores go */
    double nms_iou;            /* of two boxes that overlap more, the lower score goes; 1: none */
    double min_side, max_side; /* pixels, of both sides; max_side 0: no limit */
    int max_boxes;             /* the best of a picture; 0: no limit */
} fci_proposals;

/** Keep the regions of a picture that pass, best score first (equal scores in their order), and
 * count the others. The rules apply in the order of the struct's members, boxes of size limits
 * before overlaps, so that a box that goes suppresses none. Categories play no part in overlaps. */
void fci_proposals_filter(const fci_proposals *rules, fci_plan_image *image, fci_counts *counts);

#endif
