/* Evaluating an experiment's model: which stores, at which size, with which model copy. */
#include "core/memory.h"
#include "data/scenes/scenes.h"
#include "launch/experiment.h"
#include "launch/progress.h"

#include <math.h>
#include <string.h>

static void show(void *ctx, int64_t done, int64_t total)
{
    (void)total;
    fc_progress_step(ctx, done, NULL);
}

/* The model at the picture size an evaluation asks for: the model itself, or a copy with resized
 * positions. */
static fc_status model_at(const fc_experiment *x, int image_size, const fc_clip **out,
                          fc_clip **copy)
{
    *out = x->model;
    *copy = NULL;
    if (image_size != 0 && image_size != x->model->image_size) {
        FC_TRY(fc_clip_resized(copy, x->model, image_size));
        *out = *copy;
    }
    return FC_OK;
}

typedef fc_status (*protocol)(const fc_embedder *e, void *out);

static fc_status boxes(const fc_embedder *e, void *out)
{
    return fc_eval_boxes(e, out);
}

static fc_status retrieval(const fc_embedder *e, void *out)
{
    return fc_eval_retrieval(e, out);
}

static fc_status run_protocol(const fc_experiment *x, const char *label, fc_store *store,
                              int image_size, fc_fit fit, protocol run, void *out)
{
    const fc_clip *model;
    fc_clip *copy;
    FC_TRY(model_at(x, image_size, &model, &copy));
    fc_progress progress;
    fc_embedder e = {.model = model,
                     .comm = x->comm,
                     .store = store,
                     .fit = fit,
                     .progress = show,
                     .progress_ctx = &progress};
    e.tape = fc_clip_tape(model);
    (void)fc_tape_record(e.tape, false);
    fc_progress_begin(&progress, label, 0, store->images, 0);
    fc_status status = run(&e, out);
    fc_progress_end(&progress);
    fc_tape_destroy(&e.tape);
    fc_clip_destroy(&copy);
    return status;
}

/* Synthetic scenes: top-1 apart for the categories training scenes had and for those they left out.
 */
static void split_scenes(const fc_store *s, fc_evaluation *out)
{
    out->seen_top1 = out->unseen_top1 = NAN;
    if (s->tokenizer == NULL || strcmp(s->tokenizer, "scene-words") != 0 ||
        s->categories != fc_scene_categories()) {
        return;
    }
    double sum[2] = {0, 0};
    int count[2] = {0, 0};
    for (int k = 0; k < s->categories; k++) {
        if (out->box.per_category_regions[k] > 0) {
            int unseen = fc_scene_category_unseen(k);
            sum[unseen] += out->box.per_category_top1[k];
            count[unseen]++;
        }
    }
    out->seen_top1 = count[0] > 0 ? sum[0] / count[0] : NAN;
    out->unseen_top1 = count[1] > 0 ? sum[1] / count[1] : NAN;
}

static fc_status run_all(fc_experiment *x, fc_evaluation *out)
{
    const fc_config *c = x->config;
    if (x->box != NULL) {
        FC_TRY(run_protocol(x, "box classification", x->box, c->eval.box_classification.image_size,
                            c->eval.box_classification.resize, boxes, &out->box));
        out->has_box = true;
        split_scenes(x->box, out);
    }
    if (x->retrieval != NULL) {
        FC_TRY(run_protocol(x, "retrieval", x->retrieval, c->eval.retrieval.image_size,
                            c->eval.retrieval.resize, retrieval, &out->retrieval));
        out->has_retrieval = true;
    }
    for (int i = 0; i < c->eval.retrieval.more.count; i++) {
        const struct fc_eval_set *set = &c->eval.retrieval.more.set[i];
        char *label = fc_format("retrieval, %s", set->name);
        fc_status status = run_protocol(x, label, x->more[i], set->image_size, set->resize,
                                        retrieval, &out->more[i].result);
        fc_free(&label);
        FC_TRY(status);
        out->more[i].name = set->name;
        out->more_count = i + 1;
    }
    return FC_OK;
}

/* The model as it would be saved for use. */
static fc_status evaluate(fc_experiment *x, fc_evaluation *out)
{
    void *own;
    fc_clip_ensemble_begin(x->model, &own);
    fc_status status = run_all(x, out);
    fc_clip_ensemble_end(x->model, &own);
    return status;
}

fc_status fc_experiment_evaluate(fc_experiment *x, double epoch, fc_evaluation *out)
{
    *out = (fc_evaluation){.epoch = epoch, .seen_top1 = NAN, .unseen_top1 = NAN};
    if (!x->step.unsynced_gradients) {
        return evaluate(x, out);
    }
    /* Ranks have drifted apart: what is kept, and so what is tested, is rank 0's model. */
    fc_params *p = x->model->params;
    size_t bytes = (size_t)p->total * fc_dtype_bytes(p->dtype);
    void *own = fc_alloc(bytes, 1), *first = fc_alloc(bytes, 1);
    p->backend->download(own, p->data, bytes);
    memcpy(first, own, bytes);
    fc_status status = fc_comm_broadcast(x->comm, first, p->total, fc_comm_real(p->dtype), 0);
    if (status == FC_OK) {
        fc_params_write(p, first);
        status = evaluate(x, out);
    }
    fc_params_write(p, own);
    fc_free(&own);
    fc_free(&first);
    return status;
}
