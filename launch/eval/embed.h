/* Embeddings of what a store holds, shared over ranks: fixed chunks of items go to ranks in turn,
 * so that what is computed does not depend on how many ranks there are. */
#ifndef FC_LAUNCH_EMBED_H
#define FC_LAUNCH_EMBED_H

#include "core/comm.h"
#include "data/store/store.h"
#include "models/clip.h"

typedef struct fc_embedder {
    const fc_clip *model;
    fc_comm *comm;
    fc_tape *tape; /* not recording */
    fc_store *store;
    fc_fit fit;
    void (*progress)(void *ctx, int64_t done,
                     int64_t total); /* pictures of the store done; NULL: none */
    void *progress_ctx;
} fc_embedder;

/** Text embeddings (count, D) of items [0, count) of a token set, L2-normalised,
 * model->params->dtype, in the process's memory; every rank gets all. `out` is heap (fc_free).
 * Collective. Items without tokens give zeros. */
FC_NODISCARD fc_status fc_embed_texts(const fc_embedder *e, fc_token_set set, int64_t count,
                                      void **out);
/** Text embeddings (count, D) of items [first, first + count) into `out`, zeros beforehand, where
 * items without tokens stay; unit: L2-normalised. Local; step memory of the tape, which the caller
 * resets. */
FC_NODISCARD fc_status fc_embed_text_rows(const fc_embedder *e, fc_token_set set, int64_t first,
                                          int64_t count, bool unit, void *out);
/** Class embeddings (categories, D): the normalised mean over each category's prompts (METHOD.md
 * section 7); zeros for one without prompts. As fc_embed_texts. */
FC_NODISCARD fc_status fc_embed_classes(const fc_embedder *e, void **out);
/** Picture embeddings (images, D) of the whole store, L2-normalised; every rank gets all; heap.
 * Collective. */
FC_NODISCARD fc_status fc_embed_pictures(const fc_embedder *e, void **out);

/** Decode and fit pictures [first, first + images): (images,S,S,3) in the tape's step memory.
 *  scale   (images, 2) stored pixels to fractions of the square, across and down
 *  Errors  as fc_store_picture. Local; threads share the work. */
FC_NODISCARD fc_status fc_embed_load(const fc_embedder *e, int64_t first, int64_t images,
                                     uint8_t **pixels, double *scale);

/** Box features of one chunk of pictures: `count` boxes of store rows `region[i]`, for the pictures
 * [first, first + images). */
typedef struct fc_box_chunk {
    int64_t first, images;
    int64_t count;
    const int64_t *region;
    const fc_tensor *features; /* (count, D), unit length, valid until the visitor returns */
    const void *rows;          /* their values in the process's memory, model->params->dtype */
} fc_box_chunk;
/** Visit the box features of every region for which keep() is true, chunk by chunk, this rank's
 * chunks only. */
FC_NODISCARD fc_status fc_embed_boxes(const fc_embedder *e,
                                      bool (*keep)(const fc_store *s, int64_t region),
                                      fc_status (*visit)(void *ctx, const fc_box_chunk *chunk),
                                      void *ctx);

#endif
