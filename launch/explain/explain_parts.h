/* What the files of `explain` share. */
#ifndef FC_LAUNCH_EXPLAIN_PARTS_H
#define FC_LAUNCH_EXPLAIN_PARTS_H

#include "launch/explain/explain_request.h"

typedef enum { FCI_IMAGE, FCI_TEXT, FCI_PHRASE } fci_explain_kind;
typedef struct fci_explain_word {
    fci_explain_kind kind;
    const char *value; /* borrowed from the command line */
} fci_explain_word;

/** STORE:INDEX; false for the name of a file. *store is heap. */
bool fci_explain_split(const char *given, char **store, int64_t *index);
/** "eval" or "train" (static) where a store's name is that word, else NULL. */
const char *fci_explain_own_store(const char *store);

/* One picture's maps: T texts, P patches. */
typedef struct fc_explained {
    double *similarity; /* (T) cosine of picture and text */
    double *relevance;  /* (T,P) the class token's row of R, at least 0 */
    double *dense;      /* (T,P) cosine of each patch's dense feature and the text */
    double **tokens; /* (T) relevance of the text's tokens (count of them), sum 1 or 0; NULL for a
                        phrase taken as tokens of its sentence */
} fc_explained;

/** Explain one picture. On rank 0 alone; the caller frees. */
FC_NODISCARD fc_status fc_explain(fc_explained *out, const fc_trained *t,
                                  const fc_explain_picture *picture, bool all_layers);
void fc_explained_free(fc_explained *e, int texts);

/** The picture with its longest side `side` pixels long; *out is the caller's. */
FC_NODISCARD fc_status fci_explain_enlarge(const fc_picture *from, int side, fc_picture *out);
/** A picture under a raw map (grid,grid), which stays as it is; *out is the caller's. */
void fci_explain_overlay(const fc_picture *picture, const double *map, int grid, fc_picture *out);

/** Write an overlay PNG a map ("0-relevance-a-red-star.png") into `folder`. */
FC_NODISCARD fc_status fc_explain_overlays(const char *folder, int index,
                                           const fc_explain_picture *picture, const fc_explained *e,
                                           int grid);
/** Write everything on one sheet, as PNG: a band a picture, in which the picture, the maps of its
 * sentence and of its phrases stand side by side, relevance above dense similarity, and below them
 * the texts with their tokens shaded by relevance. `caption` stands at the top. */
FC_NODISCARD fc_status fc_explain_sheet(const char *path, const fc_explain_request *r,
                                        const fc_explained *e, const char *caption, int grid);
/** Write raw maps as HDF5, format "fineclip-maps" version 1 (launch/explain/explain_file.c). */
FC_NODISCARD fc_status fc_explain_file(const char *path, const fc_trained *t,
                                       const fc_explain_request *r, const fc_explained *e,
                                       const fc_explain_options *options);

#endif
