#include "launch/trained.h"

#include "core/build_info.h"
#include "core/log.h"
#include "core/memory.h"
#include "data/store/hdf5_util.h"
#include "launch/dist.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>

static const unsigned ALL_FROZEN = FC_FREEZE_IMAGE | FC_FREEZE_TEXT | FC_FREEZE_LOGIT_SCALE;

static void sum_weights(const fc_params *p, char text[16])
{
    uLong sum = crc32_z(0, NULL, 0);
    for (int i = 0; i < p->count; i++) {
        const fc_param *item = &p->items[i];
        if (item->name != NULL) {
            float *values = fc_alloc((size_t)item->count, sizeof *values);
            fc_param_get_f32(p, i, values);
            sum = crc32_z(sum, (const Bytef *)values, (size_t)item->count * sizeof *values);
            fc_free(&values);
        }
    }
    snprintf(text, 16, "%08lx", sum);
}

static fc_status load_config(fc_trained *t, const fc_cli *cli)
{
    FC_TRY(fc_config_load(&t->config, cli->file, cli->overrides, cli->override));
    FC_TRY(fc_config_check(t->config, 0));
    t->config->device = FC_DEVICE_CPU; /* where relevance is computed */
    t->config->model.freeze = ALL_FROZEN;
    t->config->model.unlocked_blocks = 0;
    t->config->loss_count = 0; /* nothing trains, so that nothing of the beginning is kept */
    t->config->train.ensemble_alpha = 1;
    if (t->config->precision == FC_PRECISION_BF16) {
        t->config->precision = FC_PRECISION_FP32;
    }
    return FC_OK;
}

static fc_status resize(fc_trained *t, int image_size)
{
    if (image_size == 0 || image_size == t->model->image_size) {
        return FC_OK;
    }
    fc_clip *other;
    FC_TRY(fc_clip_resized(&other, t->model, image_size));
    fc_clip_destroy(&t->model);
    t->model = other;
    return FC_OK;
}

fc_status fc_trained_open(fc_trained *t, const fc_cli *cli, int image_size)
{
    *t = (fc_trained){.comm = fc_dist_comm()};
    FC_TRY(fc_dist_agree(load_config(t, cli)));
    const fc_device cpu = fc_device_cpu(t->config);
    FC_TRY(fc_dist_agree(fc_experiment_model(t->config, &cpu, FC_FOR_EVAL, &t->model)));
    FC_TRY(fc_experiment_weights(t->config, t->comm, t->model, &t->weights, &t->epoch));
    if (strcmp(t->weights, "random") == 0) {
        fc_log_warn("%s/checkpoints has no checkpoint: the model is at its random start",
                    t->config->output);
    } else {
        fc_log_info("weights: %s", t->weights);
    }
    FC_TRY(fc_dist_agree(resize(t, image_size)));
    sum_weights(t->model->params, t->checksum);
    return FC_OK;
}

void fc_trained_close(fc_trained *t)
{
    for (size_t i = 0; i < sizeof t->store / sizeof *t->store; i++) {
        fc_store_close(&t->store[i]);
    }
    fc_clip_destroy(&t->model);
    fc_free(&t->weights);
    fc_config_destroy(&t->config);
}

fc_status fc_trained_store(fc_trained *t, const char *which, const char *key, fc_store **out)
{
    const fc_config *c = t->config;
    fc_source named = {.path = which};
    const fc_source *source = &named;
    size_t at = 0;
    for (; at < sizeof t->store / sizeof *t->store && t->store[at] != NULL; at++) {
        if (strcmp(t->store_name[at], which) == 0) {
            *out = t->store[at];
            return FC_OK;
        }
    }
    *out = NULL;
    if (strcmp(which, "train") == 0) {
        source = &c->data.train;
    } else if (strcmp(which, "eval") == 0) {
        source = c->eval.box_classification.data.node != NULL ? &c->eval.box_classification.data
                                                              : &c->eval.retrieval.data;
    }
    if (source->path == NULL && !source->synthetic) {
        return FC_FAIL(FC_USAGE,
                       "%s=%s: the experiment names no such store; want train, eval or "
                       "the path of a store",
                       key, which);
    }
    fc_experiment x = {.config = c, .comm = t->comm};
    FC_ASSERT(at < sizeof t->store / sizeof *t->store);
    FC_TRY(fc_experiment_store(&x, source, key, &t->store[at]));
    t->store_name[at] = which;
    *out = t->store[at];
    return FC_OK;
}

fc_status fc_trained_describe(const fc_trained *t, hid_t object, const char *where)
{
    char *config = fc_config_text(t->config);
    const struct {
        const char *name, *value;
    } texts[] = {{"name", t->config->name},
                 {"config", config},
                 {"code_version", FC_VERSION},
                 {"weights", t->weights},
                 {"weights_crc32", t->checksum},
                 {"precision", t->model->params->dtype == FC_F64 ? "fp64" : "fp32"}};
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"image_size", t->model->image_size},
                   {"grid", t->model->grid},
                   {"embed_dim", t->model->config.embed_dim}};
    fc_status status = FC_OK;
    for (size_t i = 0; status == FC_OK && i < sizeof texts / sizeof texts[0]; i++) {
        status = fci_h5_set_string(object, where, texts[i].name, texts[i].value);
    }
    for (size_t i = 0; status == FC_OK && i < sizeof numbers / sizeof numbers[0]; i++) {
        status = fci_h5_set_int(object, where, numbers[i].name, numbers[i].value);
    }
    fc_free(&config);
    return status != FC_OK ? status : fci_h5_set_real(object, where, "epoch", t->epoch);
}
