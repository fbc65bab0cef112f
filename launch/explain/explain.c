/* `fineclip explain EXPERIMENT.yaml`. */
#include "core/fatal.h"
#include "core/log.h"
#include "core/memory.h"
#include "launch/dist.h"
#include "launch/explain/explain_parts.h"
#include "launch/explain/explain_regions.h"
#include "launch/folder.h"
#include "launch/progress.h"
#include "launch/table.h"
#include "launch/verbs.h"

/* How like its texts each picture is, on stdout. */
static void print_table(const fc_explain_request *r, const fc_explained *e)
{
    static const char *const headings[] = {"picture", "text", "cosine"};
    fc_table *table = fc_table_create(3, headings);
    for (int i = 0; i < r->pictures; i++) {
        for (int k = 0; k < r->picture[i].texts; k++) {
            const fc_explain_text *x = &r->picture[i].text[k];
            fc_table_cell(table, "%s", k == 0 ? r->picture[i].source : "");
            fc_table_cell(table, "%s%s", x->phrase ? "  " : "", x->text);
            fc_table_cell(table, "%.3f", e[i].similarity[k]);
        }
    }
    fc_table_print(table, stdout);
    fc_table_destroy(&table);
}

static fc_status compute(const fc_trained *t, const fc_explain_request *r, bool all_layers,
                         fc_explained *e)
{
    fc_progress progress;
    fc_status status = FC_OK;
    fc_progress_begin(&progress, "maps", 0, r->pictures, 0);
    for (int i = 0; status == FC_OK && i < r->pictures; i++) {
        status = fc_explain(&e[i], t, &r->picture[i], all_layers);
        fc_progress_step(&progress, i + 1, NULL);
    }
    fc_progress_end(&progress);
    return status;
}

static fc_status write_out(const fc_trained *t, const fc_explain_request *r, const fc_explained *e,
                           const fc_explain_options *o, const char *folder)
{
    char *file = fc_format("%s/maps.h5", folder), *sheet = fc_format("%s/sheet.png", folder);
    char *epoch = t->epoch > 0 ? fc_format(", epoch %.3g", t->epoch) : fc_strdup("");
    char *caption = fc_format("%s: %s%s; relevance through %s", t->config->name, t->weights, epoch,
                              o->all_layers ? "all blocks" : "the last block");
    fc_status status;
    FC_TRY_GOTO(status, fc_explain_file(file, t, r, e, o), done);
    for (int i = 0; i < r->pictures; i++) {
        FC_TRY_GOTO(status, fc_explain_overlays(folder, i, &r->picture[i], &e[i], t->model->grid),
                    done);
    }
    FC_TRY_GOTO(status, fc_explain_sheet(sheet, r, e, caption, t->model->grid), done);
    fc_log_info("written to %s: sheet.png, a PNG a map, maps.h5", folder);
done:
    fc_free(&epoch);
    fc_free(&caption);
    fc_free(&sheet);
    fc_free(&file);
    return status;
}

/* Pictures one by one; little enough for rank 0 alone. */
static fc_status explain_pictures(fc_trained *t, const fc_explain_options *o, const char *folder)
{
    fc_explain_request request = {0};
    fc_explained *found = NULL;
    fc_status status;
    FC_TRY_GOTO(status, fc_folder_make(folder), done);
    FC_TRY_GOTO(status, fc_explain_request_make(&request, t, o), done);
    found = fc_alloc((size_t)request.pictures, sizeof *found);
    FC_TRY_GOTO(status, compute(t, &request, o->all_layers, found), done);
    print_table(&request, found);
    FC_TRY_GOTO(status, write_out(t, &request, found, o, folder), done);
done:
    for (int i = 0; found != NULL && i < request.pictures; i++) {
        fc_explained_free(&found[i], request.picture[i].texts);
    }
    fc_free(&found);
    fc_explain_request_free(&request);
    return status;
}

static fc_status explain_store(fc_trained *t, const fc_explain_options *o, const char *folder)
{
    fc_store *store;
    FC_TRY(fc_trained_store(t, o->regions, "regions", &store));
    char *file = fc_format("%s/regions.h5", folder);
    fc_status status = fc_explain_regions(t, store, file);
    if (status != FC_OK) {
        fc_fatal(status); /* others may be waiting for this rank */
    }
    fc_free(&file);
    return FC_OK;
}

/* Stores of the experiment, which all ranks open together. */
static fc_status open_own_stores(fc_trained *t, const fc_explain_options *o)
{
    for (int i = 0; i < o->words; i++) {
        char *store = NULL;
        int64_t index;
        fc_status status = FC_OK;
        if (o->word[i].kind == FCI_IMAGE && fci_explain_split(o->word[i].value, &store, &index)) {
            const char *ours = fci_explain_own_store(store);
            fc_store *opened;
            status = ours != NULL ? fc_trained_store(t, ours, "image", &opened) : FC_OK;
        }
        fc_free(&store);
        FC_TRY(status);
    }
    return FC_OK;
}

static fc_status explain(fc_trained *t, const fc_explain_options *o)
{
    char *folder =
        o->folder != NULL ? fc_strdup(o->folder) : fc_format("%s/explain", t->config->output);
    fc_status status = open_own_stores(t, o);
    if (status == FC_OK && o->words > 0) {
        status = fc_dist_agree(fc_comm_rank(t->comm) == 0 ? explain_pictures(t, o, folder) : FC_OK);
    }
    if (status == FC_OK && o->regions != NULL) {
        status = explain_store(t, o, folder);
    }
    fc_free(&folder);
    return status;
}

fc_status fc_verb_explain(int argc, char **argv)
{
    fc_cli cli;
    fc_explain_options options;
    FC_TRY(fc_cli_parse(&cli, argc, argv, NULL));
    fc_status status = fc_explain_options_take(&options, &cli);
    if (status == FC_OK) {
        fc_trained t;
        status = fc_trained_open(&t, &cli, (int)options.image_size);
        if (status == FC_OK) {
            status = explain(&t, &options);
        }
        fc_trained_close(&t);
    }
    fc_explain_options_free(&options);
    return status;
}
