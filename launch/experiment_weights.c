/* The weights a verb looks at that trains nothing. */
#include "core/memory.h"
#include "launch/checkpoint/checkpoint.h"
#include "launch/dist.h"
#include "launch/experiment.h"

#include <string.h>

fc_status fc_experiment_weights(const fc_config *config, fc_comm *comm, fc_clip *model, char **from,
                                double *epoch)
{
    const char *resume = config->train.resume;
    char *folder = fc_format("%s/checkpoints", config->output), *path = NULL;
    fc_status status = FC_OK;
    *from = NULL;
    *epoch = 0;
    if (strcmp(resume, "auto") == 0) {
        status = fc_checkpoint_newest(folder, comm, &path);
    } else if (strcmp(resume, "never") != 0) {
        path = fc_strdup(resume);
    }
    if (status == FC_OK && path != NULL) {
        status = fc_dist_agree(fc_checkpoint_load_weights(path, model, epoch));
    }
    if (status == FC_OK && path == NULL) {
        status = fc_dist_agree(fc_experiment_init_file(config, &path));
    }
    if (status == FC_OK) {
        *from = path;
    } else {
        fc_free(&path);
    }
    fc_free(&folder);
    return status;
}
