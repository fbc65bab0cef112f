/* What a store's maker left in its attributes, whatever it is called. */
#include "core/memory.h"
#include "data/store/store_files.h"

#include <string.h>

enum { MOST_NOTES = 1000 };

typedef struct names {
    char **name;
    int count;
} names;

static herr_t keep_name(hid_t object, const char *name, const H5A_info_t *info, void *ctx)
{
    names *n = ctx;
    (void)object;
    (void)info;
    if (n->count < MOST_NOTES) {
        n->name[n->count++] = fc_strdup(name);
    }
    return 0;
}

/* NULL: neither a number nor a string. */
static char *value_of(hid_t object, const char *where, const char *name)
{
    int64_t whole;
    double real;
    char *text;
    bool found = false;
    if (fci_h5_get_int(object, where, name, &whole, &found) == FC_OK && found) {
        return fc_format("%lld", (long long)whole);
    }
    if (fci_h5_get_real(object, where, name, &real, &found) == FC_OK && found) {
        return fc_format("%.6g", real);
    }
    if (fci_h5_get_string(object, where, name, &text, &found) == FC_OK && found) {
        return text;
    }
    fc_error_clear();
    return NULL;
}

static void read_notes(hid_t object, const char *where, fc_store_note **out, int *count)
{
    names n = {.name = fc_alloc(MOST_NOTES, sizeof *n.name)};
    H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, keep_name, &n);
    *out = fc_alloc((size_t)n.count, sizeof **out);
    for (int i = 0; i < n.count; i++) {
        char *value = value_of(object, where, n.name[i]);
        if (value != NULL) {
            (*out)[(*count)++] = (fc_store_note){n.name[i], value};
        } else {
            fc_free(&n.name[i]);
        }
    }
    fc_free(&n.name);
}

fc_status fc_store_notes(fc_store *s, const char *object, fc_store_note **out, int *count)
{
    *out = NULL;
    *count = 0;
    fci_h5_lock();
    hid_t file = s->files->file;
    if (strcmp(object, "/") == 0 || fci_h5_exists(file, object)) {
        hid_t id = H5Oopen(file, object, H5P_DEFAULT);
        if (id < 0) {
            fci_h5_unlock();
            return FC_H5_FAIL(FC_DATA, "%s:%s cannot be opened", s->path, object);
        }
        read_notes(id, s->path, out, count);
        H5Oclose(id);
    }
    fci_h5_unlock();
    return FC_OK;
}

void fc_store_notes_free(fc_store_note **notes, int count)
{
    for (int i = 0; i < count; i++) {
        fc_free(&(*notes)[i].name);
        fc_free(&(*notes)[i].value);
    }
    fc_free(notes);
}
