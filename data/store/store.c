#include "data/store/store.h"

#include "core/memory.h"
#include "data/store/store_files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_CATEGORIES = 100000 }; /* ImageNet-21k's are 21,841 */

fc_status fci_store_found(const fc_store *s, const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (s->files->findings == NULL) {
        return FC_FAIL(FC_DATA, "%s", line);
    }
    fc_findings_add(s->files->findings, (uint64_t)s->files->findings->count, line);
    return FC_OK;
}

static bool has(const fc_store *s, const char *path)
{
    return fci_h5_exists(s->files->file, path);
}

static fc_status open_dataset(const fc_store *s, fci_h5_dataset *out, const char *path, hid_t type)
{
    return fci_h5_open(out, s->files->file, s->path, s->files->file_bytes, path, type, 1, true);
}

/* Read a whole index dataset into new memory. want: its rows, or -1 for any; `why` says where the
 * number comes from. size: bytes of a row. */
static fc_status load(const fc_store *s, const char *path, hid_t type, int64_t cols, int64_t want,
                      const char *why, size_t size, void **out, int64_t *rows)
{
    fci_h5_dataset d;
    FC_TRY(fci_h5_open(&d, s->files->file, s->path, s->files->file_bytes, path, type, cols, false));
    fc_status status = FC_OK;
    if (want >= 0 && d.rows != want) {
        status = FC_FAIL(FC_DATA, "%s has %lld rows, want %lld (%s)", d.where, (long long)d.rows,
                         (long long)want, why);
    }
    if (status == FC_OK) {
        status = fc_try_alloc(out, (size_t)d.rows, size, d.where);
    }
    if (status == FC_OK) {
        status = fci_h5_read(&d, 0, d.rows, *out);
    }
    if (status == FC_OK && rows != NULL) {
        *rows = d.rows;
    }
    fci_h5_close(&d);
    return status;
}

static fc_status load_i32(const fc_store *s, const char *path, int64_t want, const char *why,
                          int32_t **out)
{
    void *p = NULL;
    fc_status status = load(s, path, H5T_NATIVE_INT32, 1, want, why, 4, &p, NULL);
    *out = p;
    return status;
}

/* Offsets of items in a dataset of `limit` rows called `of`. want: how many items, or -1. */
static fc_status load_offsets(const fc_store *s, const char *path, int64_t want, const char *why,
                              int64_t limit, const char *of, uint64_t **out, int64_t *items)
{
    void *p = NULL;
    int64_t rows = 0;
    fc_status status = load(s, path, H5T_NATIVE_UINT64, 1, want < 0 ? -1 : want + 1, why,
                            sizeof(uint64_t), &p, &rows);
    uint64_t *offsets = *out = p;
    FC_TRY(status);
    if (rows < 1) {
        return FC_FAIL(FC_DATA, "%s:%s is empty, it needs one row more than there are items",
                       s->path, path);
    }
    for (int64_t i = 0; i < rows; i++) {
        if (i > 0 && offsets[i] < offsets[i - 1]) {
            FC_TRY(fci_store_found(s, "offset %lld goes down (%llu after %llu) in %s:%s",
                                   (long long)i, (unsigned long long)offsets[i],
                                   (unsigned long long)offsets[i - 1], s->path, path));
        }
        if (offsets[i] > (uint64_t)limit) {
            FC_TRY(fci_store_found(s, "offset %lld past the end (%llu > %lld rows of %s) in %s:%s",
                                   (long long)i, (unsigned long long)offsets[i], (long long)limit,
                                   of, s->path, path));
        }
    }
    /* Rows that belong to no item do no harm, so that only a check says so. */
    if (s->files->findings != NULL && offsets[0] != 0) {
        FC_TRY(fci_store_found(s, "offset 0 is %llu, want 0, in %s:%s",
                               (unsigned long long)offsets[0], s->path, path));
    }
    if (s->files->findings != NULL && offsets[rows - 1] < (uint64_t)limit) {
        FC_TRY(fci_store_found(
            s, "the last offset is %llu, %lld rows of %s belong to no item, in %s:%s",
            (unsigned long long)offsets[rows - 1], (long long)limit - (long long)offsets[rows - 1],
            of, s->path, path));
    }
    if (items != NULL) {
        *items = rows - 1;
    }
    return FC_OK;
}

static fc_status load_sizes(const fc_store *s, const char *path, int64_t want, const char *why,
                            int32_t **out)
{
    FC_TRY(load_i32(s, path, want, why, out));
    for (int64_t i = 0; i < want; i++) {
        if ((*out)[i] < 1) {
            FC_TRY(fci_store_found(s, "size %lld is %d, want at least 1, in %s:%s", (long long)i,
                                   (*out)[i], s->path, path));
        }
    }
    return FC_OK;
}

static fc_status load_codec(const fc_store *s, const char *group, fc_codec *out)
{
    char *where = fc_format("%s:%s", s->path, group), *word = NULL;
    hid_t id = H5Gopen2(s->files->file, group, H5P_DEFAULT);
    fc_status status = FC_OK;
    if (id < 0) {
        status = FC_H5_FAIL(FC_DATA, "%s cannot be opened as a group", where);
    } else {
        status = fci_h5_get_string(id, where, "codec", &word, NULL);
        H5Gclose(id);
    }
    if (status == FC_OK && fc_codec_parse(word, out) != FC_OK) {
        status =
            FC_FAIL(FC_DATA, "attribute codec of %s is \"%s\", want jpeg, png or raw", where, word);
    }
    fc_free(&word);
    fc_free(&where);
    return status;
}

static fc_status load_images(fc_store *s)
{
    if (!has(s, "/images")) {
        return FC_FAIL(FC_DATA, "%s:/images is missing", s->path);
    }
    FC_TRY(load_codec(s, "/images", &s->codec));
    FC_TRY(open_dataset(s, &s->files->bytes, "/images/bytes", H5T_NATIVE_UINT8));
    FC_TRY(load_offsets(s, "/images/offsets", -1, "", s->files->bytes.rows, "/images/bytes",
                        &s->image_offsets, &s->images));
    FC_TRY(load_sizes(s, "/images/height", s->images, "the images", &s->height));
    FC_TRY(load_sizes(s, "/images/width", s->images, "the images", &s->width));
    if (has(s, "/images/id")) {
        void *p = NULL;
        fc_status status = load(s, "/images/id", H5T_NATIVE_INT64, 1, s->images, "the images",
                                sizeof(int64_t), &p, NULL);
        s->image_id = p;
        FC_TRY(status);
    }
    if (has(s, "/images/hash")) {
        void *p = NULL;
        fc_status status = load(s, "/images/hash", H5T_NATIVE_UINT8, FC_HASH_BYTES, s->images,
                                "the images", FC_HASH_BYTES, &p, NULL);
        s->image_hash = p;
        FC_TRY(status);
    }
    return FC_OK;
}

/* Token rows: the dataset stays open, the offsets are read. */
static fc_status load_tokens(fc_store *s, fc_token_set set, const char *path, const char *offsets,
                             int64_t want, const char *why, uint64_t **out, int64_t *items)
{
    struct fci_store_files *f = s->files;
    FC_TRY(open_dataset(s, &f->tokens[set], path, H5T_NATIVE_INT32));
    fc_status status =
        load_offsets(s, offsets, want, why, f->tokens[set].rows, path, out, &f->items[set]);
    f->offsets[set] = *out;
    *items = f->items[set];
    return status;
}

static fc_status load_captions(fc_store *s)
{
    if (!has(s, "/captions/tokens") && !has(s, "/captions/image_offsets")) {
        return FC_OK;
    }
    FC_TRY(load_tokens(s, FC_CAPTION_TOKENS, "/captions/tokens", "/captions/offsets", -1, "",
                       &s->caption_offsets, &s->captions));
    FC_TRY(load_offsets(s, "/captions/image_offsets", s->images, "the images and one", s->captions,
                        "captions", &s->caption_of, NULL));
    if (s->captions == 0) {
        fc_free(&s->caption_of);
    }
    return FC_OK;
}

static fc_status load_crops(fc_store *s)
{
    if (!has(s, "/regions/crop_bytes")) {
        s->crop_size = 0;
        return FC_OK;
    }
    s->has_crops = true;
    FC_TRY(load_codec(s, "/regions", &s->crop_codec));
    FC_TRY(open_dataset(s, &s->files->crop_bytes, "/regions/crop_bytes", H5T_NATIVE_UINT8));
    FC_TRY(load_offsets(s, "/regions/crop_offsets", s->regions, "the regions and one",
                        s->files->crop_bytes.rows, "/regions/crop_bytes", &s->crop_offsets, NULL));
    FC_TRY(load_sizes(s, "/regions/crop_height", s->regions, "the regions", &s->crop_height));
    FC_TRY(load_sizes(s, "/regions/crop_width", s->regions, "the regions", &s->crop_width));
    if (s->crop_size == 0 && s->regions > 0) {
        s->crop_size = s->crop_width[0];
    }
    return FC_OK;
}

static fc_status load_regions(fc_store *s)
{
    if (!has(s, "/regions/boxes") && !has(s, "/regions/image_offsets")) {
        s->crop_size = 0;
        return FC_OK;
    }
    void *p = NULL;
    fc_status status =
        load(s, "/regions/boxes", H5T_NATIVE_FLOAT, 4, -1, "", 4 * sizeof(float), &p, &s->regions);
    s->boxes = p;
    FC_TRY(status);
    FC_TRY(load_offsets(s, "/regions/image_offsets", s->images, "the images and one", s->regions,
                        "/regions/boxes", &s->region_of, NULL));
    if (has(s, "/regions/tokens") || has(s, "/regions/offsets")) {
        int64_t items;
        FC_TRY(load_tokens(s, FC_REGION_TOKENS, "/regions/tokens", "/regions/offsets", s->regions,
                           "the regions and one", &s->region_offsets, &items));
    } else { /* no region has a caption */
        s->region_offsets = fc_alloc((size_t)s->regions + 1, sizeof(uint64_t));
        s->files->offsets[FC_REGION_TOKENS] = s->region_offsets;
        s->files->items[FC_REGION_TOKENS] = s->regions;
    }
    if (has(s, "/regions/category")) {
        s->has_category = true;
        FC_TRY(load_i32(s, "/regions/category", s->regions, "the regions", &s->category));
    }
    if (has(s, "/regions/score")) {
        s->has_score = true;
        p = NULL;
        status = load(s, "/regions/score", H5T_NATIVE_FLOAT, 1, s->regions, "the regions",
                      sizeof(float), &p, NULL);
        s->score = p;
        FC_TRY(status);
    }
    FC_TRY(load_crops(s));
    if (s->regions == 0) {
        fc_free(&s->region_of);
    }
    return FC_OK;
}

static fc_status load_names(fc_store *s)
{
    fci_h5_dataset d;
    FC_TRY(fci_h5_open_strings(&d, s->files->file, s->path, s->files->file_bytes,
                               "/categories/names"));
    void *p = NULL;
    fc_status status = d.rows > MOST_CATEGORIES
                           ? FC_FAIL(FC_DATA, "%s has %lld names; at most %d categories are read",
                                     d.where, (long long)d.rows, MOST_CATEGORIES)
                           : fc_try_alloc(&p, (size_t)d.rows, sizeof(char *), d.where);
    s->category_names = p;
    if (status == FC_OK) {
        s->categories = d.rows;
        status = fci_h5_read_strings(&d, 0, d.rows, s->category_names);
    }
    fci_h5_close(&d);
    return status;
}

static fc_status load_categories(fc_store *s)
{
    if (has(s, "/categories/names")) {
        FC_TRY(load_names(s));
        void *p = NULL;
        fc_status status = load(s, "/categories/isthing", H5T_NATIVE_UINT8, 1, s->categories,
                                "the categories", 1, &p, NULL);
        s->category_isthing = p;
        FC_TRY(status);
    }
    if (has(s, "/categories/prompt_tokens")) {
        FC_TRY(load_tokens(s, FC_PROMPT_TOKENS, "/categories/prompt_tokens",
                           "/categories/prompt_offsets", -1, "", &s->prompt_offsets, &s->prompts));
        FC_TRY(load_offsets(s, "/categories/category_offsets", s->categories,
                            "the categories and one", s->prompts, "prompts", &s->category_offsets,
                            NULL));
    } else {
        s->prompt_offsets = fc_alloc(1, sizeof(uint64_t));
        s->category_offsets = fc_alloc((size_t)s->categories + 1, sizeof(uint64_t));
    }
    for (int64_t i = 0; s->category != NULL && i < s->regions; i++) {
        if (s->category[i] < -1 || s->category[i] >= s->categories) {
            FC_TRY(fci_store_found(s, "category %d of region %lld is none of %lld in %s:%s",
                                   s->category[i], (long long)i, (long long)s->categories, s->path,
                                   "/regions/category"));
        }
    }
    return FC_OK;
}

static fc_status small_int(const fc_store *s, const char *name, int *out)
{
    int64_t value = 0;
    bool found;
    FC_TRY(fci_h5_get_int(s->files->file, s->path, name, &value, &found));
    if (value < 0 || value > INT32_MAX) {
        return FC_FAIL(FC_DATA, "attribute %s of %s is %lld", name, s->path, (long long)value);
    }
    *out = (int)value;
    return FC_OK;
}

static fc_status load_head(fc_store *s)
{
    hid_t file = s->files->file;
    char *format = NULL;
    bool found;
    FC_TRY(fci_h5_get_string(file, s->path, "format", &format, &found));
    bool ours = format != NULL && strcmp(format, "fineclip-store") == 0;
    fc_free(&format);
    if (!ours) {
        return FC_FAIL(FC_DATA, "%s is not a store (no attribute format = \"fineclip-store\")",
                       s->path);
    }
    int64_t version = 0, complete = 1;
    FC_TRY(fci_h5_get_int(file, s->path, "version", &version, NULL));
    if (version != 1) {
        return FC_FAIL(FC_DATA, "%s has store version %lld, this program reads version 1", s->path,
                       (long long)version);
    }
    FC_TRY(fci_h5_get_int(file, s->path, "complete", &complete, &found));
    if (complete != 1) {
        return FC_FAIL(FC_DATA, "%s was not written to its end (complete = %lld): make it again",
                       s->path, (long long)complete);
    }
    FC_TRY(small_int(s, "context_length", &s->context_length));
    FC_TRY(small_int(s, "vocab_size", &s->vocab_size));
    FC_TRY(small_int(s, "crop_size", &s->crop_size));
    s->crop_scale = 1.5;
    FC_TRY(fci_h5_get_real(file, s->path, "crop_scale", &s->crop_scale, &found));
    if (!(s->crop_scale > 0 && s->crop_scale < 1e6)) {
        return FC_FAIL(FC_DATA, "attribute crop_scale of %s is %g", s->path, s->crop_scale);
    }
    FC_TRY(fci_h5_get_string(file, s->path, "tokenizer", &s->tokenizer, &found));
    FC_TRY(fci_h5_get_string(file, s->path, "created", &s->created, &found));
    return fci_h5_get_string(file, s->path, "source", &s->source, &found);
}

static fc_status open_file(fc_store *s)
{
    struct stat info;
    if (stat(s->path, &info) != 0 || access(s->path, R_OK) != 0) {
        int error = errno;
        char *partial = fc_format("%s.partial", s->path);
        bool unfinished = error == ENOENT && access(partial, F_OK) == 0;
        fc_free(&partial);
        return FC_FAIL(FC_NOINPUT, "%s cannot be opened: %s%s", s->path, strerror(error),
                       unfinished ? " (but its .partial is there: writing it did not finish)" : "");
    }
    s->files->file_bytes = (int64_t)info.st_size;
    hid_t access_list = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
    /* Nobody writes a finished store, and some cluster file systems cannot lock. */
    H5Pset_file_locking(access_list, false, true);
#endif
    s->files->file = H5Fopen(s->path, H5F_ACC_RDONLY, access_list);
    H5Pclose(access_list);
    FC_H5(s->files->file, FC_DATA, "%s is not a readable HDF5 file", s->path);
    void *handle = NULL;
    FC_H5(H5Fget_vfd_handle(s->files->file, H5P_DEFAULT, &handle), FC_RUNTIME,
          "%s: HDF5 gives no file descriptor", s->path);
    s->files->fd = *(const int *)handle;
    return FC_OK;
}

static fc_status open_locked(fc_store *s)
{
    FC_TRY(open_file(s));
    FC_TRY(load_head(s));
    FC_TRY(load_images(s));
    FC_TRY(load_captions(s));
    FC_TRY(load_regions(s));
    return load_categories(s);
}

fc_status fci_store_open(fc_store **out, const char *path, fc_findings *findings)
{
    *out = NULL;
    fc_store *s = fc_alloc(1, sizeof *s);
    s->path = fc_strdup(path);
    s->files = fc_alloc(1, sizeof *s->files);
    s->files->file = -1;
    s->files->findings = findings;
    fci_h5_lock();
    fc_status status = open_locked(s);
    fci_h5_unlock();
    if (status != FC_OK) {
        fc_store_close(&s);
        return status;
    }
    *out = s;
    return FC_OK;
}

fc_status fc_store_open(fc_store **out, const char *path)
{
    FC_TRY(fci_store_open(out, path, NULL));
    return FC_OK;
}

static void close_files(struct fci_store_files *f)
{
    fci_h5_lock();
    fci_h5_close(&f->bytes);
    fci_h5_close(&f->crop_bytes);
    for (int i = 0; i < 3; i++) {
        fci_h5_close(&f->tokens[i]);
    }
    for (int i = 0; i < FCI_STORE_TEXTS; i++) {
        fci_h5_close(&f->text[i]);
    }
    if (f->file >= 0) {
        FC_ASSERT(H5Fget_obj_count(f->file, H5F_OBJ_ALL | H5F_OBJ_LOCAL) == 1);
        H5Fclose(f->file);
    }
    fci_h5_unlock();
}

void fc_store_close(fc_store **store)
{
    fc_store *s = *store;
    *store = NULL;
    if (s == NULL) {
        return;
    }
    close_files(s->files);
    for (int64_t i = 0; s->category_names != NULL && i < s->categories; i++) {
        fc_free(&s->category_names[i]);
    }
    fc_free(&s->files);
    fc_free(&s->path);
    fc_free(&s->tokenizer);
    fc_free(&s->created);
    fc_free(&s->source);
    fc_free(&s->image_offsets);
    fc_free(&s->height);
    fc_free(&s->width);
    fc_free(&s->image_id);
    fc_free(&s->image_hash);
    fc_free(&s->caption_of);
    fc_free(&s->caption_offsets);
    fc_free(&s->region_of);
    fc_free(&s->region_offsets);
    fc_free(&s->boxes);
    fc_free(&s->category);
    fc_free(&s->score);
    fc_free(&s->crop_offsets);
    fc_free(&s->crop_height);
    fc_free(&s->crop_width);
    fc_free(&s->category_names);
    fc_free(&s->category_isthing);
    fc_free(&s->prompt_offsets);
    fc_free(&s->category_offsets);
    fc_free(&s);
}
