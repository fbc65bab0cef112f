/* Building one batch in pieces, a picture each, so that several threads can share the work.
 *
 * fci_batch_plan decides which captions and regions a batch takes and lays out its memory, from
 * index arrays alone; fci_batch_piece then fills in one picture with its crops and token rows.
 * Pieces touch disjoint memory and may run at once. */
#ifndef FC_DATA_BATCH_H
#define FC_DATA_BATCH_H

#include "data/loader.h"

/* Side of the dummy region as a fraction of the picture's (METHOD.md section 2). */
#define FCI_DUMMY_SIDE 0.25f

/* A picture that did not decode. */
typedef struct fci_bad_picture {
    int64_t image;
    char *message; /* heap */
} fci_bad_picture;

/* A batch with the room its arrays have, so that memory is used again. Rooms are in elements. */
typedef struct fci_batch_slot {
    fc_batch batch;
    size_t room_images, room_regions, room_crops; /* room_crops: of `crops`, in regions */
    size_t room_caption_tokens, room_region_tokens;
    int64_t *caption_index; /* (B) in the store; -1: none wanted */
    int64_t *region_begin;  /* (B+1) regions of picture i within the batch */
    float *made;            /* (R,4) boxes of regions that are not in the store, as fractions */
    int64_t *chosen;        /* scratch of planning */
    size_t room_chosen;
    fci_bad_picture *bad;
    int64_t bad_count;
    size_t room_bad;
} fci_batch_slot;

/* A thread's scratch memory. */
typedef struct fci_batch_scratch {
    int32_t *ids;
    size_t room;
    fc_store_scratch picture, crop; /* crops are cut from a picture while it lies there */
} fci_batch_scratch;

/** What the options need and the store lacks is FC_USAGE. */
FC_NODISCARD fc_status fci_batch_check_options(const fc_store *store,
                                               const fc_loader_options *options);
/** Lay out a batch of these images. FC_DATA: a box
 *  outside its picture, a picture without a caption. */
FC_NODISCARD fc_status fci_batch_plan(fci_batch_slot *slot, const fc_store *store,
                                      const fc_loader_options *options, int64_t step, int64_t epoch,
                                      const int64_t *images, int64_t count);
/** Fill in picture `index`. *bad: it failed because a picture did not decode. */
FC_NODISCARD fc_status fci_batch_piece(fci_batch_slot *slot, fci_batch_scratch *scratch,
                                       fc_store *store, const fc_loader_options *options,
                                       int64_t index, bool *bad);
/** Fill in all of a planned batch, replacing each picture that does not decode by the next one of
 *  the store that does. Whatever pieces were filled in before is done again. */
FC_NODISCARD fc_status fci_batch_fill(fci_batch_slot *slot, fci_batch_scratch *scratch,
                                      fc_store *store, const fc_loader_options *options,
                                      int64_t epoch);
/** Forget the bad pictures of the batch before. */
void fci_batch_forget_bad(fci_batch_slot *slot);
void fci_batch_slot_fini(fci_batch_slot *slot);
void fci_batch_scratch_fini(fci_batch_scratch *scratch);

#endif
