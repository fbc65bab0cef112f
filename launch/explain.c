/* `fineclip explain EXPERIMENT.yaml`. */
#include "core/fatal.h"
#include "core/memory.h"
#include "launch/explain_regions.h"
#include "launch/verb_keys.h"
#include "launch/verbs.h"

#include <string.h>

static fc_status take(void *ctx, const char *key, const char *value)
{
    (void)key;
    *(const char **)ctx = value;
    return FC_OK;
}

fc_status fc_verb_explain(int argc, char **argv)
{
    fc_cli cli;
    FC_TRY(fc_cli_parse(&cli, argc, argv, NULL));
    static const char *const own[] = {"regions", NULL};
    const char *regions = NULL;
    FC_TRY(fc_verb_keys_take(&cli, own, take, &regions));
    fc_trained t;
    fc_status status = fc_trained_open(&t, &cli, 0);
    fc_store *store = NULL;
    if (status == FC_OK) {
        status = fc_trained_store(&t, regions, "regions", &store);
    }
    if (status == FC_OK) {
        char *file = fc_format("%s/explain/regions.h5", t.config->output);
        status = fc_explain_regions(&t, store, file);
        if (status != FC_OK) {
            fc_fatal(status);
        }
        fc_free(&file);
    }
    fc_trained_close(&t);
    return status;
}
