#include "launch/dry_run.h"

#include "core/memory.h"
#include "core/rehearsal.h"
#include "data/grid.h"
#include "launch/memory_plan.h"
#include "launch/table.h"
#include "models/estimate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

void fc_store_mean_tokens(const fc_store *s, double *caption, double *region)
{
    *caption = s->captions > 0 ? (double)s->caption_offsets[s->captions] / (double)s->captions : 0;
    int64_t captioned = 0;
    for (int64_t r = 0; r < s->regions; r++) {
        captioned += s->region_offsets[r + 1] > s->region_offsets[r];
    }
    *region = captioned > 0 ? (double)s->region_offsets[s->regions] / (double)captioned : 0;
}

/* Regions a picture, on average. */
static double regions_of(const fc_experiment *x)
{
    int most = x->config->data.max_boxes;
    if (x->config->data.regions == FC_PICK_GRID) {
        return fc_grid_mean_cells(x->config->data.grid_split, most);
    }
    return fmin(most, (double)x->train->regions / (double)x->train->images);
}

/* Pictures a rank has at a time. */
static double images_of(const fc_config *c)
{
    return (double)c->train.batch_size / c->train.accumulate;
}

/* The work of one rank's step with the store's average regions. */
static fc_clip_work work_of(const fc_experiment *x)
{
    const fc_config *c = x->config;
    unsigned needs = fc_step_needs(&x->step);
    double caption, region, images = images_of(c);
    double regions = images * regions_of(x);
    fc_store_mean_tokens(x->train, &caption, &region);
    bool text = (needs & FC_NEED_TEXT) != 0, region_text = (needs & FC_NEED_REGION_TEXT) != 0;
    double crops = (needs & FC_NEED_CROP) != 0 ? regions : 0;
    double pictures = (needs & (FC_NEED_IMAGE | FC_NEED_BOX)) != 0 ? images : 0;
    return (fc_clip_work){
        .sequences = (int64_t)(pictures + crops + 0.5),
        .dense_count = (needs & FC_NEED_BOX) != 0 ? (int64_t)images : 0,
        .class_first = (needs & FC_NEED_IMAGE) != 0 ? 0 : (int64_t)images,
        .text_rows = (int64_t)((text ? images : 0) + (region_text ? regions : 0) + 0.5),
        .text_tokens =
            (int64_t)((text ? images * caption : 0) + (region_text ? regions * region : 0) + 0.5),
        .freeze = fc_experiment_freeze(c),
    };
}

/* What the teacher adds to a step's FLOPs: the crops once forward. */
static double teacher_flops(const fc_experiment *x)
{
    if ((fc_step_needs(&x->step) & FC_NEED_TEACHER) == 0) {
        return 0;
    }
    fc_clip_cost cost;
    fc_clip_work crops = {.sequences = (int64_t)(images_of(x->config) * regions_of(x) + 0.5),
                          .freeze = FC_FREEZE_IMAGE | FC_FREEZE_TEXT | FC_FREEZE_LOGIT_SCALE};
    fc_clip_estimate(&cost, &x->config->model.config, x->config->model.image_size, &crops);
    return cost.forward_flops;
}

static double mib(int64_t bytes)
{
    return (double)bytes / (1 << 20);
}

fc_status fc_dry_run(fc_experiment *x)
{
    fc_memory_plan plan;
    FC_TRY(fc_memory_plan_ahead(&plan, x));
    if (fc_comm_rank(x->comm) != 0) {
        return FC_OK;
    }
    char *text = fc_config_text(x->config);
    fputs(text, stdout);
    fc_free(&text);
    const fc_params *p = x->model->params;
    fc_clip_cost cost;
    fc_clip_work work = work_of(x);
    fc_clip_estimate(&cost, &x->config->model.config, x->config->model.image_size, &work);
    const bool imagined = x->device.backend == fc_rehearsal(false);
    const char *device = imagined ? "a CUDA device (none is here)" : x->device.backend->name;
    char again[96];
    fc_memory_plan_say(&plan, again, sizeof again);
    fputs("\n", stdout);
    fc_table *t = fc_table_create(2, NULL);
    fc_table_cell(t, "parameters");
    fc_table_cell(t, "%" PRId64 ", of them trained %" PRId64, fc_params_size(p),
                  fc_params_trained_size(p));
    fc_table_cell(t, "training pictures");
    fc_table_cell(t, "%" PRId64 " of %s", fc_sampler_size(x->sampler), x->train->path);
    fc_table_cell(t, "global batch");
    fc_table_cell(t, "%" PRId64 " pictures on %d ranks", x->global_batch, fc_comm_size(x->comm));
    fc_table_cell(t, "steps");
    fc_table_cell(t, "%" PRId64 " (%.4g epochs of %" PRId64 ")", x->total_steps,
                  (double)x->total_steps / (double)x->steps_per_epoch, x->steps_per_epoch);
    fc_table_cell(t, "FLOPs a step and rank");
    fc_table_cell(t, "%.4g (average regions)",
                  (cost.step_flops + teacher_flops(x)) * x->step.accumulate);
    fc_table_cell(t, "memory a rank");
    fc_table_cell(t,
                  "at most %.0f MiB on %s: %.0f whatever the batch, %.0f with the largest, "
                  "%" PRId64 " pictures and %" PRId64 " regions",
                  mib(plan.total), device, mib(plan.held), mib(plan.total - plan.held), plan.images,
                  plan.regions);
    fc_table_cell(t, "blocks run again");
    fc_table_cell(t, "%s", again);
    fc_table_print(t, stdout);
    fc_table_destroy(&t);
    return FC_OK;
}
