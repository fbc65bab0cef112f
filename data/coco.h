/* COCO's annotation files in memory: what a store needs of captions, instances, panoptic and
 * region-caption JSON, without polygons. Files are streamed; what stays is about 70 bytes a region
 * and the sentences. */
#ifndef FC_DATA_COCO_H
#define FC_DATA_COCO_H

#include "core/status.h"

#include <stdint.h>

#define FCI_COCO_NO_TEXT UINT64_MAX

typedef struct fci_coco_files { /* each may be NULL, but not the first three at once */
    const char *captions, *instances, *panoptic, *region_captions;
} fci_coco_files;

typedef struct fci_coco_image {
    int64_t id;
    uint64_t name;     /* in text */
    uint64_t mask;     /* file name of the panoptic mask in text, or FCI_COCO_NO_TEXT */
    int width, height; /* 0: not said */
} fci_coco_image;

typedef struct fci_coco_caption {
    int64_t image; /* index; while reading: id */
    uint64_t text;
} fci_coco_caption;

typedef struct fci_coco_region {
    int64_t image;    /* index; while reading: id */
    double box[4];    /* x y width height in pixels, as written in the file */
    int64_t segment;  /* panoptic stuff: the box is that of this segment in the mask; else -1 */
    int64_t category; /* row of categories or -1; while reading: id */
    uint64_t text;    /* caption or FCI_COCO_NO_TEXT */
    float score;      /* 1 where the file has none */
} fci_coco_region;

typedef struct fci_coco_category {
    int64_t id;
    uint64_t name;
    bool isthing;
} fci_coco_category;

typedef struct fci_coco {
    int64_t images, captions, regions, categories;
    fci_coco_image *image;       /* in file order */
    fci_coco_caption *caption;   /* by image, in file order within one */
    int64_t *caption_of;         /* (images + 1) captions of image i */
    fci_coco_region *region;     /* by image, in file order within one; instances before panoptic */
    int64_t *region_of;          /* (images + 1) */
    fci_coco_category *category; /* by id */
    char *text;                  /* zero-terminated strings one after another */
    bool has_scores;
    /* what was left out */
    int64_t crowd, captions_elsewhere,
        regions_elsewhere; /* elsewhere: of pictures that are not listed */
    int64_t region_captions, region_captions_unused;
} fci_coco;

/** Read the files. Pictures are those of the captions file, else of instances, else of panoptic.
 * With instances and panoptic both, things come from instances and panoptic adds its stuff;
 * categories are panoptic's. Crowd annotations of instances are left out (those of panoptic stay,
 * as in the published evaluation). FC_NOINPUT: a file is missing; FC_DATA: names file and line, or
 * the annotation. */
FC_NODISCARD fc_status fci_coco_read(fci_coco *out, const fci_coco_files *files);
void fci_coco_free(fci_coco *c);

#endif
