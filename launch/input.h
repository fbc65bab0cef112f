/* Pictures on their way to a device while it computes: a loader's worker copies a batch that is
 * whole to pinned memory and starts it on a lane (core/backend.h); the step that takes the batch
 * follows. */
#ifndef FC_LAUNCH_INPUT_H
#define FC_LAUNCH_INPUT_H

#include "core/backend.h"
#include "data/loader.h"

typedef struct fc_input fc_input;

/** Room for every batch a loader with these options keeps. NULL where the backend needs none. */
fc_input *fc_input_create(const fc_backend *backend, const fc_loader_options *options);
/** Bytes of the device that they take. */
int64_t fc_input_bytes(const fc_backend *backend, const fc_loader_options *options);
/** After the loader's workers have ended. */
void fc_input_destroy(fc_input **input);
/** fc_loader_options.ready, with the input as ctx. A batch with more regions than there is room for
 * stays where it is. */
void fc_input_ready(void *input, int slot, fc_batch *batch);
/** Start the copy of a slot again, as if a worker had filled it with the same batch. */
void fc_input_again(fc_input *input, const fc_batch *batch);

#endif
