/* A model with its weights and where they came from, for verbs that look at one and train nothing:
 * explain and features. */
#ifndef FC_LAUNCH_TRAINED_H
#define FC_LAUNCH_TRAINED_H

#include "launch/cli.h"
#include "launch/experiment.h"

#include <hdf5.h>

typedef struct fc_trained {
    fc_config *config;
    fc_comm *comm;
    fc_clip *model;     /* frozen, on the CPU */
    char *weights;      /* the file they were read from, or "random" */
    double epoch;       /* as the file says, else 0 */
    char checksum[16];  /* CRC-32 of the weights in fp32, in the order of their names' file */
    fc_store *store[4]; /* opened by fc_trained_store */
    const char *store_name[4]; /* as it was asked for; borrowed */
} fc_trained;

/** Read the experiment `cli` names and load its weights: the newest checkpoint of its output, or
 * model.init, as train.resume says (FORMATS.md section 1, eval). Collective.
 *  image_size  input side in pixels; 0: the experiment's
 *  Errors      FC_USAGE, FC_NOINPUT, FC_DATA; the same on every rank */
FC_NODISCARD fc_status fc_trained_open(fc_trained *out, const fc_cli *cli, int image_size);
void fc_trained_close(fc_trained *t);

/** The store that `which` (which must stay) means: train, eval (box classification's, else
 * retrieval's), or the path of one. Kept open until fc_trained_close. Collective the first time
 * that it is asked for; afterwards the same store. key     what errors call it */
FC_NODISCARD fc_status fc_trained_store(fc_trained *t, const char *which, const char *key,
                                        fc_store **out);

/** Attributes that say what the model is: name, config, code_version, weights, weights_crc32,
 * epoch, precision, image_size, grid, embed_dim. Under fci_h5_lock. */
FC_NODISCARD fc_status fc_trained_describe(const fc_trained *t, hid_t object, const char *where);

#endif
