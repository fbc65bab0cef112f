/* Every picture below a folder. */
#include "core/memory.h"
#include "data/prepare/sources.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Names in one folder, one after another; 30 bytes and a pointer each. */
typedef struct listing {
    fci_bytes text;
    size_t *at; /* in text */
    const char **name;
    int64_t count, room;
} listing;

static bool is_picture(const char *name)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png"};
    size_t n = strlen(name);
    for (int i = 0; i < 3; i++) {
        size_t k = strlen(suffixes[i]);
        if (n > k && strcasecmp(name + n - k, suffixes[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static fc_status list_folder(const char *path, listing *out)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: %s", path, strerror(errno));
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') { /* this, the one above, and hidden ones */
            continue;
        }
        if (out->count == out->room) {
            out->room = 2 * out->room + 256;
            out->at = fc_realloc(out->at, (size_t)out->room, sizeof *out->at);
        }
        out->at[out->count++] = out->text.count;
        fci_bytes_add(&out->text, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(folder);
    out->name = fc_alloc((size_t)out->count, sizeof *out->name);
    for (int64_t i = 0; i < out->count; i++) {
        out->name[i] = (const char *)out->text.data + out->at[i];
    }
    fc_free(&out->at);
    if (out->count > 1) {
        qsort(out->name, (size_t)out->count, sizeof *out->name, by_name);
    }
    return FC_OK;
}

static void listing_free(listing *l)
{
    fc_free(&l->text.data);
    fc_free(&l->at);
    fc_free(&l->name);
}

static fc_status walk(fci_plan_builder *b, const char *folder, const char *below, int depth)
{
    enum { DEEPEST = 64 }; /* a link that leads into itself ends here */
    if (depth > DEEPEST) {
        return FC_FAIL(FC_DATA, "%s/%s: folders are nested deeper than %d", folder, below, DEEPEST);
    }
    listing l = {0};
    char *path = fc_format("%s/%s", folder, below);
    fc_status status = list_folder(path, &l);
    fc_free(&path);
    for (int64_t i = 0; i < l.count && status == FC_OK; i++) {
        char *name = *below == '\0' ? fc_strdup(l.name[i]) : fc_format("%s/%s", below, l.name[i]);
        char *file = fc_format("%s/%s", folder, name);
        struct stat about;
        if (stat(file, &about) == 0 && S_ISDIR(about.st_mode)) {
            status = walk(b, folder, name, depth + 1);
        } else if (is_picture(name)) {
            status = fci_builder_picture(b, &(fci_listed){.name = name, .bytes = -1});
        } else {
            fci_builder_counts(b)->of[FCI_COUNT_files_ignored]++;
        }
        fc_free(&name);
        fc_free(&file);
    }
    listing_free(&l);
    return status;
}

fc_status fci_source_folder(fci_plan_builder *b, const char *folder)
{
    FC_TRY(walk(b, folder, "", 0));
    return FC_OK;
}
