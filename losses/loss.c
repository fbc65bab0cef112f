#include "losses/loss.h"

#include <stdio.h>
#include <string.h>

static const fc_loss_def *const all[] = {
#define FC_LOSS(name) &fc_loss_##name,
#include "losses/loss.def"
#undef FC_LOSS
};

const fc_loss_def *const *fc_loss_all(int *count)
{
    *count = (int)(sizeof all / sizeof *all);
    return all;
}

const fc_loss_def *fc_loss_find(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    return NULL;
}

static fc_status read_option(const fc_loss_option *option, const fc_yaml *node,
                             fc_loss_options *out, int at)
{
    int word;
    if (option->words != NULL) {
        FC_TRY(fc_yaml_choice(node, option->words, &word));
        out->value[at] = word;
        return FC_OK;
    }
    if (option->lo < option->hi) {
        return fc_yaml_int(node, (int64_t)option->lo, (int64_t)option->hi, &out->value[at]);
    }
    out->text[at] = fc_yaml_text(node);
    if (out->text[at] == NULL && fc_yaml_type(node) != FC_YAML_NULL) {
        return fc_yaml_error(node, "want a text");
    }
    return FC_OK;
}

/* A default: as if it had been written. Texts are null by default, so that nothing outlives the
 * tree. */
static fc_status read_fallback(const fc_loss_option *option, fc_loss_options *out, int at)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s: %s", option->key, option->fallback);
    fc_yaml *tree = NULL;
    FC_TRY(fc_yaml_parse(&tree, text, (size_t)n, "default"));
    fc_status status = read_option(option, fc_yaml_get(tree, option->key), out, at);
    fc_yaml_destroy(&tree);
    FC_ASSERT(out->text[at] == NULL);
    return status;
}

fc_status fc_loss_read_options(const fc_loss_def *def, const fc_yaml *mapping, fc_loss_options *out)
{
    *out = (fc_loss_options){0};
    for (int i = 0; def->options != NULL && def->options[i].key != NULL; i++) {
        FC_ASSERT(i < FC_LOSS_OPTIONS);
        const fc_yaml *node = mapping != NULL ? fc_yaml_get(mapping, def->options[i].key) : NULL;
        FC_TRY(node != NULL ? read_option(&def->options[i], node, out, i)
                            : read_fallback(&def->options[i], out, i));
    }
    return FC_OK;
}

fc_status fc_region_mean(const fc_loss_inputs *in, int64_t regions, double *sum, double *factor)
{
    int ranks = fc_comm_size(in->comm);
    bool mean_of_means = !in->gather_with_grad && ranks > 1;
    double sums[2] = {*sum, (double)regions};
    if (mean_of_means) {
        *factor = regions > 0 ? 1.0 / ((double)regions * ranks) : 0;
        sums[0] *= *factor;
    }
    fc_loss_meet(in, 1);
    FC_TRY(fc_comm_all_reduce(in->comm, sums, 2, FC_COMM_F64, FC_COMM_SUM));
    if (!mean_of_means) {
        *factor = sums[1] > 0 ? 1.0 / sums[1] : 0;
        sums[0] *= *factor;
    }
    *sum = sums[0];
    return FC_OK;
}
