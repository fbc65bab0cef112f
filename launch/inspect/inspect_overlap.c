/* `fineclip inspect STORE STORE`: pictures that both hold. */
#include "core/memory.h"
#include "data/store/overlap.h"
#include "launch/inspect/inspect.h"
#include "launch/table.h"

#include <stdio.h>

enum { MOST_LISTED = 100, NAME_COLUMNS = 40 };

static void describe(const char *letter, const fc_store *s, int64_t shared, const char *other)
{
    int64_t repeated = 0;
    FC_IGNORE(fc_overlap_repeated(s, &repeated));
    printf("%s  %s: %s pictures", letter, s->path, fci_text_count(s->images));
    if (repeated > 0) {
        printf(" (%s of them repeat an earlier one)", fci_text_count(repeated));
    }
    printf("; %s of them (%.4g %%) are in %s, too\n", fci_text_count(shared),
           s->images > 0 ? 100 * (double)shared / (double)s->images : 0, other);
}

/* Index, the source's id and its name. */
static fc_status cells(fc_table *table, fc_store *s, int64_t i)
{
    char *name = NULL;
    FC_TRY(fc_store_text(s, "images/name", i, &name));
    fc_table_cell(table, "%lld", (long long)i);
    if (s->image_id != NULL) {
        fc_table_cell(table, "%lld", (long long)s->image_id[i]);
    } else {
        fc_table_cell(table, "-");
    }
    char *shown = fci_text_clipped(name == NULL ? "" : name, NAME_COLUMNS);
    fc_table_cell(table, "%s", shown);
    fc_free(&shown);
    fc_free(&name);
    return FC_OK;
}

static fc_status print_list(fc_store *a, fc_store *b, const fc_overlap *shared)
{
    const char *const headings[] = {"A", "id", "name", "B", "id", "name"};
    fc_table *table = fc_table_create(6, headings);
    fc_status status = FC_OK;
    for (int64_t i = 0; i < shared->listed && status == FC_OK; i++) {
        status = cells(table, a, shared->list[i].a);
        if (status == FC_OK) {
            status = cells(table, b, shared->list[i].b);
        }
    }
    if (status == FC_OK) {
        printf("\n");
        fc_table_print(table, stdout);
        if (shared->listed < shared->of_a) {
            printf("and %s more; --all lists every one\n",
                   fci_text_count(shared->of_a - shared->listed));
        }
    }
    fc_table_destroy(&table);
    return status;
}

static fc_status compare(fc_store *a, fc_store *b, const fci_inspect_options *options)
{
    fc_overlap shared;
    FC_TRY(fc_overlap_find(&shared, a, b, options->all ? INT64_MAX : MOST_LISTED));
    describe("A", a, shared.of_a, "B");
    describe("B", b, shared.of_b, "A");
    fc_status status = shared.of_a > 0 ? print_list(a, b, &shared) : FC_OK;
    if (status == FC_OK && options->check && shared.of_a > 0) {
        status = FC_FAIL(FC_DATA, "%s and %s share pictures", a->path, b->path);
    }
    fc_overlap_free(&shared);
    return status;
}

fc_status fci_inspect_overlap(const fci_inspect_options *options)
{
    fc_store *a = NULL, *b = NULL;
    fc_status status;
    FC_TRY_GOTO(status, fc_store_open(&a, options->path), done);
    FC_TRY_GOTO(status, fc_store_open(&b, options->second), done);
    FC_TRY_GOTO(status, compare(a, b, options), done);
done:
    fc_store_close(&a);
    fc_store_close(&b);
    return status;
}
