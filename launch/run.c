#include "launch/run.h"

#include "core/activity.h"
#include "core/clock.h"
#include "core/fatal.h"
#include "core/fault.h"
#include "core/log.h"
#include "core/memory.h"
#include "launch/checkpoint/checkpoint.h"
#include "launch/checkpoint/resume.h"
#include "launch/dist.h"
#include "launch/folder.h"
#include "launch/guard/bad_loss.h"
#include "launch/guard/signals.h"
#include "launch/input.h"
#include "launch/memory_plan.h"
#include "launch/output.h"
#include "launch/progress.h"
#include "launch/results/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What happened since the last row of results. */
typedef struct interval {
    int64_t steps;
    double begun, data_seconds;
} interval;

typedef struct run {
    fc_experiment *x;
    const fc_config *config;
    fc_step *step;
    fc_loader *loader;
    fc_input *input;
    fc_results *results; /* rank 0 */
    fc_output *output;   /* rank 0: nobody else writes there */
    char *folder;        /* of checkpoints */
    char *results_copy;  /* what results.h5 was at the newest of them */
    fc_checkpoint_position at;
    fc_evaluation first, last; /* evaluations; epoch < 0: none */
    fc_progress progress;
    interval since;
    double epoch_begun, saved_at; /* clock */
    int64_t saved_step;
    bool has_state;            /* there is one in the folder to go back to */
    int64_t begun_epoch;       /* of the data, when this process began */
    int64_t bad_pictures;      /* that this rank has met and replaced */
    int64_t bad_pictures_told; /* of all ranks, so far */
} run;

static bool is_first_rank(const run *r)
{
    return fc_comm_rank(r->x->comm) == 0;
}

/* ---- Results ---- */

static fc_status open_results(run *r, const fc_results_resume *resume)
{
    fc_status status = FC_OK;
    if (is_first_rank(r)) {
        char *path = fc_format("%s/results.h5", r->config->output);
        status = fc_record_open(&r->results, path, r->x, resume);
        fc_free(&path);
    }
    return fc_dist_agree(status);
}

static fc_status record_step(run *r, const fc_step_result *result, double lr)
{
    double seconds = (fc_clock_seconds() - r->since.begun) / (double)r->since.steps;
    char suffix[160];
    snprintf(suffix, sizeof suffix, "loss %.4f  lr %.2e  %.1f img/s", result->loss, lr,
             (double)r->x->global_batch / seconds);
    fc_progress_step(&r->progress, r->at.step, suffix);
    fc_status status = FC_OK;
    if (is_first_rank(r)) {
        fc_results_row row = {.step = r->at.step,
                              .epoch = r->at.epoch,
                              .loss = result->loss,
                              .lr = lr,
                              .logit_scale = result->logit_scale,
                              .grad_norm = result->grad_norm,
                              .seconds = seconds,
                              .data_seconds = r->since.data_seconds / (double)r->since.steps,
                              .images_per_second = (double)r->x->global_batch / seconds,
                              .terms = result->terms};
        const char *around = fc_activity_begin("results");
        status = fc_results_step(r->results, &row);
        if (status == FC_OK) {
            status = fc_results_flush(r->results);
        }
        fc_activity_end(around);
    }
    r->since = (interval){.begun = fc_clock_seconds()};
    return status;
}

static fc_status record_memory(run *r)
{
    int ranks = fc_comm_size(r->x->comm);
    int64_t *host = fc_alloc((size_t)ranks, sizeof *host),
            *device = fc_alloc((size_t)ranks, sizeof *device);
    fc_status status = fc_comm_all_gather_i64(r->x->comm, fc_peak_host_bytes(), host);
    if (status == FC_OK) {
        status = fc_comm_all_gather_i64(r->x->comm, fc_device_peak_bytes(), device);
    }
    if (status == FC_OK && is_first_rank(r)) {
        fc_results_memory(r->results, ranks, device, host);
    }
    fc_free(&host);
    fc_free(&device);
    return status;
}

/* ---- Evaluations and checkpoints ---- */

static fc_status evaluate(run *r)
{
    if (r->x->box == NULL && r->x->retrieval == NULL) {
        return FC_OK;
    }
    fc_progress_end(&r->progress);
    if (r->config->train.memory_budget > 0) {
        fc_step_rest(r->step); /* an evaluation's own comes in its place */
    }
    fc_evaluation e;
    FC_TRY_AS("evaluation", fc_experiment_evaluate(r->x, r->at.epoch, &e));
    FC_TRY(fc_dist_agree(is_first_rank(r) ? fc_record_evaluation(r->results, r->x, &e) : FC_OK));
    fc_summary_log(&e);
    if (r->first.epoch < 0 && r->at.step == 0) {
        r->first = e;
    } else {
        fc_box_result_free(&r->last.box);
        r->last = e;
    }
    fc_progress_begin(&r->progress, "train", r->at.step, r->x->total_steps,
                      r->config->train.log_every);
    r->since.begun = fc_clock_seconds();
    return FC_OK;
}

/* The model for use elsewhere, ensembled with the initial one where that is asked for. */
static fc_status save_model(run *r, int64_t epoch)
{
    void *own;
    fc_clip_ensemble_begin(r->x->model, &own);
    fc_status status = fc_checkpoint_save_model(r->folder, r->x->model, epoch, r->x->comm);
    fc_clip_ensemble_end(r->x->model, &own);
    return status;
}

/* Results first: a state promises that the rows it builds on are there. */
static fc_status save_state(run *r)
{
    r->at.epoch_seconds = fc_clock_seconds() - r->epoch_begun;
    r->at.ensemble_alpha = r->config->train.ensemble_alpha;
    r->saved_at = fc_clock_seconds();
    if (r->config->run.on_bad_loss == FC_BAD_LOSS_ROLLBACK && r->at.step > r->saved_step) {
        r->at.watch.bad_in_row = 0; /* got beyond the state it went back to */
    }
    r->saved_step = r->at.step;
    FC_TRY(fc_dist_agree(is_first_rank(r) ? fc_results_checkpoint(r->results, r->results_copy)
                                          : FC_OK));
    FC_TRY_AS("checkpoint",
              fc_checkpoint_save_state(r->folder, r->x->model, fc_step_optimizer(r->step),
                                       r->x->comm, &r->at, r->config->train.checkpoint.keep));
    return FC_OK;
}

static bool is_due(int64_t count, int64_t every)
{
    return every > 0 && count % every == 0;
}

static fc_status end_of_epoch(run *r)
{
    int64_t epoch = r->at.step / r->x->steps_per_epoch;
    bool last = r->at.step == r->x->total_steps;
    if (is_first_rank(r) && r->at.epoch_end_due == 0) {
        fc_results_epoch_seconds(r->results, fc_clock_seconds() - r->epoch_begun);
    }
    r->epoch_begun = fc_clock_seconds();
    /* Evaluated before it is saved: a run that goes on from this state has the evaluation behind
     * it. */
    if (!last && is_due(epoch, r->config->eval.every_epochs)) {
        r->at.epoch_end_due = 1;
        FC_TRY(evaluate(r));
    }
    r->at.epoch_end_due = 0;
    if (!last && is_due(epoch, r->config->train.checkpoint.every_epochs)) {
        FC_TRY_AS("checkpoint", save_model(r, epoch));
        FC_TRY(save_state(r));
    }
    return FC_OK;
}

/* ---- Starting ---- */

/* What a position says of the run itself, whatever state it came from. */
static void know_run(run *r)
{
    r->at.global_batch = r->x->global_batch;
    r->at.seed = r->config->seed;
    r->at.images = fc_sampler_size(r->x->sampler);
}

static fc_results_resume resume_of(const run *r)
{
    return (fc_results_resume){.step = r->at.step,
                               .epoch = r->at.epoch,
                               .batch = r->at.step + r->at.skipped_batches,
                               .copy = r->results_copy};
}

static fc_status start(run *r)
{
    char *path;
    FC_TRY(fc_resume_path(r->config, r->folder, r->x->comm, &path));
    if (path == NULL) {
        r->at.ranks = fc_comm_size(r->x->comm); /* a state's stays what it was */
        FC_TRY(fc_checkpoint_set_aside(r->folder, -1, r->x->comm));
        return open_results(r, NULL);
    }
    fc_status status =
        fc_checkpoint_load_state(path, r->x->model, fc_step_optimizer(r->step), &r->at);
    if (status == FC_OK) {
        status = fc_resume_check(r->x, path, &r->at);
    }
    status = fc_dist_agree(status);
    if (status == FC_OK) {
        fc_log_info("going on from %s (step %" PRId64 " of %" PRId64 ")", path, r->at.step,
                    r->x->total_steps);
        if (r->x->step.unsynced_gradients) {
            fc_log_warn("ranks had drifted apart; all go on from rank 0's model");
        }
        const fc_results_resume resume = resume_of(r);
        status = fc_checkpoint_set_aside(r->folder, r->at.step, r->x->comm);
        if (status == FC_OK) {
            status = open_results(r, &resume);
        }
    }
    fc_free(&path);
    r->has_state = strcmp(r->config->train.resume, "auto") == 0; /* else it is somewhere else */
    know_run(r);
    r->epoch_begun -= r->at.epoch_seconds;
    r->saved_step = r->at.step;
    return status;
}

static fc_status take_folder(run *r)
{
    FC_TRY(fc_folder_make(r->folder));
    FC_TRY(fc_output_lock(&r->output, r->config->output));
    fc_output_clean(r->config->output);
    fc_output_clean(r->folder);
    return FC_OK;
}

/* The FAILED file decides which rank of a failing job prints (core/fatal.c): an old one must not
 * silence this run. */
static fc_status prepare_output(run *r)
{
    fc_status status = FC_OK;
    r->folder = fc_format("%s/checkpoints", r->config->output);
    r->results_copy = fc_format("%s/results.h5", r->folder);
    if (is_first_rank(r)) {
        status = take_folder(r);
        char *failed = fc_format("%s/FAILED", r->config->output);
        if (status == FC_OK && unlink(failed) != 0 && errno != ENOENT) {
            status = FC_FAIL(FC_RUNTIME, "cannot remove %s: %s", failed, strerror(errno));
        }
        fc_free(&failed);
    }
    FC_TRY(fc_dist_agree(status));
    fc_fatal_set_run_dir(r->config->output);
    return FC_OK;
}

/* ---- Steps ---- */

/* More than 1 in 1000 pictures that do not decode end the run. What counts is a pass over the
 * images in use: an early bad one is no verdict on the rest, and of a small set one bad picture
 * (met once a pass) is forgiven. */
static fc_status check_pictures(run *r, int64_t bad)
{
    int64_t images = fc_sampler_size(r->x->sampler), per_epoch = images / 1000;
    int64_t steps = r->x->steps_per_epoch;
    int64_t passes = (r->at.step + steps - 1) / steps - r->begun_epoch;
    int64_t allowed = (per_epoch > 1 ? per_epoch : 1) * passes;
    r->bad_pictures_told = bad;
    if (bad <= allowed) {
        return FC_OK;
    }
    return FC_FAIL(FC_DATA,
                   "step %" PRId64 ": %" PRId64 " pictures of %s did not decode, more than 1 in "
                   "1000 of the %" PRId64
                   " in use; fineclip inspect --check names them all: make the store anew without "
                   "them",
                   r->at.step, bad, r->x->train->path, images);
}

/* What any rank wants, all do: stop after a signal, save because the time has come. And what each
 * has met, all count: bad pictures. */
static fc_status agree(run *r, bool *stop, bool *save)
{
    double minutes = r->config->train.checkpoint.every_minutes;
    int64_t signal = fc_signals_pending();
    int64_t sums[3] = {signal != 0, 0, r->bad_pictures};
    sums[1] = is_first_rank(r) && minutes > 0 && fc_clock_seconds() - r->saved_at >= 60 * minutes;
    FC_TRY(fc_comm_all_reduce(r->x->comm, sums, 3, FC_COMM_I64, FC_COMM_SUM));
    if (sums[0] != 0) { /* which one; a step that gets a signal has the time */
        FC_TRY(fc_comm_all_reduce(r->x->comm, &signal, 1, FC_COMM_I64, FC_COMM_MAX));
    }
    if (sums[2] > r->bad_pictures_told) {
        FC_TRY(check_pictures(r, sums[2]));
    }
    if (signal != 0) {
        fc_signals_ask((int)signal);
    }
    *stop = sums[0] != 0;
    *save = sums[1] != 0 || is_due(r->at.step, r->config->train.checkpoint.every_steps);
    return FC_OK;
}

static fc_status begin_loading(run *r)
{
    fc_loader_options options =
        fc_experiment_loader(r->x, r->at.step + r->at.skipped_batches, r->at.skipped_batches);
    if (r->input == NULL) {
        r->input = fc_input_create(r->x->device.backend, &options);
    }
    options.ready = r->input != NULL ? fc_input_ready : NULL;
    options.ready_ctx = r->input;
    return fc_loader_create(&r->loader, r->x->train, r->x->sampler, &options);
}

/* Back to the newest state, and on with the batches after the bad one: those since the state are
 * left out, too, since they led there. The state is written anew, so that a run killed from here
 * on does not meet them either. */
static fc_status roll_back(run *r)
{
    fc_checkpoint_position from = r->at;
    char *path;
    FC_TRY(fc_checkpoint_newest(r->folder, r->x->comm, &path));
    FC_ASSERT(path != NULL); /* one was saved before the first step */
    fc_status status =
        fc_checkpoint_load_state(path, r->x->model, fc_step_optimizer(r->step), &r->at);
    fc_free(&path);
    FC_TRY(fc_dist_agree(status));
    int64_t left_out = from.step + from.skipped_batches + 1 - r->at.step;
    fc_log_info("going on from step %" PRId64 " without the next %" PRId64 " batches", r->at.step,
                left_out - r->at.skipped_batches);
    r->at.skipped_batches = left_out;
    r->at.epoch_end_due = 0;
    r->at.watch.bad_in_row = from.watch.bad_in_row;
    r->saved_step = r->at.step;
    know_run(r);
    r->epoch_begun = fc_clock_seconds() - r->at.epoch_seconds;
    r->since = (interval){.begun = fc_clock_seconds()};
    fc_progress_end(&r->progress);
    fc_progress_begin(&r->progress, "train", r->at.step, r->x->total_steps,
                      r->config->train.log_every);
    const fc_results_resume resume = resume_of(r);
    FC_TRY(fc_dist_agree(is_first_rank(r) ? fc_results_go_back(r->results, &resume) : FC_OK));
    FC_TRY(save_state(r));
    fc_loader_destroy(&r->loader);
    return begin_loading(r);
}

static fc_status one_step(run *r, bool *went_back)
{
    const fc_batch *batch;
    double waited;
    fc_step_result result;
    *went_back = false;
    fc_fault_set_step(r->at.step + 1);
    fc_activity_step(r->at.step + 1);
    FC_TRY(fc_fault_here(FC_AT_step));
    FC_TRY_AS("loading data", fc_loader_next(r->loader, &batch, &waited));
    FC_TRY(fc_step_gradients(r->step, batch, &result));
    r->bad_pictures += batch->bad_pictures;
    double lr = fc_schedule_lr(&r->x->schedule, r->at.step);
    fc_bad_loss bad;
    FC_TRY(fc_bad_loss_judge(r->x, &r->at, &result, &bad));
    if (bad.verdict == FC_LOSS_GOOD) {
        fc_loss_take(&r->at.watch, result.loss);
        if (r->config->run.on_bad_loss != FC_BAD_LOSS_ROLLBACK) {
            r->at.watch.bad_in_row = 0;
        }
        FC_TRY_AS("update", fc_step_update(r->step, lr, &result));
    } else {
        FC_TRY(fc_bad_loss_record(r->x, r->results, &r->at, batch, &result, &bad));
        *went_back = bad.action == FC_BAD_LOSS_ROLLBACK;
        if (*went_back) {
            return roll_back(r);
        }
    }
    r->at.step++;
    r->at.epoch = fc_experiment_epoch(r->x, r->at.step);
    r->since.steps++;
    r->since.data_seconds += waited;
    bool last = r->at.step == r->x->total_steps;
    bool first = r->at.step == 1; /* where the losses began is what people compare with */
    if (first || is_due(r->at.step, r->config->train.log_every) || last) {
        return record_step(r, &result, lr);
    }
    fc_progress_step(&r->progress, r->at.step, NULL);
    return FC_OK;
}

/* A signal asked to stop, and all ranks know. */
static fc_status interrupted(run *r)
{
    fc_error_clear();
    if (r->saved_step != r->at.step) {
        FC_TRY(save_state(r));
    }
    FC_TRY(fc_dist_agree(is_first_rank(r) ? fc_results_finish(r->results, "interrupted") : FC_OK));
    fc_signals_leave();
    bool automatic = strcmp(r->config->train.resume, "auto") == 0;
    return FC_FAIL(FC_INTERRUPTED, "%s after step %" PRId64 " of %" PRId64 "; saved, %s from there",
                   fc_signals_name(fc_signals_pending()), r->at.step, r->x->total_steps,
                   automatic ? "the same command goes on" : "train.resume: auto goes on");
}

/* Take the memory of steps at once, before there are batches, with as many blocks run again as the
 * budget wants. */
static fc_status keep_to_budget(run *r)
{
    if (r->config->train.memory_budget == 0 || r->at.step == r->x->total_steps) {
        return FC_OK;
    }
    fc_memory_plan plan;
    char again[96];
    FC_TRY(fc_memory_plan_of(&plan, r->x, r->step));
    fc_memory_plan_say(&plan, again, sizeof again);
    fc_log_info("at most %.0f MiB a rank of train.memory_budget's %.0f; blocks run again: %s",
                (double)plan.total / (1 << 20), (double)r->config->train.memory_budget / (1 << 20),
                again);
    fc_step_settle(r->step, plan.recompute, &plan.step);
    return FC_OK;
}

static fc_status all_steps(run *r)
{
    while (r->at.step < r->x->total_steps) {
        bool stop, save, went_back;
        FC_TRY_AS("a step", one_step(r, &went_back));
        if (went_back) {
            continue;
        }
        FC_TRY(agree(r, &stop, &save));
        if (r->at.step % r->x->steps_per_epoch == 0) {
            FC_TRY(end_of_epoch(r));
        }
        if (stop && r->at.step < r->x->total_steps) {
            return FC_FAIL(FC_INTERRUPTED, "stopped between steps");
        }
        if (save && r->saved_step != r->at.step) {
            FC_TRY(save_state(r));
        }
    }
    return FC_OK;
}

static fc_status finish(run *r)
{
    fc_progress_end(&r->progress);
    int64_t epoch = (r->at.step + r->x->steps_per_epoch - 1) / r->x->steps_per_epoch;
    FC_TRY(save_model(r, epoch));
    if (r->saved_step != r->at.step) {
        FC_TRY(save_state(r));
    }
    FC_TRY(evaluate(r));
    FC_TRY(record_memory(r));
    fc_status status = is_first_rank(r) ? fc_results_finish(r->results, "completed") : FC_OK;
    fc_progress_end(&r->progress);
    return fc_dist_agree(status);
}

/* Everything that a signal may interrupt. */
static fc_status work(run *r)
{
    FC_TRY(fc_experiment_embed_concepts(r->x));
    fc_fault_set_step(r->at.step);
    if (r->at.step == r->x->total_steps) {
        fc_log_info("%s has trained all of its %" PRId64
                    " steps; nothing is left to do (train.resume: never starts anew)",
                    r->config->output, r->at.step);
    }
    FC_TRY(keep_to_budget(r));
    fc_progress_begin(&r->progress, "train", r->at.step, r->x->total_steps,
                      r->config->train.log_every);
    if (r->at.step == 0 && r->config->eval.before_training) {
        FC_TRY(evaluate(r));
    }
    r->epoch_begun = fc_clock_seconds() - r->at.epoch_seconds;
    r->saved_at = r->since.begun = fc_clock_seconds();
    r->begun_epoch = r->at.step / r->x->steps_per_epoch;
    if (r->config->run.on_bad_loss == FC_BAD_LOSS_ROLLBACK && !r->has_state) {
        FC_TRY(save_state(r));
    }
    FC_TRY(begin_loading(r));
    if (r->at.epoch_end_due != 0) {
        FC_TRY(end_of_epoch(r));
    }
    FC_TRY(all_steps(r));
    return finish(r);
}

static fc_status train(run *r)
{
    FC_TRY(prepare_output(r));
    FC_TRY(fc_signals_install()); /* from here on there is something to save; before, a signal just
                                     ends the program */
    r->step = fc_step_create(r->x->model, r->x->comm, &r->x->step);
    know_run(r);
    r->epoch_begun = r->saved_at = fc_clock_seconds();
    FC_TRY(start(r));
    fc_status status = work(r);
    return status == FC_INTERRUPTED ? interrupted(r) : status;
}

fc_status fc_run_train(fc_experiment *x)
{
    run r = {.x = x, .config = x->config, .saved_step = -1};
    r.first.epoch = r.last.epoch = -1;
    fc_status status = train(&r);
    fc_progress_end(&r.progress);
    if (status == FC_OK && r.last.epoch >= 0 && !x->quiet) {
        fc_summary_print(r.first.epoch >= 0 ? &r.first : NULL, &r.last);
    }
    if (status != FC_OK && status != FC_INTERRUPTED && r.results != NULL) {
        char message[2048]; /* as long as core/status.c lets one be */
        snprintf(message, sizeof message, "%s", fc_error_message());
        FC_IGNORE(fc_results_finish(r.results, "failed"));
        fc_error_set(message, "");
    }
    fc_box_result_free(&r.first.box);
    fc_box_result_free(&r.last.box);
    fc_loader_destroy(&r.loader);
    fc_input_destroy(&r.input);
    fc_results_close(&r.results);
    fc_step_destroy(&r.step);
    fc_output_release(&r.output);
    fc_free(&r.folder);
    fc_free(&r.results_copy);
    return status;
}
