/* What the parts of checkpoints share. */
#ifndef FC_LAUNCH_CHECKPOINT_INTERNAL_H
#define FC_LAUNCH_CHECKPOINT_INTERNAL_H

#include "core/safetensors.h"
#include "launch/checkpoint/checkpoint.h"

/* What a state is made of, in the process's memory. */
typedef struct fci_state_values {
    void *model,
        *initial;   /* laid out as params->data of the model, of model->initial; NULL: none */
    void *m, *v;    /* (params->grad_total) */
    int64_t *steps; /* (params->count) */
    void *owned[4]; /* those of the four that are copies */
} fci_state_values;

/** Values of the models; m and v, or room for them where these are NULL. */
fci_state_values fci_state_open(const fc_clip *model, int64_t *steps, void *m, void *v);
/** Put the values into the models, where they are not there already. */
void fci_state_put(const fci_state_values *values, fc_clip *model);
void fci_state_close(fci_state_values *values);

/* The tensors of a state: parameters and moments by name, how often each was updated, and what of
 * the initial model may differ from them, where that is kept. Data points into the values. */
typedef struct fci_state_tensors {
    int count;
    fc_st_tensor *tensors;
    char **names;
} fci_state_tensors;

fci_state_tensors fci_state_list(const fc_clip *model, const fci_state_values *values);
/** Index of a parameter in model->initial->params. */
int fci_state_initial(const fc_clip *model, const char *name);
void fci_state_list_free(fci_state_tensors *list);
FC_NODISCARD fc_status fci_state_write(const char *path, const fci_state_tensors *list,
                                       const fc_checkpoint_position *position);

/** Whether a safetensors file says that it is a state. */
bool fci_state_is(const fc_safetensors *st);
/** A state of the version this program writes. *other_version: it is a state, but of another. */
FC_NODISCARD fc_status fci_state_check_version(const fc_safetensors *st, bool *other_version);
/** The same, and every byte as its checksum says. */
FC_NODISCARD fc_status fci_state_check(const fc_safetensors *st, bool *other_version);
FC_NODISCARD fc_status fci_state_position(const fc_safetensors *st,
                                          fc_checkpoint_position *position);
/** Fill want->data from the file's tensor of that name. FC_DATA: missing, or of another shape. */
FC_NODISCARD fc_status fci_state_copy(const fc_safetensors *st, const fc_st_tensor *want);

#endif
