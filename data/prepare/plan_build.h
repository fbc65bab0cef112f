/* Making the plan of a store out of what its sources say, in whatever order they say it: pictures,
 * and captions, regions and masks that refer to them by number or by name. They are joined by
 * sorting on disk (spill.h), so that memory stays bounded whatever their number. */
#ifndef FC_DATA_PLAN_BUILD_H
#define FC_DATA_PLAN_BUILD_H

#include "data/prepare/proposals.h"

typedef struct fci_plan_options {
    const char *folder;      /* of the plan and the temporary files */
    const char *images;      /* folder of pictures that name no file of their own */
    int64_t samples;         /* keep so many pictures; 0: all */
    fci_size_filter size;    /* of the pictures that samples counts */
    fci_proposals proposals; /* applied where filter_regions */
    bool filter_regions;
    bool drop_repeated; /* region captions that their picture has already */
    size_t memory;      /* bytes to sort at a time, in each of at most six sorts */
} fci_plan_options;

typedef struct fci_plan_builder fci_plan_builder;

typedef struct fci_listed {
    bool has_id; /* else the number is the name's where all names are numbers, or the position */
    int64_t id;
    const char *name;      /* FILE or FOLDER/FILE, below images */
    const char *file;      /* NULL: IMAGES/name */
    int64_t offset, bytes; /* in file; bytes -1: all of it */
    int width, height;     /* 0: not said */
} fci_listed;

/* How a picture is referred to. */
typedef struct fci_ref {
    enum { FCI_BY_POSITION, FCI_BY_ID, FCI_BY_NAME } by;
    int64_t number;   /* position in the order of listing, or id */
    const char *name; /* with or without its suffix .jpg, .jpeg or .png */
} fci_ref;

FC_NODISCARD fc_status fci_builder_create(fci_plan_builder **out, const fci_plan_options *options);
void fci_builder_destroy(fci_plan_builder **b);
fci_counts *fci_builder_counts(fci_plan_builder *b);
int64_t fci_builder_pictures(const fci_plan_builder *b);

FC_NODISCARD fc_status fci_builder_picture(fci_plan_builder *b, const fci_listed *picture);
FC_NODISCARD fc_status fci_builder_caption(fci_plan_builder *b, const fci_ref *of,
                                           const char *text);
/** region->category: the source's id, -1 for none. caption may be NULL. */
FC_NODISCARD fc_status fci_builder_region(fci_plan_builder *b, const fci_ref *of,
                                          const fci_plan_region *region);
/** The panoptic mask of a picture. */
FC_NODISCARD fc_status fci_builder_mask(fci_plan_builder *b, const fci_ref *of, const char *file);
/** The sentence of every region of this key: fci_region_key, or the published FILE_X_Y_W_H.jpg. */
FC_NODISCARD fc_status fci_builder_region_caption(fci_plan_builder *b, const char *key,
                                                  const char *text);
void fci_builder_category(fci_plan_builder *b, int64_t id, const char *name, bool isthing);
/** There are detector scores. */
void fci_builder_scored(fci_plan_builder *b);
/** Panoptic adds only its stuff: things come from instances. */
void fci_builder_stuff_only(fci_plan_builder *b);

/** Join everything and write `path`. FC_DATA: an id that occurs twice, an unknown category. */
FC_NODISCARD fc_status fci_builder_finish(fci_plan_builder *b, const char *path,
                                          const uint8_t *fingerprint);

/** The key of a region as exported crops carry it: the picture's name and the box in whole pixels,
 * truncated towards 0, "." and "/" written as "_" (a webdataset key holds neither). Heap. */
char *fci_region_key(const char *name, const double box[4]);

#endif
