#include "data/store/store_writer.h"

#include "core/memory.h"
#include "data/store/store_column.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef enum {
    IMAGE_BYTES,
    IMAGE_OFFSETS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    IMAGE_ID,
    IMAGE_HASH,
    IMAGE_NAME,
    CAPTION_TOKENS,
    CAPTION_OFFSETS,
    CAPTION_OF,
    CAPTION_TEXT,
    REGION_BOXES,
    REGION_OF,
    REGION_TOKENS,
    REGION_OFFSETS,
    REGION_CATEGORY,
    REGION_SCORE,
    REGION_TEXT,
    CROP_BYTES,
    CROP_OFFSETS,
    CROP_HEIGHT,
    CROP_WIDTH,
    CATEGORY_NAMES,
    CATEGORY_ISTHING,
    PROMPT_TOKENS,
    PROMPT_OFFSETS,
    CATEGORY_OFFSETS,
    COLUMNS
} column_name;

enum { TOKEN = -1 }; /* U16 where the vocabulary fits, else I32 */

static const struct {
    const char *path;
    int kind; /* fci_column_kind or TOKEN */
} layout[COLUMNS] = {
    [IMAGE_BYTES] = {"/images/bytes", FCI_COLUMN_U8},
    [IMAGE_OFFSETS] = {"/images/offsets", FCI_COLUMN_U64},
    [IMAGE_HEIGHT] = {"/images/height", FCI_COLUMN_I32},
    [IMAGE_WIDTH] = {"/images/width", FCI_COLUMN_I32},
    [IMAGE_ID] = {"/images/id", FCI_COLUMN_I64},
    [IMAGE_HASH] = {"/images/hash", FCI_COLUMN_U8},
    [IMAGE_NAME] = {"/images/name", FCI_COLUMN_STRING},
    [CAPTION_TOKENS] = {"/captions/tokens", TOKEN},
    [CAPTION_OFFSETS] = {"/captions/offsets", FCI_COLUMN_U64},
    [CAPTION_OF] = {"/captions/image_offsets", FCI_COLUMN_U64},
    [CAPTION_TEXT] = {"/captions/text", FCI_COLUMN_STRING},
    [REGION_BOXES] = {"/regions/boxes", FCI_COLUMN_F32},
    [REGION_OF] = {"/regions/image_offsets", FCI_COLUMN_U64},
    [REGION_TOKENS] = {"/regions/tokens", TOKEN},
    [REGION_OFFSETS] = {"/regions/offsets", FCI_COLUMN_U64},
    [REGION_CATEGORY] = {"/regions/category", FCI_COLUMN_I32},
    [REGION_SCORE] = {"/regions/score", FCI_COLUMN_F32},
    [REGION_TEXT] = {"/regions/text", FCI_COLUMN_STRING},
    [CROP_BYTES] = {"/regions/crop_bytes", FCI_COLUMN_U8},
    [CROP_OFFSETS] = {"/regions/crop_offsets", FCI_COLUMN_U64},
    [CROP_HEIGHT] = {"/regions/crop_height", FCI_COLUMN_I32},
    [CROP_WIDTH] = {"/regions/crop_width", FCI_COLUMN_I32},
    [CATEGORY_NAMES] = {"/categories/names", FCI_COLUMN_STRING},
    [CATEGORY_ISTHING] = {"/categories/isthing", FCI_COLUMN_U8},
    [PROMPT_TOKENS] = {"/categories/prompt_tokens", TOKEN},
    [PROMPT_OFFSETS] = {"/categories/prompt_offsets", FCI_COLUMN_U64},
    [CATEGORY_OFFSETS] = {"/categories/category_offsets", FCI_COLUMN_U64},
};

struct fc_store_writer {
    char *path, *partial;
    fc_store_options options;
    hid_t file;
    fci_column column[COLUMNS];
    bool finished, failed;
    bool categories;
};

static void column_setup(fc_store_writer *w, column_name name)
{
    int vocab = w->options.vocab_size, kind = layout[name].kind;
    if (kind == TOKEN) {
        kind = vocab > 0 && vocab <= 65536 ? FCI_COLUMN_U16 : FCI_COLUMN_I32;
    }
    fci_column_init(&w->column[name], w->file, w->partial, layout[name].path, (fci_column_kind)kind,
                    name == REGION_BOXES ? 4
                    : name == IMAGE_HASH ? FC_HASH_BYTES
                                         : 1);
}

static int64_t column_rows(const fc_store_writer *w, column_name name)
{
    return fci_column_rows(&w->column[name]);
}

static fc_status put_i32(fc_store_writer *w, column_name name, int32_t value)
{
    return fci_column_put(&w->column[name], &value, 1);
}

/* The end of an item: how many rows `of` has now. */
static fc_status put_offset(fc_store_writer *w, column_name name, column_name of)
{
    uint64_t end = (uint64_t)column_rows(w, of);
    return fci_column_put(&w->column[name], &end, 1);
}

static fc_status put_count(fc_store_writer *w, column_name name, int64_t count)
{
    uint64_t end = (uint64_t)count;
    return fci_column_put(&w->column[name], &end, 1);
}

static fc_status put_tokens(fc_store_writer *w, column_name name, const int32_t *ids, int count)
{
    if (w->column[name].kind == FCI_COLUMN_I32) {
        return fci_column_put(&w->column[name], ids, count);
    }
    uint16_t narrow[256];
    for (int done = 0; done < count;) {
        int now = count - done < 256 ? count - done : 256;
        for (int i = 0; i < now; i++) {
            narrow[i] = (uint16_t)ids[done + i];
        }
        FC_TRY(fci_column_put(&w->column[name], narrow, now));
        done += now;
    }
    return FC_OK;
}

static fc_status make_groups(fc_store_writer *w)
{
    static const char *const groups[] = {"/images", "/captions", "/regions"};
    for (int i = 0; i < 3; i++) {
        hid_t group = H5Gcreate2(w->file, groups[i], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        FC_H5(group, FC_RUNTIME, "%s:%s cannot be created", w->partial, groups[i]);
        fc_status status = FC_OK;
        if (i == 0) {
            status = fci_h5_set_string(group, w->partial, "codec", fc_codec_name(w->options.codec));
        } else if (i == 2 && w->options.crops) {
            status =
                fci_h5_set_string(group, w->partial, "codec", fc_codec_name(w->options.crop_codec));
        }
        H5Gclose(group);
        FC_TRY(status);
    }
    return FC_OK;
}

static fc_status write_head(fc_store_writer *w)
{
    const fc_store_options *o = &w->options;
    hid_t file = w->file;
    FC_TRY(fci_h5_set_string(file, w->partial, "format", "fineclip-store"));
    FC_TRY(fci_h5_set_int(file, w->partial, "version", 1));
    FC_TRY(fci_h5_set_int(file, w->partial, "complete", 0));
    FC_TRY(fci_h5_set_int(file, w->partial, "context_length", o->context_length));
    FC_TRY(fci_h5_set_int(file, w->partial, "vocab_size", o->vocab_size));
    if (o->tokenizer != NULL) {
        FC_TRY(fci_h5_set_string(file, w->partial, "tokenizer", o->tokenizer));
    }
    if (o->source != NULL) {
        FC_TRY(fci_h5_set_string(file, w->partial, "source", o->source));
    }
    if (o->recipe != NULL) {
        FC_TRY(fci_h5_set_string(file, w->partial, "recipe", o->recipe));
    }
    FC_TRY(fci_h5_set_int(file, w->partial, "crop_size", o->crops ? o->crop_size : 0));
    if (o->crop_scale > 0) {
        FC_TRY(fci_h5_set_real(file, w->partial, "crop_scale", o->crop_scale));
    }
    char created[32] = "";
    const char *fixed = getenv("SOURCE_DATE_EPOCH"); /* reproducible-builds.org */
    time_t now = fixed != NULL ? (time_t)strtoll(fixed, NULL, 10) : time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) != NULL) {
        strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    FC_TRY(fci_h5_set_string(file, w->partial, "created", created));
    return make_groups(w);
}

static fc_status create_locked(fc_store_writer *w)
{
    w->file = H5Fcreate(w->partial, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    FC_H5(w->file, FC_RUNTIME, "%s cannot be created", w->partial);
    FC_TRY(write_head(w));
    for (column_name name = 0; name < COLUMNS; name++) {
        bool wanted = name < CATEGORY_NAMES;
        if (name == IMAGE_NAME) {
            wanted = w->options.names;
        } else if (name == CAPTION_TEXT || name == REGION_TEXT) {
            wanted = w->options.text;
        } else if (name == REGION_SCORE) {
            wanted = w->options.scores;
        } else if (name >= CROP_BYTES && name <= CROP_WIDTH) {
            wanted = w->options.crops;
        }
        if (wanted) {
            column_setup(w, name);
        }
    }
    static const column_name offsets[] = {IMAGE_OFFSETS, CAPTION_OFFSETS, CAPTION_OF, REGION_OF,
                                          REGION_OFFSETS};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        FC_TRY(put_count(w, offsets[i], 0));
    }
    return w->options.crops ? put_count(w, CROP_OFFSETS, 0) : FC_OK;
}

fc_status fc_store_writer_create(fc_store_writer **out, const char *path,
                                 const fc_store_options *options)
{
    *out = NULL;
    if (options->crops && (options->crop_size < 1 || !(options->crop_scale > 0))) {
        return FC_FAIL(FC_USAGE, "%s: crops need a size of at least 1 and a scale, not %d and %g",
                       path, options->crop_size, options->crop_scale);
    }
    struct stat about;
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) { /* else found out at the end */
        return FC_FAIL(FC_RUNTIME, "%s is a folder; want the name of the store to write", path);
    }
    fc_store_writer *w = fc_alloc(1, sizeof *w);
    w->path = fc_strdup(path);
    w->partial = fc_format("%s.partial", path);
    w->options = *options;
    w->file = -1;
    fci_h5_lock();
    fc_status status = create_locked(w);
    fci_h5_unlock();
    w->options.tokenizer = NULL; /* borrowed: only while creating */
    w->options.source = NULL;
    w->options.recipe = NULL;
    if (status != FC_OK) {
        fc_store_writer_destroy(&w);
        return status;
    }
    *out = w;
    return FC_OK;
}

/* What would make the store unreadable is refused before anything of the item is written. */
static fc_status check_caption(const fc_store_writer *w, const fc_store_caption *c,
                               const char *what, int index, bool may_be_empty)
{
    if (c->count < 2 && !(may_be_empty && c->count == 0)) {
        return FC_FAIL(FC_DATA, "%s %d of image %lld has %d token ids, it needs a start and an end",
                       what, index, (long long)column_rows(w, IMAGE_ID), c->count);
    }
    if (w->options.context_length > 0 && c->count > w->options.context_length) {
        return FC_FAIL(FC_DATA, "%s %d of image %lld has %d token ids, at most %d fit", what, index,
                       (long long)column_rows(w, IMAGE_ID), c->count, w->options.context_length);
    }
    for (int i = 0; i < c->count; i++) {
        if (c->tokens[i] < 0 ||
            (w->options.vocab_size > 0 && c->tokens[i] >= w->options.vocab_size)) {
            return FC_FAIL(FC_DATA, "%s %d of image %lld: token %d outside the vocabulary of %d",
                           what, index, (long long)column_rows(w, IMAGE_ID), c->tokens[i],
                           w->options.vocab_size);
        }
    }
    return FC_OK;
}

static fc_status check_region(const fc_store_writer *w, const fc_store_region *r, int index)
{
    FC_TRY(check_caption(w, &r->caption, "region", index, true));
    for (int k = 0; k < 4; k++) {
        if (!isfinite(r->box[k])) {
            return FC_FAIL(FC_DATA, "region %d of image %lld: box is not finite", index,
                           (long long)column_rows(w, IMAGE_ID));
        }
    }
    if (w->options.crops && (r->crop == NULL || r->crop_bytes == 0)) {
        return FC_FAIL(FC_BUG, "region %d of image %lld has no crop", index,
                       (long long)column_rows(w, IMAGE_ID));
    }
    return FC_OK;
}

static fc_status put_region(fc_store_writer *w, const fc_store_region *r)
{
    FC_TRY(fci_column_put(&w->column[REGION_BOXES], r->box, 1));
    FC_TRY(put_i32(w, REGION_CATEGORY, r->category));
    FC_TRY(put_tokens(w, REGION_TOKENS, r->caption.tokens, r->caption.count));
    FC_TRY(put_offset(w, REGION_OFFSETS, REGION_TOKENS));
    if (w->options.scores) {
        FC_TRY(fci_column_put(&w->column[REGION_SCORE], &r->score, 1));
    }
    if (w->options.text) {
        FC_TRY(fci_column_put_string(&w->column[REGION_TEXT], r->caption.text));
    }
    if (w->options.crops) {
        FC_TRY(fci_column_put(&w->column[CROP_BYTES], r->crop, (int64_t)r->crop_bytes));
        FC_TRY(put_offset(w, CROP_OFFSETS, CROP_BYTES));
        FC_TRY(put_i32(w, CROP_HEIGHT, w->options.crop_size));
        FC_TRY(put_i32(w, CROP_WIDTH, w->options.crop_size));
    }
    return FC_OK;
}

static fc_status put_image(fc_store_writer *w, const fc_store_image *image)
{
    uint8_t own[FC_HASH_BYTES];
    if (image->hash == NULL) {
        fc_content_hash(image->encoded, image->bytes, own);
    }
    FC_TRY(fci_column_put(&w->column[IMAGE_BYTES], image->encoded, (int64_t)image->bytes));
    FC_TRY(put_offset(w, IMAGE_OFFSETS, IMAGE_BYTES));
    FC_TRY(put_i32(w, IMAGE_HEIGHT, image->height));
    FC_TRY(put_i32(w, IMAGE_WIDTH, image->width));
    FC_TRY(fci_column_put(&w->column[IMAGE_ID], &image->id, 1));
    FC_TRY(fci_column_put(&w->column[IMAGE_HASH], image->hash == NULL ? own : image->hash, 1));
    if (w->options.names) {
        FC_TRY(fci_column_put_string(&w->column[IMAGE_NAME], image->name));
    }
    for (int i = 0; i < image->captions; i++) {
        const fc_store_caption *caption = &image->caption[i];
        FC_TRY(put_tokens(w, CAPTION_TOKENS, caption->tokens, caption->count));
        FC_TRY(put_offset(w, CAPTION_OFFSETS, CAPTION_TOKENS));
        if (w->options.text) {
            FC_TRY(fci_column_put_string(&w->column[CAPTION_TEXT], caption->text));
        }
    }
    FC_TRY(put_count(w, CAPTION_OF, column_rows(w, CAPTION_OFFSETS) - 1));
    for (int i = 0; i < image->regions; i++) {
        FC_TRY(put_region(w, &image->region[i]));
    }
    return put_count(w, REGION_OF, column_rows(w, REGION_BOXES));
}

fc_status fc_store_writer_put(fc_store_writer *w, const fc_store_image *image)
{
    FC_ASSERT(!w->finished);
    if (image->width < 1 || image->height < 1 || image->bytes == 0) {
        return FC_FAIL(FC_DATA, "image %lld (id %lld) is empty: %d x %d, %zu bytes",
                       (long long)column_rows(w, IMAGE_ID), (long long)image->id, image->width,
                       image->height, image->bytes);
    }
    for (int i = 0; i < image->captions; i++) {
        FC_TRY(check_caption(w, &image->caption[i], "caption", i, false));
    }
    for (int i = 0; i < image->regions; i++) {
        FC_TRY(check_region(w, &image->region[i], i));
    }
    fci_h5_lock();
    fc_status status = put_image(w, image);
    fci_h5_unlock();
    w->failed = w->failed || status != FC_OK;
    return status;
}

fc_status fc_store_writer_add(fc_store_writer *w, int64_t id, const char *name, int width,
                              int height, const uint8_t *encoded, size_t bytes, int captions,
                              const fc_store_caption *caption, int regions,
                              const fc_store_region *region)
{
    return fc_store_writer_put(w, &(fc_store_image){.id = id,
                                                    .name = name,
                                                    .width = width,
                                                    .height = height,
                                                    .encoded = encoded,
                                                    .bytes = bytes,
                                                    .captions = captions,
                                                    .caption = caption,
                                                    .regions = regions,
                                                    .region = region});
}

static fc_status put_category(fc_store_writer *w, const char *name, bool isthing, int prompts,
                              const fc_store_caption *prompt)
{
    if (!w->categories) {
        w->categories = true;
        hid_t group = H5Gcreate2(w->file, "/categories", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        FC_H5(group, FC_RUNTIME, "%s:/categories cannot be created", w->partial);
        H5Gclose(group);
        for (column_name c = CATEGORY_NAMES; c < COLUMNS; c++) {
            column_setup(w, c);
        }
        FC_TRY(put_count(w, PROMPT_OFFSETS, 0));
        FC_TRY(put_count(w, CATEGORY_OFFSETS, 0));
    }
    uint8_t thing = isthing ? 1 : 0;
    FC_TRY(fci_column_put_string(&w->column[CATEGORY_NAMES], name));
    FC_TRY(fci_column_put(&w->column[CATEGORY_ISTHING], &thing, 1));
    for (int i = 0; i < prompts; i++) {
        FC_TRY(put_tokens(w, PROMPT_TOKENS, prompt[i].tokens, prompt[i].count));
        FC_TRY(put_offset(w, PROMPT_OFFSETS, PROMPT_TOKENS));
    }
    return put_count(w, CATEGORY_OFFSETS, column_rows(w, PROMPT_OFFSETS) - 1);
}

fc_status fc_store_writer_category(fc_store_writer *w, const char *name, bool isthing, int prompts,
                                   const fc_store_caption *prompt)
{
    FC_ASSERT(!w->finished);
    for (int i = 0; i < prompts; i++) {
        FC_TRY(check_caption(w, &prompt[i], "prompt", i, false));
    }
    fci_h5_lock();
    fc_status status = put_category(w, name, isthing, prompts, prompt);
    fci_h5_unlock();
    w->failed = w->failed || status != FC_OK;
    return status;
}

fc_status fc_store_writer_attribute(fc_store_writer *w, const char *name, int64_t value)
{
    FC_ASSERT(!w->finished);
    fci_h5_lock();
    fc_status status = fci_h5_set_int(w->file, w->partial, name, value);
    fci_h5_unlock();
    return status;
}

static fc_status summary_locked(fc_store_writer *w, const char *name, int64_t value)
{
    bool made = fci_h5_exists(w->file, "/summary");
    hid_t group = made ? H5Gopen2(w->file, "/summary", H5P_DEFAULT)
                       : H5Gcreate2(w->file, "/summary", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    FC_H5(group, FC_RUNTIME, "%s:/summary cannot be created", w->partial);
    fc_status status = fci_h5_set_int(group, w->partial, name, value);
    H5Gclose(group);
    return status;
}

fc_status fc_store_writer_summary(fc_store_writer *w, const char *name, int64_t value)
{
    FC_ASSERT(!w->finished);
    fci_h5_lock();
    fc_status status = summary_locked(w, name, value);
    fci_h5_unlock();
    return status;
}

static fc_status finish_locked(fc_store_writer *w)
{
    for (int i = 0; i < COLUMNS; i++) {
        if (w->column[i].path != NULL) {
            FC_TRY(fci_column_finish(&w->column[i]));
        }
    }
    FC_TRY(fci_h5_set_int(w->file, w->partial, "complete", 1));
    hid_t file = w->file;
    w->file = -1;
    FC_H5(H5Fclose(file), FC_RUNTIME, "%s cannot be written (is the disk full?)", w->partial);
    return FC_OK;
}

fc_status fc_store_writer_finish(fc_store_writer *w)
{
    FC_ASSERT(!w->finished);
    if (w->failed) {
        return FC_FAIL(FC_RUNTIME, "%s was not written whole; an earlier write failed", w->path);
    }
    fci_h5_lock();
    fc_status status = finish_locked(w);
    fci_h5_unlock();
    w->failed = status != FC_OK;
    FC_TRY(status);
    if (rename(w->partial, w->path) != 0) {
        w->failed = true;
        return FC_FAIL(FC_RUNTIME, "%s cannot be renamed to %s: %m", w->partial, w->path);
    }
    w->finished = true;
    return FC_OK;
}

void fc_store_writer_destroy(fc_store_writer **writer)
{
    fc_store_writer *w = *writer;
    *writer = NULL;
    if (w == NULL) {
        return;
    }
    fci_h5_lock();
    for (int i = 0; i < COLUMNS; i++) {
        fci_column_fini(&w->column[i]);
    }
    bool made = w->file >= 0 || w->failed;
    if (w->file >= 0) {
        H5Fclose(w->file);
    }
    fci_h5_unlock();
    if (made && !w->finished) {
        unlink(w->partial);
    }
    fc_free(&w->path);
    fc_free(&w->partial);
    fc_free(&w);
}
