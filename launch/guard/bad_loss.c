#include "launch/guard/bad_loss.h"

#include "core/log.h"
#include "core/memory.h"
#include "launch/dist.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 700 };

fc_status fc_bad_loss_judge(const fc_experiment *x, const fc_checkpoint_position *at,
                            const fc_step_result *result, fc_bad_loss *out)
{
    const fc_config *c = x->config;
    bool finite = isfinite(result->loss) && isfinite(result->grad_norm);
    /* The largest of: not finite somewhere, and rank 0's loss. */
    double both[2] = {finite ? 0 : 1, -INFINITY};
    if (fc_comm_rank(x->comm) == 0) {
        both[1] = isfinite(result->loss) ? result->loss : 0;
    }
    FC_TRY(fc_comm_all_reduce(x->comm, both, 2, FC_COMM_F64, FC_COMM_MAX));
    out->verdict =
        fc_loss_judge(&at->watch, both[1], both[0] < 1, c->run.spike_sigma, c->run.spike_warmup);
    bool given_up = at->watch.bad_in_row >= c->run.bad_loss_limit;
    out->action = given_up ? FC_BAD_LOSS_STOP : c->run.on_bad_loss;
    return FC_OK;
}

/* ---- What happened, in words ---- */

static void describe(char text[TEXT_BYTES], const fc_experiment *x,
                     const fc_checkpoint_position *at, const fc_step_result *result,
                     fc_loss_verdict verdict)
{
    int n = snprintf(text, TEXT_BYTES, "step %" PRId64 ": loss %g, gradient norm %g", at->step + 1,
                     result->loss, result->grad_norm);
    for (int i = 0; i < x->step.term_count && n < TEXT_BYTES; i++) {
        n += snprintf(text + n, TEXT_BYTES - (size_t)n, ", %s %g", x->step.terms[i].def->name,
                      result->terms[i]);
    }
    if (n >= TEXT_BYTES) {
        return;
    }
    if (verdict == FC_LOSS_NOT_FINITE) {
        snprintf(text + n, TEXT_BYTES - (size_t)n, ": not finite");
    } else {
        double deviation = fc_loss_deviation(&at->watch);
        snprintf(text + n, TEXT_BYTES - (size_t)n,
                 ": a spike, %.1f deviations above the mean of the losses before it, %g",
                 (result->loss - at->watch.mean) / deviation, at->watch.mean);
    }
}

static fc_status stop(const fc_experiment *x, const fc_checkpoint_position *at, const char *text,
                      const fc_bad_loss *bad)
{
    const fc_config *c = x->config;
    char *why = fc_strdup("");
    if (bad->action != c->run.on_bad_loss) {
        fc_free(&why);
        why = fc_format(", after %" PRId64 " in a row that run.on_bad_loss: %s was tried on "
                        "(run.bad_loss_limit)",
                        at->watch.bad_in_row,
                        c->run.on_bad_loss == FC_BAD_LOSS_SKIP ? "skip" : "rollback");
    }
    const char *ways = bad->verdict == FC_LOSS_SPIKE
                           ? "set run.on_bad_loss: rollback, run.spike_sigma higher, or "
                             "train.clip_grad_norm"
                           : "lower train.optimizer.lr, set train.clip_grad_norm, or "
                             "run.on_bad_loss: skip or rollback";
    fc_status status =
        FC_FAIL(FC_DATA,
                "%s%s; %s (fineclip inspect %s/results.h5 shows this step's gradients "
                "and pictures)",
                text, why, ways, c->output);
    fc_free(&why);
    return status;
}

/* ---- On record ---- */

static double norm_of(const void *values, fc_dtype dtype, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double value =
            dtype == FC_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
        sum += value * value;
    }
    return sqrt(sum);
}

static void measure_parameters(const fc_params *p, fc_incident *out)
{
    out->param_name = fc_alloc((size_t)p->count, sizeof *out->param_name);
    out->param_norm = fc_alloc((size_t)p->count, sizeof *out->param_norm);
    out->param_grad_norm = fc_alloc((size_t)p->count, sizeof *out->param_grad_norm);
    for (int i = 0; i < p->count; i++) {
        const fc_param *item = &p->items[i];
        if (item->name != NULL) {
            int64_t at = out->params++;
            out->param_name[at] = fc_strdup(item->name);
            void *values = fc_alloc((size_t)item->count, fc_dtype_bytes(p->dtype));
            fc_param_read(p, i, values);
            out->param_norm[at] = norm_of(values, p->dtype, item->count);
            if (item->grad_offset >= 0) { /* else frozen: 0 */
                fc_param_read_grad(p, i, values);
                out->param_grad_norm[at] = norm_of(values, p->dtype, item->count);
            }
            fc_free(&values);
        }
    }
}

/* The pictures of the whole step, in rank order. */
static fc_status gather_pictures(const fc_experiment *x, const fc_batch *batch, fc_incident *out)
{
    int ranks = fc_comm_size(x->comm);
    int64_t *counts = fc_alloc((size_t)ranks, sizeof *counts);
    fc_status status = fc_comm_all_gather_i64(x->comm, batch->images, counts);
    if (status == FC_OK) {
        for (int r = 0; r < ranks; r++) {
            out->images += counts[r];
        }
        out->image = fc_alloc((size_t)out->images, sizeof *out->image);
        out->image_id = fc_alloc((size_t)out->images, sizeof *out->image_id);
        status = fc_comm_all_gather(x->comm, batch->image_index, out->image, counts, FC_COMM_I64);
    }
    for (int64_t i = 0; status == FC_OK && i < out->images; i++) {
        const int64_t *ids = x->train->image_id;
        out->image_id[i] = ids != NULL ? ids[out->image[i]] : out->image[i];
    }
    fc_free(&counts);
    return status;
}

static fc_status collect(const fc_experiment *x, const fc_checkpoint_position *at,
                         const fc_batch *batch, const fc_step_result *result,
                         const fc_bad_loss *bad, fc_incident *out)
{
    static const char *const actions[] = {"stop", "skip", "rollback"};
    bool spike = bad->verdict == FC_LOSS_SPIKE;
    *out = (fc_incident){.step = at->step + 1,
                         .batch = at->step + at->skipped_batches,
                         .what = fc_strdup(spike ? "spike" : "not finite"),
                         .action = fc_strdup(actions[bad->action]),
                         .loss = result->loss,
                         .grad_norm = result->grad_norm,
                         .mean = at->watch.count > 0 ? at->watch.mean : NAN,
                         .deviation = at->watch.count > 0 ? fc_loss_deviation(&at->watch) : NAN,
                         .terms = x->step.term_count};
    out->term_name = fc_alloc((size_t)out->terms, sizeof *out->term_name);
    out->term = fc_alloc((size_t)out->terms, sizeof *out->term);
    for (int64_t i = 0; i < out->terms; i++) {
        out->term_name[i] = fc_strdup(x->step.terms[i].def->name);
        out->term[i] = result->terms[i];
    }
    measure_parameters(x->model->params, out);
    return gather_pictures(x, batch, out);
}

static fc_status put_on_record(fc_results *results, fc_incident *incident, bool last)
{
    fc_results_incident(results, incident);
    /* The other ranks end the job once this has returned. */
    return last ? fc_results_finish(results, "failed") : fc_results_flush(results);
}

fc_status fc_bad_loss_record(const fc_experiment *x, fc_results *results,
                             fc_checkpoint_position *at, const fc_batch *batch,
                             const fc_step_result *result, const fc_bad_loss *bad)
{
    char text[TEXT_BYTES];
    bool last = bad->action == FC_BAD_LOSS_STOP;
    fc_incident incident;
    FC_TRY(collect(x, at, batch, result, bad, &incident));
    fc_status status = FC_OK;
    if (fc_comm_rank(x->comm) == 0) {
        status = put_on_record(results, &incident, last);
    }
    fc_incident_fini(&incident);
    FC_TRY(fc_dist_agree(status));
    describe(text, x, at, result, bad->verdict);
    if (last) {
        return stop(x, at, text, bad);
    }
    at->watch.bad_in_row++;
    if (bad->action == FC_BAD_LOSS_SKIP) {
        fc_log_warn("%s: step skipped (run.on_bad_loss: skip)", text);
    } else {
        fc_log_warn("%s: back to the newest state (run.on_bad_loss: rollback)", text);
    }
    return FC_OK;
}
