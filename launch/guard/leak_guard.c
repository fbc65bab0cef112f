#include "launch/guard/leak_guard.h"

#include "core/log.h"
#include "core/memory.h"
#include "data/store/overlap.h"
#include "launch/dist.h"

#include <inttypes.h>
#include <sys/stat.h>

enum { NAMED = 3 };

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Names of the first shared pictures, or their indices where the store keeps no names; heap. */
static char *name_some(fc_store *store, const fc_overlap *shared)
{
    char *names = fc_strdup("");
    for (int64_t i = 0; i < shared->listed; i++) {
        char *name = NULL;
        if (fc_store_text(store, "images/name", shared->list[i].a, &name) != FC_OK) {
            fc_error_clear();
        }
        char *longer = name != NULL ? fc_format("%s%s%s", names, i > 0 ? ", " : "", name)
                                    : fc_format("%s%spicture %" PRId64, names, i > 0 ? ", " : "",
                                                shared->list[i].a);
        fc_free(&names);
        fc_free(&name);
        names = longer;
    }
    return names;
}

static fc_status complain(const fc_experiment *x, const char *what)
{
    if (x->config->data.leak_guard == FC_LEAK_REFUSE) {
        return fc_config_error(x->config, FC_DATA, "data.leak_guard", "refused: %s", what);
    }
    fc_log_warn("%s (data.leak_guard: off silences this, refuse stops here)", what);
    return FC_OK;
}

/* keys: what the store is evaluated for. */
static fc_status compare(const fc_experiment *x, fc_store *eval, const char *keys)
{
    if (eval == x->train || same_file(eval->path, x->train->path)) {
        char *what = fc_format("%s evaluates on the training store itself, %s: its scores are of "
                               "pictures seen in training",
                               keys, eval->path);
        fc_status status = complain(x, what);
        fc_free(&what);
        return status;
    }
    if (eval->image_hash == NULL || x->train->image_hash == NULL) {
        fc_log_info("whether %s shares pictures with data.train is not known: %s keeps no hashes "
                    "of its pictures",
                    keys, eval->image_hash == NULL ? eval->path : x->train->path);
        return FC_OK;
    }
    fc_overlap shared;
    FC_TRY(fc_overlap_find(&shared, eval, x->train, NAMED));
    fc_status status = FC_OK;
    if (shared.of_a > 0) {
        char *names = name_some(eval, &shared);
        char *what =
            fc_format("%" PRId64 " of the %" PRId64 " pictures of %s (%s) are in data.train "
                      "(%s), too: %s%s; fineclip inspect lists them, given both files",
                      shared.of_a, eval->images, keys, eval->path, x->train->path, names,
                      shared.of_a > shared.listed ? ", ..." : "");
        status = complain(x, what);
        fc_free(&names);
        fc_free(&what);
    }
    fc_overlap_free(&shared);
    return status;
}

static fc_status compare_sets(const fc_experiment *x)
{
    for (int i = 0; i < x->config->eval.retrieval.more.count; i++) {
        if (x->more[i] == x->box || x->more[i] == x->retrieval) {
            continue; /* compared */
        }
        char *key = fc_format("eval.retrieval.more.%s", x->config->eval.retrieval.more.set[i].name);
        fc_status status = compare(x, x->more[i], key);
        fc_free(&key);
        FC_TRY(status);
    }
    return FC_OK;
}

static fc_status compare_all(const fc_experiment *x)
{
    bool one = x->box != NULL && x->box == x->retrieval;
    if (x->box != NULL) {
        FC_TRY(compare(x, x->box,
                       one ? "eval.box_classification and eval.retrieval"
                           : "eval.box_classification"));
    }
    if (x->retrieval != NULL && !one) {
        FC_TRY(compare(x, x->retrieval, "eval.retrieval"));
    }
    return compare_sets(x);
}

fc_status fc_leak_guard(const fc_experiment *x)
{
    if (x->train == NULL || x->config->data.leak_guard == FC_LEAK_OFF) {
        return FC_OK;
    }
    return fc_dist_agree(fc_comm_rank(x->comm) == 0 ? compare_all(x) : FC_OK);
}
