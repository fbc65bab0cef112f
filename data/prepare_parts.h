/* Between prepare.c and its parts: the recipe as a struct, and the work on one picture. */
#ifndef FC_DATA_PREPARE_PARTS_H
#define FC_DATA_PREPARE_PARTS_H

#include "core/yaml.h"
#include "data/coco.h"
#include "data/picture.h"
#include "data/prompts.h"
#include "data/store_writer.h"
#include "data/tokenizer.h"

typedef enum { FCI_SIZE_ORIGINAL, FCI_SIZE_SQUASH, FCI_SIZE_LONGEST } fci_size_rule;

typedef struct fci_recipe {
    char *output, *images, *captions, *instances, *panoptic, *masks,
        *region_captions; /* NULL: not given */
    char *vocabulary;     /* never NULL: the key or the file beside the output */
    int context_length;
    fc_prompts prompts;
    fci_size_rule size;
    int pixels; /* of squash and longest */
    fc_codec codec, crop_codec;
    int quality, crop_quality;
    bool crops;
    int crop_size;
    double crop_scale;
    bool text;
    double max_bad_fraction;
} fci_recipe;

/** Keys of source: coco. Checks that named files exist, not what is in them. */
FC_NODISCARD fc_status fci_recipe_read(fci_recipe *out, const fc_yaml *recipe);
void fci_recipe_free(fci_recipe *r);

typedef enum {
    FCI_PICTURE_FINE,
    FCI_PICTURE_MISSING,
    FCI_PICTURE_DAMAGED,
    FCI_PICTURE_OTHER_SIZE
} fci_picture_fate;

/* One picture on its way into the store. */
typedef struct fci_picture_job {
    int64_t image;    /* in */
    fc_status status; /* FC_OK also where the picture is dropped; else what ends the whole run */
    fci_picture_fate fate;
    char message[512]; /* of a dropped picture or a failure */
    uint8_t hash[FC_HASH_BYTES];
    uint8_t *bytes; /* the stored picture */
    size_t count;
    int width, height, captions, regions;
    fc_store_caption *caption;
    fc_store_region *region;
    int32_t *tokens;
    int64_t captions_cut, empty_boxes, boxes_outside, boxes_cut;
} fci_picture_job;

/** Everything about job->image: read, decode, resize, crop, encode, tokenize. Safe to run in
 * several threads. t may be NULL where there is no text. */
void fci_picture_job_run(fci_picture_job *job, const fci_recipe *recipe, const fci_coco *coco,
                         const fc_tokenizer *t);
void fci_picture_job_free(fci_picture_job *job);

/** Bounding boxes x y width height of panoptic segments: regions of one picture with segment >= 0
 * get them from the mask (segment id = R + 256 G + 65536 B). As the published evaluation has it,
 * the far edge is the last pixel itself, so width = last - first; a segment without pixels gets
 * width -1. */
void fci_segment_boxes(const fc_picture *mask, int count, const int64_t *segment, double (*box)[4]);

#endif
