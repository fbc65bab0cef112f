#include "launch/concepts.h"

#include "core/memory.h"
#include "core/rng.h"

#include <math.h>
#include <string.h>

static fc_status check_categories(const fc_store *s)
{
    if (s->categories == 0 || s->prompts == 0) {
        return FC_FAIL(FC_DATA,
                       "%s has no categories with prompts, and losses.regionclip needs them (make "
                       "it with `instances` and `prompts` in the recipe)",
                       s->path);
    }
    return FC_OK;
}

static int32_t find_name(const fc_store *s, const char *name)
{
    for (int64_t k = 0; k < s->categories; k++) {
        if (strcmp(s->category_names[k], name) == 0) {
            return (int32_t)k;
        }
    }
    return -1;
}

/* A category that no region shows need not be among the concepts. */
static fc_status match_names(fc_concepts *c, const fc_store *train)
{
    c->of_category = fc_alloc((size_t)train->categories, sizeof *c->of_category);
    for (int64_t k = 0; k < train->categories; k++) {
        c->of_category[k] = find_name(c->store, train->category_names[k]);
    }
    for (int64_t r = 0; r < train->regions; r++) {
        int32_t category = train->category[r];
        if (category >= 0 && c->of_category[category] < 0) {
            return FC_FAIL(FC_DATA,
                           "%s: region %lld is a %s, which is not among the categories of %s "
                           "(losses.regionclip.concepts)",
                           train->path, (long long)r, train->category_names[category],
                           c->store->path);
        }
    }
    return FC_OK;
}

static fc_status find_concepts(fc_concepts *c, fc_store *train, const char *path)
{
    if (train->regions == 0 || train->category == NULL) {
        return FC_FAIL(FC_DATA,
                       "%s has no regions with categories, and losses.regionclip needs them",
                       train->path);
    }
    c->store = train;
    if (path != NULL && strcmp(path, train->path) != 0) {
        FC_TRY(fc_store_open(&c->store, path));
        c->owned = true;
    }
    FC_TRY(check_categories(c->store));
    c->count = c->store->categories;
    c->region_category = train->category;
    return c->owned ? match_names(c, train) : FC_OK;
}

fc_status fc_concepts_open(fc_concepts **out, fc_store *train, const char *path)
{
    *out = fc_alloc(1, sizeof **out);
    fc_status status = find_concepts(*out, train, path);
    if (status != FC_OK) {
        fc_concepts_close(out);
    }
    return status;
}

fc_status fc_concepts_embed(fc_concepts *c, const fc_clip *model, fc_comm *comm)
{
    fc_embedder e = {
        .model = model->initial != NULL ? model->initial : model, .comm = comm, .store = c->store};
    e.tape = fc_clip_tape(e.model);
    (void)fc_tape_record(e.tape, false);
    fc_free(&c->embeddings);
    fc_status status = fc_embed_classes(&e, &c->embeddings);
    fc_tape_destroy(&e.tape);
    return status;
}

fc_concepts *fc_concepts_fake(int64_t count, int64_t regions, const fc_clip *model, uint64_t seed)
{
    fc_concepts *c = fc_alloc(1, sizeof *c);
    int64_t width = model->config.embed_dim;
    bool is_double = model->params->dtype == FC_F64;
    int32_t *category = fc_alloc((size_t)regions, sizeof *category);
    fc_rng rng = fc_rng_stream(seed, FC_RNG_BENCH, 1, 0);
    *c = (fc_concepts){.count = count, .region_category = category, .owned = true};
    for (int64_t r = 0; r < regions; r++) {
        category[r] = (int32_t)(r % count);
    }
    c->embeddings = fc_alloc((size_t)(count * width), fc_dtype_bytes(model->params->dtype));
    for (int64_t i = 0; i < count * width; i++) {
        double x = fc_rng_normal(&rng) / sqrt((double)width);
        if (is_double) {
            ((double *)c->embeddings)[i] = x;
        } else {
            ((float *)c->embeddings)[i] = (float)x;
        }
    }
    return c;
}

void fc_concepts_close(fc_concepts **cp)
{
    fc_concepts *c = *cp;
    if (c == NULL) {
        return;
    }
    if (c->store == NULL) { /* made up */
        fc_free(&c->region_category);
    } else if (c->owned) {
        fc_store_close(&c->store);
    }
    fc_free(&c->embeddings);
    fc_free(&c->of_category);
    fc_free(cp);
}
