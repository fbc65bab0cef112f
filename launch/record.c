#include "launch/record.h"

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
                            .precision = x->dtype == FC_F64 ? "fp64" : "fp32",
                            .world_size = fc_comm_size(x->comm),
                            .parameters = fc_params_size(x->model->params),
                            .train_images = x->sampler != NULL ? fc_sampler_size(x->sampler) : 0,
                            .terms = x->step.term_count,
                            .term_name = names};
    fc_status status = fc_results_open(out, path, &info, resume);
    fc_free(&text);
    return status;
}

fc_status fc_record_evaluation(fc_results *results, const fc_experiment *x, const fc_evaluation *e)
{
    const fc_config *c = x->config;
    char box[512], retrieval[512];
    snprintf(box, sizeof box,
             "zero-shot classification of ground-truth boxes; data %s; categories %" PRId64
             "; image size %d; resize %s; "
             "prompts %" PRId64,
             x->box != NULL ? x->box->path : "none", e->box.categories,
             c->eval.box_classification.image_size != 0 ? c->eval.box_classification.image_size
                                                        : x->model->image_size,
             c->eval.box_classification.resize == FC_FIT_LONGEST ? "longest" : "squash",
             x->box != NULL ? x->box->prompts : 0);
    snprintf(retrieval, sizeof retrieval,
             "data %s; images %" PRId64 "; captions %" PRId64 "; image size %d; resize %s",
             x->retrieval != NULL ? x->retrieval->path : "none", e->retrieval.images,
             e->retrieval.captions,
             c->eval.retrieval.image_size != 0 ? c->eval.retrieval.image_size
                                               : x->model->image_size,
             c->eval.retrieval.resize == FC_FIT_CENTER_CROP ? "center_crop" : "squash");
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
                               .retrieval_protocol = e->has_retrieval ? retrieval : NULL};
    return fc_results_eval(results, &row);
}
