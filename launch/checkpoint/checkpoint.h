/* Checkpoints (FORMATS.md section 5): the model alone for use elsewhere, and the state resuming
 * needs. Files are whole or absent: written under another name and renamed. */
#ifndef FC_LAUNCH_CHECKPOINT_H
#define FC_LAUNCH_CHECKPOINT_H

#include "core/adamw.h"
#include "launch/guard/loss_watch.h"
#include "models/clip.h"

/* Where a run stands; goes into the state's metadata. Random numbers need no place in it: they
 * follow from seed, epoch and picture (core/rng.h). */
typedef struct fc_checkpoint_position {
    int64_t step;            /* updates done, skipped ones included */
    int64_t skipped_batches; /* left out by rollbacks: the next batch is number step + skipped */
    int64_t global_batch;    /* images a step */
    int64_t ranks;           /* that the run began with: train.batch_size is meant for so many */
    int64_t seed, images;    /* what the order of pictures follows from, with the batch */
    double epoch;
    double epoch_seconds; /* already spent in the epoch under way */
    int64_t
        epoch_end_due; /* 1: stopped in the evaluation that ends an epoch, which is still to do */
    double ensemble_alpha; /* of models saved for use and evaluated */
    fc_loss_watch watch;
} fc_checkpoint_position;

/** Write <folder>/epoch_<epoch>.safetensors. Rank 0 writes; the call is collective and fails
 * everywhere if it fails there. */
FC_NODISCARD fc_status fc_checkpoint_save_model(const char *folder, const fc_clip *model,
                                                int64_t epoch, fc_comm *comm);

/** Write <folder>/state_<step>.safetensors: parameters, moments and update counts in full
 * precision, of the initial model what may differ from them, with a checksum; then remove all but
 * the newest `keep` states. Collective. */
FC_NODISCARD fc_status fc_checkpoint_save_state(const char *folder, const fc_clip *model,
                                                fc_adamw *adamw, fc_comm *comm,
                                                const fc_checkpoint_position *position, int keep);

/** Newest whole state in `folder`; damaged ones are named in a warning and passed over. *path NULL:
 * there is none. FC_DATA: there are some, and none is whole, or the newest whole one is of another
 * version. Heap. Collective: rank 0 looks, all ranks get the same answer. */
FC_NODISCARD fc_status fc_checkpoint_newest(const char *folder, fc_comm *comm, char **path);
/** Position of the newest state in a folder, or of one file, without reading more than its header.
 * *found false: no state can be read. Collective. */
FC_NODISCARD fc_status fc_checkpoint_peek(const char *where, bool is_folder, fc_comm *comm,
                                          fc_checkpoint_position *position, bool *found);
/** Rename states of steps after `step` to abandoned_state_...: of a run that is not gone on with,
 * they would count as newest. Collective. */
FC_NODISCARD fc_status fc_checkpoint_set_aside(const char *folder, int64_t step, fc_comm *comm);
/** Restore parameters and optimiser. FC_NOINPUT, FC_DATA (damaged, or of another model: names the
 * tensor). */
FC_NODISCARD fc_status fc_checkpoint_load_state(const char *path, fc_clip *model, fc_adamw *adamw,
                                                fc_checkpoint_position *position);

/** The newest epoch_N.safetensors of a run: `where` is the run's output folder or the checkpoints
 * folder in it. Heap. FC_NOINPUT: there is none. Local. */
FC_NODISCARD fc_status fc_checkpoint_newest_model(const char *where, char **path);

/** Parameters alone, out of a state or a weights file, for use as they are: of a run that ensembles
 * with its initial model, the ensemble. model->initial is dropped. *epoch: what the file says, 0
 * where it does not. Errors as above. */
FC_NODISCARD fc_status fc_checkpoint_load_weights(const char *path, fc_clip *model, double *epoch);

#endif
