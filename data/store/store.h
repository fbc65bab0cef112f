/* Reading an HDF5 store (FORMATS.md section 4): index arrays in memory, bytes by offset, never
 * whole.
 *
 * N images, C captions, R regions, K categories, P prompts. All offsets and counts are checked when
 * opening; tokens and boxes when they are read (fc_store_check reads everything). One handle a
 * process; reading is locked inside, so that loader threads may share it. */
#ifndef FC_DATA_STORE_H
#define FC_DATA_STORE_H

#include "data/picture/picture.h"
#include "data/store/content_hash.h"

typedef struct fc_store {
    char *path;
    int64_t images, captions, regions, categories, prompts;
    int context_length, vocab_size;     /* 0 where the attribute is absent */
    int crop_size;                      /* 0: no crops stored */
    double crop_scale;                  /* 1.5 where absent */
    char *tokenizer, *created, *source; /* NULL where absent */
    fc_codec codec, crop_codec;
    bool has_crops, has_category, has_score;

    uint64_t *image_offsets;              /* (N+1) into /images/bytes */
    int32_t *height, *width;              /* (N) */
    int64_t *image_id;                    /* (N), NULL if absent */
    uint8_t (*image_hash)[FC_HASH_BYTES]; /* (N) of the source's bytes; NULL if absent */
    uint64_t *caption_of;                 /* (N+1) captions/image_offsets; NULL: no captions */
    uint64_t *caption_offsets;            /* (C+1) into captions/tokens */
    uint64_t *region_of;                  /* (N+1) regions/image_offsets; NULL: no regions */
    uint64_t *region_offsets;             /* (R+1) into regions/tokens */
    float *boxes;                         /* (R,4) x0 y0 x1 y1 in pixels of the stored picture */
    int32_t *category;                    /* (R) or NULL */
    float *score;                         /* (R) or NULL */
    uint64_t *crop_offsets;               /* (R+1) or NULL */
    int32_t *crop_height, *crop_width;
    char **category_names;      /* (K) */
    uint8_t *category_isthing;  /* (K) */
    uint64_t *prompt_offsets;   /* (P+1) into categories/prompt_tokens */
    uint64_t *category_offsets; /* (K+1) into prompts */

    struct fci_store_files *files; /* HDF5 handles */
} fc_store;

/** Open and check what can be checked without reading pictures. FC_NOINPUT: no such file; FC_DATA:
 * not a store, version unknown, incomplete, offsets or shapes wrong: the message names
 * file:/dataset and index. */
FC_NODISCARD fc_status fc_store_open(fc_store **out, const char *path);
void fc_store_close(fc_store **store);

/** Picture i decoded (freed by fc_picture_free). FC_DATA names store, dataset and index. */
FC_NODISCARD fc_status fc_store_picture(fc_store *s, int64_t image, fc_picture *out);
/** Stored crop of region i decoded; only where has_crops. */
FC_NODISCARD fc_status fc_store_crop(fc_store *s, int64_t region, fc_picture *out);

/* Memory that one thread's reads use again and again; all zeros at first. */
typedef struct fc_store_scratch {
    uint8_t *bytes, *rgb;
    size_t room, room_rgb;
} fc_store_scratch;
void fc_store_scratch_fini(fc_store_scratch *scratch);

/** As fc_store_picture, into (height, width, 3) of the caller's. */
FC_NODISCARD fc_status fc_store_picture_into(fc_store *s, int64_t image, fc_store_scratch *scratch,
                                             uint8_t *rgb);
/** As fc_store_picture; the pixels are the scratch memory's until its next use. */
FC_NODISCARD fc_status fc_store_picture_borrow(fc_store *s, int64_t image,
                                               fc_store_scratch *scratch, fc_picture *out);
/** A region's crop as training sees it, (size,size,3) at `out`: the stored one, resized where it is
 *  of another size, else cut from the picture.
 *  picture  of image `image`, which the region belongs to, where it is decoded already; else NULL
 *  scratch  not the one that the picture was borrowed from
 *  Errors   FC_DATA where what is needed does not decode */
FC_NODISCARD fc_status fc_store_fit_crop(fc_store *s, int64_t region, int64_t image,
                                         const fc_picture *picture, int size,
                                         fc_store_scratch *scratch, uint8_t *out);

typedef enum { FC_CAPTION_TOKENS, FC_REGION_TOKENS, FC_PROMPT_TOKENS } fc_token_set;
/** Token ids of item i into ids (room for max); *count 0 is a region without a caption. FC_DATA: id
 * outside [0, vocab), more than max ids, or an item of one id. */
FC_NODISCARD fc_status fc_store_tokens(fc_store *s, fc_token_set set, int64_t item, int vocab,
                                       int max, int32_t *ids, int *count);
/** FC_DATA where box i is not finite, empty or reversed, or leaves its picture by more than half a
 * pixel. */
FC_NODISCARD fc_status fc_store_check_box(const fc_store *s, int64_t region, int64_t image);
/** Optional strings, heap; NULL where the store has none: "images/name", "captions/text",
 * "regions/text". */
FC_NODISCARD fc_status fc_store_text(fc_store *s, const char *dataset, int64_t index, char **out);

/* An attribute as text. */
typedef struct fc_store_note {
    char *name, *value; /* heap */
} fc_store_note;
/** Numbers and strings among the attributes of an object ("/", "/summary"), by name; none where the
 * store has no such object. Freed by fc_store_notes_free. */
FC_NODISCARD fc_status fc_store_notes(fc_store *s, const char *object, fc_store_note **out,
                                      int *count);
void fc_store_notes_free(fc_store_note **notes, int count);

#endif
