/* `fineclip inspect` on safetensors: tensors of all blocks that are alike share a line. */
#include "core/memory.h"
#include "core/safetensors.h"
#include "launch/inspect/inspect.h"
#include "launch/table.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_LINES = 48, MOST_METADATA = 24, VALUE_COLUMNS = 72 };

/* Tensors of one name pattern, dtype and shape. */
typedef struct kind {
    char *pattern; /* "visual.blocks.*.norm1.weight" */
    const fc_st_tensor *first;
    int count;
} kind;

/* Numbers between dots become stars. */
static char *pattern_of(const char *name)
{
    char *out = fc_alloc(strlen(name) + 1, 1), *to = out;
    while (*name != '\0') {
        size_t part = strcspn(name, "."), digits = strspn(name, "0123456789");
        if (part > 0 && digits == part) {
            *to++ = '*';
        } else {
            memcpy(to, name, part);
            to += part;
        }
        name += part;
        if (*name == '.') {
            *to++ = *name++;
        }
    }
    return out;
}

static bool alike(const kind *k, const char *pattern, const fc_st_tensor *t)
{
    return strcmp(k->pattern, pattern) == 0 && k->first->dtype == t->dtype &&
           k->first->ndim == t->ndim &&
           memcmp(k->first->shape, t->shape, (size_t)t->ndim * sizeof t->shape[0]) == 0;
}

static int find_kinds(const fc_safetensors *st, bool all, kind *kinds)
{
    int count = 0;
    for (int i = 0; i < st->count; i++) {
        const fc_st_tensor *t = &st->tensors[i];
        char *pattern = all ? fc_strdup(t->name) : pattern_of(t->name);
        int at = all ? count : 0;
        while (at < count && !alike(&kinds[at], pattern, t)) {
            at++;
        }
        if (at < count) {
            kinds[at].count++;
            fc_free(&pattern);
        } else {
            kinds[count++] = (kind){.pattern = pattern, .first = t, .count = 1};
        }
    }
    return count;
}

static void shape_text(const fc_st_tensor *t, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (int d = 0; d < t->ndim; d++) {
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", d > 0 ? ", " : "",
                                 (long long)t->shape[d]);
    }
    snprintf(text + used, bytes - used, "]");
}

static void print_tensors(const fc_safetensors *st, bool all)
{
    kind *kinds = fc_alloc((size_t)st->count, sizeof *kinds);
    int count = find_kinds(st, all, kinds);
    const char *const headings[] = {"tensor", "dtype", "shape", "values", "times"};
    fc_table *table = fc_table_create(all ? 4 : 5, headings);
    int shown = all || count <= MOST_LINES ? count : MOST_LINES;
    for (int i = 0; i < shown; i++) {
        char shape[256];
        shape_text(kinds[i].first, shape, sizeof shape);
        fc_table_cell(table, "%s", kinds[i].pattern);
        fc_table_cell(table, "%s", fc_st_dtype_name(kinds[i].first->dtype));
        fc_table_cell(table, "%s", shape);
        fc_table_cell(table, "%s", fci_text_count(kinds[i].first->count));
        if (!all) {
            fc_table_cell(table, kinds[i].count > 1 ? "%d" : "", kinds[i].count);
        }
    }
    fc_table_print(table, stdout);
    fc_table_destroy(&table);
    if (shown < count) {
        printf("and %d lines more; --all shows every tensor\n", count - shown);
    }
    for (int i = 0; i < count; i++) {
        fc_free(&kinds[i].pattern);
    }
    fc_free(&kinds);
}

static void print_head(const fc_safetensors *st)
{
    enum { DTYPES = FC_ST_U8 + 1 };
    int64_t values = 0, of_dtype[DTYPES] = {0};
    for (int i = 0; i < st->count; i++) {
        values += st->tensors[i].count;
        of_dtype[st->tensors[i].dtype]++;
    }
    printf("%s: safetensors, %s\n", st->path, fci_text_bytes((int64_t)st->map_bytes));
    printf("%s tensors, %s values;", fci_text_count(st->count), fci_text_count(values));
    for (int d = 0; d < DTYPES; d++) {
        if (of_dtype[d] > 0) {
            printf(" %s %s", fci_text_count(of_dtype[d]), fc_st_dtype_name((fc_st_dtype)d));
        }
    }
    printf("\n");
    for (int i = 0; i < st->metadata_count && i < MOST_METADATA; i++) {
        char *value = fci_text_clipped(st->metadata[2 * i + 1], VALUE_COLUMNS);
        char *key = fci_text_clipped(st->metadata[2 * i], VALUE_COLUMNS);
        printf("  %s: %s\n", key, value);
        fc_free(&key);
        fc_free(&value);
    }
    if (st->metadata_count > MOST_METADATA) {
        printf("  and %d more\n", st->metadata_count - MOST_METADATA);
    }
    printf("\n");
}

/* Opening has checked the file's form; what is left are values that are no numbers. */
static fc_status check_values(const fc_safetensors *st)
{
    int64_t findings = 0;
    printf("\n");
    for (int i = 0; i < st->count; i++) {
        const fc_st_tensor *t = &st->tensors[i];
        if (t->dtype > FC_ST_BF16) {
            continue;
        }
        void *memory = NULL;
        FC_TRY(fc_try_alloc(&memory, (size_t)t->count, sizeof(double), t->name));
        double *values = memory;
        fc_status status = fc_safetensors_read_f64(t, values);
        int64_t bad = 0, first = -1;
        for (int64_t k = 0; status == FC_OK && k < t->count; k++) {
            if (!isfinite(values[k])) {
                first = bad++ == 0 ? k : first;
            }
        }
        fc_free(&values);
        FC_TRY(status);
        if (bad > 0) {
            printf("tensor '%s': %s of %s values are NaN or infinite, the first at %lld\n", t->name,
                   fci_text_count(bad), fci_text_count(t->count), (long long)first);
            findings++;
        }
    }
    if (findings > 0) {
        return FC_FAIL(FC_DATA, "%s: %lld tensors hold values that are no numbers", st->path,
                       (long long)findings);
    }
    printf("checked: no findings, every value is finite\n");
    return FC_OK;
}

fc_status fci_inspect_weights(const fci_inspect_options *options)
{
    fc_safetensors *st;
    FC_TRY(fc_safetensors_open(&st, options->path));
    print_head(st);
    print_tensors(st, options->all);
    fc_status status = options->check ? fc_safetensors_verify(st) : FC_OK;
    if (status == FC_OK && options->check) {
        status = check_values(st);
    }
    fc_safetensors_close(&st);
    return status;
}
