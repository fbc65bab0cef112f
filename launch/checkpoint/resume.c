#include "launch/checkpoint/resume.h"

#include "core/log.h"
#include "core/memory.h"

#include <inttypes.h>
#include <string.h>

static int64_t divided_up(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

static fc_status split(fc_config *config, const fc_checkpoint_position *at, int ranks)
{
    int64_t batch = config->train.batch_size, accumulate = config->train.accumulate;
    if (at->global_batch % ranks != 0) {
        return fc_config_error(config, FC_USAGE, "train.batch_size",
                               "the state in %s is of %" PRId64 " images a step on %" PRId64
                               " rank%s, which %d ranks cannot share evenly: use a number of ranks "
                               "that divides %" PRId64 ", or start anew with train.resume=never",
                               config->output, at->global_batch, at->ranks,
                               at->ranks == 1 ? "" : "s", ranks, at->global_batch);
    }
    int64_t new_batch = at->global_batch / ranks;
    int64_t new_accumulate = divided_up(new_batch, divided_up(batch, accumulate));
    fc_log_info("%d rank%s where the run began with %" PRId64 ": train.batch_size %" PRId64
                " -> %" PRId64 ", train.accumulate %" PRId64 " -> %" PRId64
                ", so that a step still takes %" PRId64 " images",
                ranks, ranks == 1 ? "" : "s", at->ranks, batch, new_batch, accumulate,
                new_accumulate, at->global_batch);
    if (!config->train.gather_with_grad) {
        fc_log_warn("without train.gather_with_grad the gradient depends on the number of ranks: "
                    "this run goes on otherwise than it began");
    }
    return fc_config_set_batch(config, (int)new_batch, (int)new_accumulate);
}

fc_status fc_resume_fit(fc_config *config, fc_comm *comm)
{
    const char *resume = config->train.resume;
    fc_checkpoint_position at = {0};
    bool found, automatic = strcmp(resume, "auto") == 0;
    if (strcmp(resume, "never") == 0) {
        return FC_OK;
    }
    char *where = automatic ? fc_format("%s/checkpoints", config->output) : fc_strdup(resume);
    fc_status status = fc_checkpoint_peek(where, automatic, comm, &at, &found);
    fc_free(&where);
    FC_TRY(status);
    int ranks = fc_comm_size(comm);
    bool same_ranks = at.ranks == ranks; /* then another batch is what the user asks for */
    bool same_batch = (int64_t)config->train.batch_size * ranks == at.global_batch;
    return !found || same_ranks || same_batch ? FC_OK : split(config, &at, ranks);
}

fc_status fc_resume_path(const fc_config *config, const char *folder, fc_comm *comm, char **path)
{
    const char *resume = config->train.resume;
    *path = NULL;
    if (strcmp(resume, "never") == 0) {
        return FC_OK;
    }
    if (strcmp(resume, "auto") == 0) {
        return fc_checkpoint_newest(folder, comm, path);
    }
    *path = fc_strdup(resume);
    return FC_OK;
}

fc_status fc_resume_check(const fc_experiment *x, const char *path,
                          const fc_checkpoint_position *at)
{
    if (at->global_batch != x->global_batch) {
        return FC_FAIL(FC_USAGE,
                       "%s was written with a global batch of %" PRId64 ", this run has %" PRId64
                       " (train.batch_size x ranks): change train.batch_size back, or start anew "
                       "with train.resume: never",
                       path, at->global_batch, x->global_batch);
    }
    if (at->step > x->total_steps) {
        return FC_FAIL(FC_USAGE,
                       "%s is at step %" PRId64 ", this run ends at step %" PRId64
                       ": set train.steps or train.epochs higher, or start anew with "
                       "train.resume: never",
                       path, at->step, x->total_steps);
    }
    int64_t images = fc_sampler_size(x->sampler);
    if (at->seed != x->config->seed) {
        fc_log_warn("the state is of seed %" PRId64 ", this run has seed %" PRId64
                    ": pictures come in another order from here on",
                    at->seed, x->config->seed);
    }
    if (at->images != images) {
        fc_log_warn("the state was trained on %" PRId64 " images, this run has %" PRId64
                    " (data.train, data.samples): epochs begin at other steps from here on",
                    at->images, images);
    }
    return FC_OK;
}
