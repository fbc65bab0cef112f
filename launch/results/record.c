#include "launch/results/record.h"

#include "core/build_info.h"
#include "core/memory.h"

#include <inttypes.h>
#include <stdio.h>

fc_status fc_record_open(fc_results **out, const char *path, const fc_experiment *x,
                         const fc_results_resume *resume)
{
    const char *names[FC_MAX_TERMS];
    for (int i = 0; i < x->step.term_count; i++) {
        names[i] = x->step.terms[i].def->name;
    }
    char *text = fc_config_text(x->config);
    fc_results_info info = {.name = x->config->name,
                            .config = text,
                            .code_version = FC_VERSION,
                            .device = "cpu",
                            .precision = fc_precision_name(x->device.compute),
                            .world_size = fc_comm_size(x->comm),
                            .parameters = fc_params_size(x->model->params),
                            .train_images = x->sampler != NULL ? fc_sampler_size(x->sampler) : 0,
                            .terms = x->step.term_count,
                            .term_name = names};
    fc_status status = fc_results_open(out, path, &info, resume);
    fc_free(&text);
    return status;
}

enum { PROTOCOL_BYTES = 512 };

static void say_retrieval(char out[PROTOCOL_BYTES], const fc_experiment *x, const fc_store *store,
                          const fc_retrieval_result *r, int image_size, fc_fit resize)
{
    snprintf(out, PROTOCOL_BYTES,
             "data %s; images %" PRId64 "; captions %" PRId64 "; image size %d; resize %s",
             store != NULL ? store->path : "none", r->images, r->captions,
             image_size != 0 ? image_size : x->model->image_size,
             resize == FC_FIT_CENTER_CROP ? "center_crop" : "squash");
}

fc_status fc_record_evaluation(fc_results *results, const fc_experiment *x, const fc_evaluation *e)
{
    const fc_config *c = x->config;
    char box[PROTOCOL_BYTES], retrieval[PROTOCOL_BYTES];
    snprintf(box, sizeof box,
             "zero-shot classification of ground-truth boxes; data %s; categories %" PRId64
             "; image size %d; resize %s; "
             "prompts %" PRId64,
             x->box != NULL ? x->box->path : "none", e->box.categories,
             c->eval.box_classification.image_size != 0 ? c->eval.box_classification.image_size
                                                        : x->model->image_size,
             c->eval.box_classification.resize == FC_FIT_LONGEST ? "longest" : "squash",
             x->box != NULL ? x->box->prompts : 0);
    say_retrieval(retrieval, x, x->retrieval, &e->retrieval, c->eval.retrieval.image_size,
                  c->eval.retrieval.resize);
    struct fc_results_set sets[FC_MOST_SETS];
    char protocol[FC_MOST_SETS][PROTOCOL_BYTES];
    for (int i = 0; i < e->more_count; i++) {
        const struct fc_eval_set *set = &c->eval.retrieval.more.set[i];
        const fc_retrieval_result *r = &e->more[i].result;
        say_retrieval(protocol[i], x, x->more[i], r, set->image_size, set->resize);
        sets[i] = (struct fc_results_set){
            .name = set->name,
            .protocol = protocol[i],
            .value = {r->i2t_r1, r->i2t_r5, r->i2t_r10, r->t2i_r1, r->t2i_r5, r->t2i_r10}};
    }
    fc_results_eval_row row = {.epoch = e->epoch,
                               .has_box = e->has_box,
                               .has_retrieval = e->has_retrieval,
                               .top1 = e->box.top1,
                               .top5 = e->box.top5,
                               .micro_top1 = e->box.micro_top1,
                               .micro_top5 = e->box.micro_top5,
                               .i2t_r1 = e->retrieval.i2t_r1,
                               .i2t_r5 = e->retrieval.i2t_r5,
                               .i2t_r10 = e->retrieval.i2t_r10,
                               .t2i_r1 = e->retrieval.t2i_r1,
                               .t2i_r5 = e->retrieval.t2i_r5,
                               .t2i_r10 = e->retrieval.t2i_r10,
                               .regions = e->box.regions,
                               .categories = e->box.categories,
                               .per_category_top1 = e->box.per_category_top1,
                               .box_protocol = e->has_box ? box : NULL,
                               .retrieval_protocol = e->has_retrieval ? retrieval : NULL,
                               .sets = e->more_count,
                               .set = sets};
    return fc_results_eval(results, &row);
}
