#include "launch/memory_plan.h"

#include "core/memory.h"
#include "data/largest_batch.h"
#include "launch/input.h"

#include <stdio.h>

/* The last block of a tower is taken apart for the rows that are wanted, and never runs again. */
static int most_of(int layers, bool frozen)
{
    return frozen ? 0 : layers - 1;
}

static fc_recompute all_blocks(const fc_clip *m)
{
    return (fc_recompute){
        .vision = most_of(m->config.vision.layers, (m->freeze & FC_FREEZE_IMAGE) != 0),
        .text = most_of(m->config.text.layers, (m->freeze & FC_FREEZE_TEXT) != 0)};
}

/* One block more; false: there is none. A block's values grow with its width, the FLOPs of its
 * products with the square. */
static bool add_block(fc_memory_plan *p, const fc_clip *m)
{
    const bool text_left = p->recompute.text < p->all.text;
    const bool vision_left = p->recompute.vision < p->all.vision;
    const bool text_first = m->config.text.width <= m->config.vision.width;
    const bool text = text_left && (text_first || !vision_left);
    p->recompute.text += text ? 1 : 0;
    p->recompute.vision += !text && vision_left ? 1 : 0;
    return text || vision_left;
}

/* Bytes that a step's arenas take. Kernels' scratch, which a rehearsal does not see, is less than
 * what an arena takes at least; the optimizer has an arena of its own. */
static int64_t room_of(const fc_tape_memory *step, const fc_backend *backend)
{
    return (int64_t)(fc_arena_room(step->activations) + fc_arena_room(step->gradients) +
                     fc_arena_room(step->scratch) + fc_arena_room(1) +
                     (backend->on_host ? fc_arena_room(step->host) : 0));
}

static fc_status rehearse(fc_memory_plan *plan, fc_step *step, const fc_clip *model, fc_comm *comm,
                          const fc_batch *largest)
{
    FC_TRY(fc_step_rehearse(step, largest, plan->recompute, &plan->step));
    plan->total = plan->held + room_of(&plan->step, model->params->backend);
    return fc_comm_all_reduce(comm, &plan->total, 1, FC_COMM_I64, FC_COMM_MAX);
}

static double mib(int64_t bytes)
{
    return (double)bytes / (1 << 20);
}

fc_status fc_memory_plan_make(fc_memory_plan *out, const fc_config *config, fc_step *step,
                              const fc_clip *model, fc_comm *comm, const fc_batch *largest,
                              int64_t later)
{
    const int64_t budget = config->train.memory_budget;
    *out = (fc_memory_plan){.held = model->params->backend->held() + later,
                            .all = all_blocks(model),
                            .images = largest->images,
                            .regions = largest->regions};
    if (config->train.recompute == FC_RECOMPUTE_BLOCKS) {
        out->recompute = out->all;
    }
    FC_TRY(rehearse(out, step, model, comm, largest));
    int64_t least = out->total;
    while (budget > 0 && out->total > budget) {
        if (!add_block(out, model)) {
            return fc_config_error(
                config, FC_USAGE, "train.memory_budget",
                "%.0f MiB is too little: with all blocks run again the largest batch, %lld "
                "pictures with %lld regions on a rank, takes %.0f MiB; set at least that, or a "
                "smaller train.batch_size, a smaller data.max_boxes or more train.accumulate",
                mib(budget), (long long)largest->images, (long long)largest->regions, mib(least));
        }
        FC_TRY(rehearse(out, step, model, comm, largest));
        least = out->total < least ? out->total : least;
    }
    return FC_OK;
}

/* A region of the training store that shows a concept. */
static int64_t some_region(const fc_experiment *x)
{
    int64_t r = x->concepts != NULL ? x->train->regions : 0;
    while (r > 0 && fc_concept_of(x->concepts, r - 1) < 0) {
        r--;
    }
    return r - 1;
}

fc_status fc_memory_plan_of(fc_memory_plan *out, fc_experiment *x, fc_step *step)
{
    const fc_loader_options options = fc_experiment_loader(x, 0, 0);
    const bool blank = x->concepts != NULL && x->concepts->embeddings == NULL;
    fc_batch largest;
    fc_largest_batch(&largest, x->train, &options, some_region(x));
    if (x->device.backend->lanes != NULL) { /* pictures come there beside the steps */
        largest.device_pictures = largest.pictures;
        largest.device_crops = largest.crops;
    }
    if (blank) {
        x->concepts->embeddings =
            fc_alloc((size_t)(x->concepts->count * x->model->config.embed_dim),
                     fc_dtype_bytes(x->model->params->dtype));
    }
    fc_status status = fc_memory_plan_make(out, x->config, step, x->model, x->comm, &largest,
                                           fc_input_bytes(x->device.backend, &options));
    if (blank) {
        fc_free(&x->concepts->embeddings);
    }
    fc_batch_free(&largest);
    return status;
}

fc_status fc_memory_plan_ahead(fc_memory_plan *out, fc_experiment *x)
{
    fc_step *step = fc_step_create(x->model, x->comm, &x->step);
    fc_status status = fc_memory_plan_of(out, x, step);
    fc_step_destroy(&step);
    return status;
}

void fc_memory_plan_say(const fc_memory_plan *plan, char *text, size_t bytes)
{
    const struct {
        int again, all;
        const char *tower;
    } parts[] = {{plan->recompute.vision, plan->all.vision, "picture"},
                 {plan->recompute.text, plan->all.text, "text"}};
    size_t used = 0;
    snprintf(text, bytes, "none");
    for (int i = 0; i < 2 && used < bytes; i++) {
        if (parts[i].again > 0) {
            used += (size_t)snprintf(text + used, bytes - used, "%s%d of %d of the %s tower",
                                     used > 0 ? ", " : "", parts[i].again, parts[i].all,
                                     parts[i].tower);
        }
    }
}
