/* Writing an HDF5 store (FORMATS.md section 4) in one pass with bounded memory: append images in
 * order, each with its captions and regions; then categories; then finish. The file is written as
 * PATH.partial and renamed when complete. */
#ifndef FC_DATA_STORE_WRITER_H
#define FC_DATA_STORE_WRITER_H

#include "data/picture/picture.h"
#include "data/store/content_hash.h"

typedef struct fc_store_writer fc_store_writer;

typedef struct fc_store_options {
    int context_length, vocab_size;
    const char *tokenizer; /* e.g. "clip-bpe" */
    const char *source;    /* free text */
    const char *recipe;    /* YAML of how it was made; NULL: none */
    fc_codec codec;        /* of pictures */
    bool crops;            /* regions carry crops */
    int crop_size;
    double crop_scale;
    fc_codec crop_codec;
    bool text;  /* keep sentences beside tokens */
    bool names; /* keep /images/name */
    bool scores;
} fc_store_options;

typedef struct fc_store_caption {
    const int32_t *tokens;
    int count;
    const char *text; /* NULL where options.text is false */
} fc_store_caption;

typedef struct fc_store_region {
    float box[4];
    int32_t category; /* -1: none */
    float score;
    fc_store_caption caption; /* count 0: none */
    const uint8_t *crop; /* encoded, crop_size x crop_size; NULL where options.crops is false */
    size_t crop_bytes;
} fc_store_region;

typedef struct fc_store_image {
    int64_t id;
    const char *name; /* NULL: none */
    int width, height;
    const uint8_t *encoded;
    size_t bytes;
    const uint8_t *hash; /* (FC_HASH_BYTES) of the source's bytes; NULL: that of `encoded` */
    int captions, regions;
    const fc_store_caption *caption;
    const fc_store_region *region;
} fc_store_image;

FC_NODISCARD fc_status fc_store_writer_create(fc_store_writer **out, const char *path,
                                              const fc_store_options *options);
/** Append one image with everything that belongs to it. Everything is copied; chunks are written as
 * they fill. */
FC_NODISCARD fc_status fc_store_writer_put(fc_store_writer *w, const fc_store_image *image);
/** The same, for a picture whose stored bytes are its source. */
FC_NODISCARD fc_status fc_store_writer_add(fc_store_writer *w, int64_t id, const char *name,
                                           int width, int height, const uint8_t *encoded,
                                           size_t bytes, int captions,
                                           const fc_store_caption *caption, int regions,
                                           const fc_store_region *region);
/** Append one category with its prompts, in order. */
FC_NODISCARD fc_status fc_store_writer_category(fc_store_writer *w, const char *name, bool isthing,
                                                int prompts, const fc_store_caption *prompt);
/** Extra attribute of the root group (kept as written). */
FC_NODISCARD fc_status fc_store_writer_attribute(fc_store_writer *w, const char *name,
                                                 int64_t value);
/** One count of how the store was made: an attribute of the group /summary. */
FC_NODISCARD fc_status fc_store_writer_summary(fc_store_writer *w, const char *name, int64_t value);
/** Flush, set complete=1, rename to the final path. */
FC_NODISCARD fc_status fc_store_writer_finish(fc_store_writer *w);
/** Without finish before it: removes the partial file. */
void fc_store_writer_destroy(fc_store_writer **w);

#endif
