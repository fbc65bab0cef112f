/* Features of a store's pictures, regions and texts to HDF5, for use elsewhere. */
#ifndef FC_LAUNCH_FEATURES_H
#define FC_LAUNCH_FEATURES_H

#include "launch/trained.h"

enum {
    FC_FEATURES_GLOBAL = 1, /* /images/global (N,D): class-token embeddings of pictures */
    FC_FEATURES_DENSE = 2,  /* /images/dense (N,P,D): unit patch vectors, rows of patches first */
    FC_FEATURES_BOX = 4,    /* /regions/box (R,D): pooled from dense features */
    FC_FEATURES_CROP = 8,   /* /regions/crop (R,D): class-token embeddings of the regions' crops */
    FC_FEATURES_TEXT = 16   /* /captions/text (C,D), /regions/text (R,D), /categories/text (K,D) */
};

typedef struct fc_features_options {
    unsigned kinds;
    bool half;      /* stored as 16-bit floats */
    bool normalize; /* unit length; else as the towers yield them, boxes as pooled. Dense features
                       and categories always are of unit length */
    fc_fit resize;
} fc_features_options;

/** Extract and write `file`, whole or not at all: format "fineclip-features" version 1, root
 * attributes of fc_trained_describe, `store`, `resize`, `protocol`; every dataset of features has
 * `normalized` and `meaning`. /images/id, /captions/image_offsets, /regions/image_offsets, boxes
 * and category are the store's (FORMATS.md section 4). Kinds that the store has nothing for are
 * left out with a warning. Ranks take chunks in turn and rank 0 writes them in order, so that the
 * file does not depend on how many there are. Collective; memory of a chunk a rank. Errors  FC_DATA
 * pictures or boxes that are damaged; FC_USAGE center_crop with boxes or dense features */
FC_NODISCARD fc_status fc_features_write(fc_trained *t, fc_store *store, const char *file,
                                         const fc_features_options *options);

#endif
