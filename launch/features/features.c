/* `fineclip features EXPERIMENT.yaml`. */
#include "launch/features/features.h"

#include "core/log.h"
#include "core/memory.h"
#include "launch/verb_keys.h"
#include "launch/verbs.h"

#include <string.h>

typedef struct request {
    fc_features_options options;
    const char *store, *file; /* NULL: not given */
    int64_t image_size;
} request;

static const char *const keys[] = {"store",  "kinds",      "dtype", "normalize",
                                   "resize", "image_size", "file",  NULL};

/* "global,box" as bits. */
static fc_status take_kinds(const char *value, unsigned *out)
{
    static const char *const words[] = {"global", "dense", "box", "crop", "text", NULL};
    char *list = fc_strdup(value), *rest = list;
    fc_status status = FC_OK;
    *out = 0;
    for (char *word; status == FC_OK && (word = strsep(&rest, ",")) != NULL;) {
        int kind = 0;
        status = fc_verb_key_choice("kinds", word, words, &kind);
        *out |= 1U << kind;
    }
    fc_free(&list);
    return status;
}

static fc_status take(void *ctx, const char *key, const char *value)
{
    static const char *const dtypes[] = {"f32", "f16", NULL}, *const bools[] = {"false", "true",
                                                                                NULL};
    static const char *const resizes[] = {"squash", "center_crop", "longest", NULL};
    request *r = ctx;
    int choice;
    if (strcmp(key, "kinds") == 0) {
        FC_TRY(take_kinds(value, &r->options.kinds));
    } else if (strcmp(key, "dtype") == 0) {
        FC_TRY(fc_verb_key_choice(key, value, dtypes, &choice));
        r->options.half = choice == 1;
    } else if (strcmp(key, "normalize") == 0) {
        FC_TRY(fc_verb_key_choice(key, value, bools, &choice));
        r->options.normalize = choice == 1;
    } else if (strcmp(key, "resize") == 0) {
        FC_TRY(fc_verb_key_choice(key, value, resizes, &choice));
        r->options.resize = (fc_fit)choice;
    } else if (strcmp(key, "image_size") == 0) {
        FC_TRY(fc_verb_key_int(key, value, 1, 4096, &r->image_size));
    } else if (strcmp(key, "store") == 0) {
        r->store = value;
    } else {
        r->file = value;
    }
    return value[0] == '\0' ? FC_FAIL(FC_USAGE, "%s= has no value", key) : FC_OK;
}

/* <output>/features/<the store's name>. */
static char *usual_file(const fc_trained *t, const fc_store *store)
{
    const char *slash = strrchr(store->path, '/');
    return fc_format("%s/features/%s", t->config->output, slash != NULL ? slash + 1 : store->path);
}

static fc_status extract(fc_trained *t, const request *r)
{
    const fc_config *c = t->config;
    const bool eval =
        c->eval.box_classification.data.node != NULL || c->eval.retrieval.data.node != NULL;
    fc_store *store;
    FC_TRY(fc_trained_store(t,
                            r->store != NULL ? r->store
                            : eval           ? "eval"
                                             : "train",
                            "store", &store));
    char *file = r->file != NULL ? fc_strdup(r->file) : usual_file(t, store);
    fc_status status = fc_features_write(t, store, file, &r->options);
    if (status == FC_OK) {
        fc_log_info("features of %s are in %s", store->path, file);
    }
    fc_free(&file);
    return status;
}

fc_status fc_verb_features(int argc, char **argv)
{
    request r = {.options = {.kinds = FC_FEATURES_GLOBAL | FC_FEATURES_BOX | FC_FEATURES_TEXT,
                             .normalize = true,
                             .resize = FC_FIT_SQUASH}};
    fc_cli cli;
    FC_TRY(fc_cli_parse(&cli, argc, argv, NULL));
    FC_TRY(fc_verb_keys_take(&cli, keys, take, &r));
    fc_trained t;
    fc_status status = fc_trained_open(&t, &cli, (int)r.image_size);
    if (status == FC_OK) {
        status = extract(&t, &r);
    }
    fc_trained_close(&t);
    return status;
}
