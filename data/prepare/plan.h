/* The plan of a store: every picture in the order of the store with all its sources say about it.
 * It lies on disk, so that any rank can work on any stretch of it and memory does not grow with the
 * number of pictures. plan_build.h makes one. */
#ifndef FC_DATA_PLAN_H
#define FC_DATA_PLAN_H

#include "core/status.h"
#include "data/prepare/pack.h"
#include "data/prepare/prepare_counts.h"

typedef struct fci_plan_region {
    double box[4];       /* x y width height in pixels, as the source has it */
    int64_t segment;     /* panoptic stuff: the box is that of this segment in the mask; else -1 */
    int64_t category;    /* row of categories or -1; while the plan is made: the source's id */
    double score;        /* 1 where there is none */
    const char *caption; /* NULL: none */
} fci_plan_region;

typedef struct fci_plan_image {
    int64_t id;
    const char *name;      /* the source's file name */
    const char *file;      /* of the picture, or the shard it lies in */
    int64_t offset, bytes; /* in the shard; bytes -1: the whole file */
    const char *mask;      /* file name of the panoptic mask or NULL */
    int width, height;     /* 0: not said */
    int captions, regions;
    const char **caption;    /* owned, as region; strings are borrowed */
    fci_plan_region *region; /* in file order; instances before panoptic */
    int caption_room, region_room;
} fci_plan_image;

typedef struct fci_plan_category {
    int64_t id;
    char *name;
    bool isthing;
} fci_plan_category;

void fci_plan_image_pack(fci_bytes *out, const fci_plan_image *image);
/** Strings stay in the buffer that is unpacked; arrays of *out are used again. FC_DATA: damaged. */
FC_NODISCARD fc_status fci_plan_image_unpack(fci_plan_image *out, fci_unpack *from);
void fci_plan_image_free(fci_plan_image *image);

typedef struct fci_plan {
    char *path;
    int fd;
    int64_t images, categories;
    bool has_scores;
    fci_plan_category *category; /* by id */
    fci_counts counts;           /* of making the plan */
    uint64_t offsets_at;         /* in the file */
} fci_plan;

/** fingerprint (FC_HASH_BYTES): what the plan was made from. *same is false, and nothing open,
 * where there is no plan, not a whole one, or one of something else. */
FC_NODISCARD fc_status fci_plan_open(fci_plan *out, const char *path, const uint8_t *fingerprint,
                                     bool *same);
void fci_plan_close(fci_plan *plan);
/** Pictures [first, first + count) as packed bytes; *bytes is replaced. Several threads and ranks
 * may read. FC_RUNTIME: the disk. */
FC_NODISCARD fc_status fci_plan_read(const fci_plan *plan, int64_t first, int64_t count,
                                     fci_bytes *bytes);

#endif
