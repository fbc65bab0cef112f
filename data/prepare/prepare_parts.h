/* Between prepare.c and its parts: the recipe as a struct, the work on one picture, and the pieces
 * in which a store is made.
 *
 * A run has three stages. One rank makes the plan (plan.h) in the folder OUTPUT.work. All ranks
 * work on blocks of it, each block once and by one rank, and keep each as a file there that appears
 * under its name when it is whole: what an interrupted run has done stays done. One rank puts the
 * blocks together in order. So the outcome depends on neither ranks nor threads. */
#ifndef FC_DATA_PREPARE_PARTS_H
#define FC_DATA_PREPARE_PARTS_H

#include "core/replace.h"
#include "core/yaml.h"
#include "data/picture/picture.h"
#include "data/prepare/plan.h"
#include "data/prepare/prepare.h"
#include "data/prepare/prompts.h"
#include "data/prepare/proposals.h"
#include "data/store/content_hash.h"
#include "data/store/store_writer.h"
#include "data/text/tokenizer.h"

#include <stdio.h>

enum { FCI_BLOCK = 256 }; /* pictures a block */

typedef enum { FCI_SIZE_ORIGINAL, FCI_SIZE_SQUASH, FCI_SIZE_LONGEST } fci_size_rule;

/* In the order of the words of `source`. */
typedef enum {
    FCI_SOURCE_COCO,
    FCI_SOURCE_FOLDER,
    FCI_SOURCE_SHARDS,
    FCI_SOURCE_RETRIEVAL,
    FCI_SOURCE_KARPATHY,
    FCI_SOURCE_SYNTHETIC
} fci_source;

typedef struct fci_recipe {
    fci_source source;
    char *output, *work;
    char *images, *captions, *instances, *panoptic, *masks, *region_captions, *detections,
        *retrieval, *karpathy, *splits; /* NULL: not given */
    char **shards;                      /* (shard_count) */
    int shard_count;
    char *vocabulary; /* never NULL: the key or the file beside the output */
    int context_length;
    fc_prompts prompts;
    char *prompts_file; /* NULL: none, or built in */
    fci_size_rule size;
    int pixels; /* of squash and longest */
    fc_codec codec, crop_codec;
    int quality, crop_quality;
    bool crops;
    int crop_size;
    double crop_scale;
    bool text;
    double max_bad_fraction;
    int64_t samples; /* 0: all */
    fci_size_filter filter;
    int min_captions, min_regions;
    bool filter_regions; /* by `proposals` */
    fci_proposals proposals;
    bool drop_duplicates, drop_repeated;
    char *export; /* folder for crops as shards instead of a store; NULL: a store */
    double export_scale;
    int export_size; /* 0: as large as they are */
    int export_quality;
    char *resolved;                     /* the recipe as YAML */
    uint8_t fingerprint[FC_HASH_BYTES]; /* of the recipe and its files */
} fci_recipe;

/** All keys but those of source: synthetic. Checks that named files exist, not what is in them. */
FC_NODISCARD fc_status fci_recipe_read(fci_recipe *out, const fc_yaml *recipe);
/** Its part about where pictures, captions and regions come from. */
FC_NODISCARD fc_status fci_recipe_read_inputs(fci_recipe *r, const fc_yaml *recipe);
void fci_recipe_free(fci_recipe *r);

/* Typed values of keys that may be absent: *out stays as it is then. */
FC_NODISCARD fc_status fci_recipe_text(const fc_yaml *m, const char *key, const char **out);
FC_NODISCARD fc_status fci_recipe_int(const fc_yaml *m, const char *key, int64_t low, int64_t high,
                                      int *out);
FC_NODISCARD fc_status fci_recipe_real(const fc_yaml *m, const char *key, double low, double high,
                                       double *out);
FC_NODISCARD fc_status fci_recipe_bool(const fc_yaml *m, const char *key, bool *out);
/** The mapping under a key. *out is NULL where it is absent, null or none; *none says the latter
 * two. */
FC_NODISCARD fc_status fci_recipe_mapping(const fc_yaml *m, const char *key, const char *example,
                                          const fc_yaml **out, bool *none);

/** Make the plan, or find the one an interrupted run has left, and open it. One rank. *resumed: how
 * it was. */
FC_NODISCARD fc_status fci_prepare_plan(const fci_recipe *recipe, fci_plan *plan, bool *resumed);
/** Open the plan that one rank has made. */
FC_NODISCARD fc_status fci_prepare_open_plan(const fci_recipe *recipe, fci_plan *plan);
/** Remove the folder of the work. */
void fci_prepare_remove_work(const fci_recipe *recipe);

/* One picture on its way into the store. */
typedef struct fci_picture_job {
    fci_plan_image *plan; /* in */
    fc_status status;  /* FC_OK also where the picture is dropped; else what ends the whole run */
    bool dropped;      /* and counted */
    char message[512]; /* of a failure, or of a picture that is missing or damaged; else "" */
    fci_counts counts;
    uint8_t hash[FC_HASH_BYTES];
    fc_picture picture; /* decoded; only while the job runs */
    uint8_t *bytes;     /* the stored picture */
    size_t count;
    int width, height, captions, regions;
    fc_store_caption *caption;
    fc_store_region *region;
    int32_t *tokens;
    fci_bytes shard; /* exporting: members of the picture's crops, one after another */
} fci_picture_job;

/** Everything about job->plan for a store: read, decode, resize, crop, encode, tokenize. Safe to
 * run in several threads. t may be NULL where there is no text. */
void fci_picture_job_run(fci_picture_job *job, const fci_recipe *recipe, const fc_tokenizer *t);
/** For exported crops. */
void fci_crops_job_run(fci_picture_job *job, const fci_recipe *recipe);
void fci_picture_job_free(fci_picture_job *job);

/** Read and decode job->plan into job->picture and find its boxes (regions, 4); false where it is
 * dropped or failed. source (may be NULL) gets the file's bytes, heap, and their codec. */
bool fci_job_load(fci_picture_job *job, const fci_recipe *recipe, double (*boxes)[4],
                  uint8_t **source, size_t *count, fc_codec *codec);
/** x y width height -> x0 y0 x1 y1 inside the picture; false (and counted) where nothing is left.
 */
bool fci_job_place_box(fci_picture_job *job, const double box[4], float out[4]);
/** Give up a picture: it is counted as `why`, and with it all that belongs to it. */
void fci_job_drop(fci_picture_job *job, fci_count_name why);

/** Bounding boxes x y width height of panoptic segments: regions of one picture with segment >= 0
 * get them from the mask (segment id = R + 256 G + 65536 B). As the published evaluation has it,
 * the far edge is the last pixel itself, so width = last - first; a segment without pixels gets
 * width -1. */
void fci_segment_boxes(const fc_picture *mask, int count, const int64_t *segment, double (*box)[4]);

/* A block of a store as a file. */
typedef struct fci_part_writer {
    fc_replace *file;
    fci_bytes out, hashes;
    int64_t kept;
} fci_part_writer;

FC_NODISCARD fc_status fci_part_begin(fci_part_writer *out, const char *path);
FC_NODISCARD fc_status fci_part_add(fci_part_writer *w, const fci_picture_job *job);
/** Ends the writer either way; where status is not FC_OK nothing is left. */
FC_NODISCARD fc_status fci_part_end(fci_part_writer *w, const fci_counts *counts, fc_status status);

typedef struct fci_part {
    char *path;
    FILE *file;
    int64_t kept, next;
    fci_counts counts;
    uint8_t (*hash)[FC_HASH_BYTES]; /* (kept) */
    fci_bytes record;               /* of the picture read last */
    fc_store_image image;           /* it; everything points into record, caption and region */
    fc_store_caption *caption;
    fc_store_region *region;
    int caption_room, region_room;
} fci_part;

/** FC_NOINPUT: there is none; FC_DATA: not a whole one. */
FC_NODISCARD fc_status fci_part_open(fci_part *out, const char *path);
void fci_part_close(fci_part *p);
/** Read the next picture into p->image. */
FC_NODISCARD fc_status fci_part_next(fci_part *p);

/** Name of a block's part, and of its shard of crops. Heap. */
char *fci_block_path(const fci_recipe *recipe, int64_t block);
char *fci_shard_path(const fci_recipe *recipe, int64_t block);
int64_t fci_block_count(const fci_plan *plan);
/** This rank's share of the blocks that are not there yet. FC_INTERRUPTED: the watch said stop. */
FC_NODISCARD fc_status fci_blocks_run(const fci_recipe *recipe, const fci_plan *plan,
                                      const fc_tokenizer *t, const fc_prepare_watch *watch);

/** The counts of the plan and of all blocks. */
FC_NODISCARD fc_status fci_blocks_counts(const fci_recipe *recipe, const fci_plan *plan,
                                         fci_counts *counts);

/** Put the blocks together. One rank. counts: all of them. FC_DATA: more bad pictures than
 * max_bad_fraction. */
FC_NODISCARD fc_status fci_prepare_store(const fci_recipe *recipe, const fci_plan *plan,
                                         const fc_tokenizer *t, const fc_prepare_watch *watch,
                                         fci_counts *counts);
/** FC_DATA where more pictures were bad than the recipe allows. */
FC_NODISCARD fc_status fci_check_bad(const fci_recipe *recipe, const fci_counts *counts,
                                     int64_t listed, const char *example);

#endif
