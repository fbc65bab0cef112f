/* Single items of an open store: pictures, crops, tokens, boxes, sentences. */
#include "core/memory.h"
#include "data/picture/codec.h"
#include "data/store/hdf5_direct.h"
#include "data/store/store_files.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

fc_status fci_store_item(const fci_h5_dataset *of, const uint64_t *offsets, int64_t i,
                         int64_t *first, int64_t *count)
{
    uint64_t begin = offsets[i], end = offsets[i + 1];
    if (begin > end || end > (uint64_t)of->rows) {
        return FC_FAIL(FC_DATA, "item %lld of %s has wrong offsets (%llu to %llu of %lld)",
                       (long long)i, of->where, (unsigned long long)begin, (unsigned long long)end,
                       (long long)of->rows);
    }
    *first = (int64_t)begin;
    *count = (int64_t)(end - begin);
    return FC_OK;
}

/* Encoded pictures of one kind, and what the store says of them. */
typedef struct album {
    const char *what; /* "picture" or "crop" */
    const fci_h5_dataset *bytes;
    const uint64_t *offsets;
    fc_codec codec;
    const int32_t *width, *height;
} album;

static album pictures_of(const fc_store *s)
{
    return (album){"picture", &s->files->bytes, s->image_offsets, s->codec, s->width, s->height};
}

static album crops_of(const fc_store *s)
{
    return (album){"crop",        &s->files->crop_bytes, s->crop_offsets,
                   s->crop_codec, s->crop_width,         s->crop_height};
}

/* Make a piece of scratch memory large enough; what was in it is lost. */
static fc_status reserve(uint8_t **memory, size_t *room, size_t bytes, const char *where)
{
    if (bytes > *room) {
        void *p = NULL;
        FC_TRY(fc_try_alloc(&p, bytes + bytes / 4, 1, where));
        fc_free(memory);
        *memory = p;
        *room = bytes + bytes / 4;
    }
    return FC_OK;
}

/* Bytes of item i into the scratch memory. */
static fc_status read_bytes(const album *a, int64_t i, fc_store_scratch *scratch, size_t *count)
{
    int64_t first = 0, rows = 0;
    FC_TRY(fci_store_item(a->bytes, a->offsets, i, &first, &rows));
    FC_TRY(reserve(&scratch->bytes, &scratch->room, (size_t)rows, a->bytes->where));
    *count = (size_t)rows;
    fc_status status = fci_h5_read_direct(a->bytes, first, rows, scratch->bytes);
    /* A file that cannot be read is not a bad picture, which a loader would step over. */
    return status == FC_DATA ? FC_RUNTIME : status;
}

fc_status fci_store_check_length(const fc_store *s)
{
    struct stat now;
    if (fstat(s->files->fd, &now) != 0) {
        return FC_FAIL(FC_RUNTIME, "%s cannot be read any more: %s", s->path, strerror(errno));
    }
    if ((int64_t)now.st_size < s->files->file_bytes) {
        return FC_FAIL(FC_RUNTIME,
                       "%s was cut short while it was read, from %lld to %lld bytes: put it back "
                       "as it was",
                       s->path, (long long)s->files->file_bytes, (long long)now.st_size);
    }
    return FC_OK;
}

/* Decode item i, into out->rgb where that is set. */
static fc_status read_picture(const album *a, int64_t i, fc_store_scratch *scratch, fc_picture *out)
{
    size_t count = 0;
    bool into = out->rgb != NULL;
    FC_TRY(read_bytes(a, i, scratch, &count));
    out->width = a->width[i];
    out->height = a->height[i];
    fc_status status = into ? fc_picture_decode_into(out, a->codec, scratch->bytes, count)
                            : fc_picture_decode(out, a->codec, scratch->bytes, count);
    bool other = out->width != a->width[i] || out->height != a->height[i];
    if (other && (status == FC_OK || (into && status == FC_DATA))) {
        status = FC_FAIL(FC_DATA, "%s %lld is %d x %d, not %d x %d as stored, in %s", a->what,
                         (long long)i, out->width, out->height, a->width[i], a->height[i],
                         a->bytes->where);
    } else if (status != FC_OK) {
        char inner[1024];
        snprintf(inner, sizeof inner, "%s", fc_error_message());
        status = FC_FAIL(status, "%s %lld does not decode in %s: %s", a->what, (long long)i,
                         a->bytes->where, inner);
    }
    return status;
}

static fc_status read_new(const album *a, int64_t i, fc_picture *out)
{
    fc_store_scratch scratch = {0};
    *out = (fc_picture){0};
    fc_status status = read_picture(a, i, &scratch, out);
    if (status != FC_OK) {
        fc_picture_free(out);
    }
    fc_store_scratch_fini(&scratch);
    return status;
}

/* Decode item i into the scratch memory. Where that is too small, the codec makes the room, which
 * it does once it has seen that so many pixels can be in the bytes, and the scratch keeps it. */
static fc_status borrow(const album *a, int64_t i, fc_store_scratch *scratch, fc_picture *out)
{
    int width = a->width[i], height = a->height[i];
    *out = (fc_picture){0};
    fc_status status = fci_picture_check_size(width, height);
    if (status != FC_OK) {
        return FC_FAIL(status, "%s %lld is %d x %d pixels as stored in %s: no picture is", a->what,
                       (long long)i, width, height, a->bytes->where);
    }
    size_t needed = 3 * (size_t)width * (size_t)height;
    if (needed <= scratch->room_rgb) {
        out->rgb = scratch->rgb;
        FC_TRY(read_picture(a, i, scratch, out));
        return FC_OK;
    }
    status = read_picture(a, i, scratch, out);
    if (status != FC_OK) {
        fc_picture_free(out);
        return status;
    }
    fc_free(&scratch->rgb);
    scratch->rgb = out->rgb;
    scratch->room_rgb = needed;
    return FC_OK;
}

fc_status fc_store_picture(fc_store *s, int64_t image, fc_picture *out)
{
    FC_ASSERT(image >= 0 && image < s->images);
    FC_TRY(fci_store_check_length(s));
    album a = pictures_of(s);
    FC_TRY(read_new(&a, image, out));
    return FC_OK;
}

fc_status fc_store_crop(fc_store *s, int64_t region, fc_picture *out)
{
    FC_ASSERT(s->has_crops && region >= 0 && region < s->regions);
    album a = crops_of(s);
    FC_TRY(read_new(&a, region, out));
    return FC_OK;
}

fc_status fc_store_picture_into(fc_store *s, int64_t image, fc_store_scratch *scratch, uint8_t *rgb)
{
    FC_ASSERT(image >= 0 && image < s->images);
    FC_TRY(fci_store_check_length(s));
    album a = pictures_of(s);
    FC_TRY(read_picture(&a, image, scratch, &(fc_picture){.rgb = rgb}));
    return FC_OK;
}

fc_status fc_store_picture_borrow(fc_store *s, int64_t image, fc_store_scratch *scratch,
                                  fc_picture *out)
{
    FC_ASSERT(image >= 0 && image < s->images);
    FC_TRY(fci_store_check_length(s));
    album a = pictures_of(s);
    FC_TRY(borrow(&a, image, scratch, out));
    return FC_OK;
}

fc_status fci_store_crop_into(fc_store *s, int64_t region, fc_store_scratch *scratch, uint8_t *rgb)
{
    FC_ASSERT(s->has_crops && region >= 0 && region < s->regions);
    album a = crops_of(s);
    FC_TRY(read_picture(&a, region, scratch, &(fc_picture){.rgb = rgb}));
    return FC_OK;
}

fc_status fci_store_crop_borrow(fc_store *s, int64_t region, fc_store_scratch *scratch,
                                fc_picture *out)
{
    FC_ASSERT(s->has_crops && region >= 0 && region < s->regions);
    album a = crops_of(s);
    FC_TRY(borrow(&a, region, scratch, out));
    return FC_OK;
}

void fc_store_scratch_fini(fc_store_scratch *scratch)
{
    fc_free(&scratch->bytes);
    fc_free(&scratch->rgb);
    scratch->room = scratch->room_rgb = 0;
}

fc_status fci_store_token_count(const fc_store *s, fc_token_set set, int64_t item, int64_t *count)
{
    const struct fci_store_files *f = s->files;
    FC_ASSERT(item >= 0 && item < f->items[set]);
    *count = 0;
    if (f->tokens[set].where == NULL) { /* regions of a store without region captions */
        return FC_OK;
    }
    int64_t first;
    return fci_store_item(&f->tokens[set], f->offsets[set], item, &first, count);
}

fc_status fci_store_check_count(const fc_store *s, fc_token_set set, int64_t item, int64_t count,
                                int max)
{
    const char *where = s->files->tokens[set].where;
    if (count == 0 && set == FC_REGION_TOKENS) {
        return FC_OK;
    }
    if (count < 2) {
        return FC_FAIL(FC_DATA, "item %lld has %lld ids, it needs a start and an end, in %s",
                       (long long)item, (long long)count, where);
    }
    if (count > max) {
        return FC_FAIL(FC_DATA, "item %lld has %lld ids, at most %d are allowed, in %s",
                       (long long)item, (long long)count, max, where);
    }
    return FC_OK;
}

fc_status fci_store_check_ids(const fc_store *s, fc_token_set set, int64_t item, int vocab,
                              const int32_t *ids, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= vocab) {
            return FC_FAIL(FC_DATA, "token %lld of item %lld outside vocabulary (%d of %d) in %s",
                           (long long)i, (long long)item, ids[i], vocab,
                           s->files->tokens[set].where);
        }
    }
    return FC_OK;
}

fc_status fc_store_tokens(fc_store *s, fc_token_set set, int64_t item, int vocab, int max,
                          int32_t *ids, int *count)
{
    int64_t first = 0, rows = 0;
    const fci_h5_dataset *d = &s->files->tokens[set];
    *count = 0;
    FC_TRY(fci_store_token_count(s, set, item, &rows));
    FC_TRY(fci_store_check_count(s, set, item, rows, max));
    if (rows == 0) {
        return FC_OK;
    }
    FC_TRY(fci_store_item(d, s->files->offsets[set], item, &first, &rows));
    FC_TRY(fci_h5_read_direct(d, first, rows, ids));
    FC_TRY(fci_store_check_ids(s, set, item, vocab, ids, rows));
    *count = (int)rows;
    return FC_OK;
}

fc_status fc_store_check_box(const fc_store *s, int64_t region, int64_t image)
{
    FC_ASSERT(region >= 0 && region < s->regions && image >= 0 && image < s->images);
    const float *b = &s->boxes[4 * region];
    const int side[4] = {0, 0, s->width[image], s->height[image]};
    for (int k = 0; k < 4; k++) {
        if (!isfinite(b[k])) {
            return FC_FAIL(FC_DATA, "box %lld is not finite (%g %g %g %g) in %s:/regions/boxes",
                           (long long)region, (double)b[0], (double)b[1], (double)b[2],
                           (double)b[3], s->path);
        }
    }
    static const char *const name[4] = {"x0", "y0", "x1", "y1"};
    static const char *const bound[4] = {"< left", "< top", "> w", "> h"};
    for (int k = 0; k < 4; k++) {
        double excess = k < 2 ? -(double)b[k] : (double)b[k] - side[k];
        if (excess > 0.5) {
            return FC_FAIL(FC_DATA,
                           "box %lld outside image (%s=%g %s=%d) in %s:/regions/boxes (image %lld)",
                           (long long)region, name[k], (double)b[k], bound[k], side[k], s->path,
                           (long long)image);
        }
    }
    if (!(b[2] > b[0] && b[3] > b[1])) {
        return FC_FAIL(FC_DATA, "box %lld is empty (%g %g %g %g) in %s:/regions/boxes",
                       (long long)region, (double)b[0], (double)b[1], (double)b[2], (double)b[3],
                       s->path);
    }
    return FC_OK;
}

static const char *const sentences[FCI_STORE_TEXTS] = {"images/name", "captions/text",
                                                       "regions/text"};

/* Sentences are rare (explain, inspect), so their datasets are opened when first asked for. */
static fc_status sentences_locked(fc_store *s, int slot, const fci_h5_dataset **out)
{
    fci_h5_dataset *d = &s->files->text[slot];
    *out = NULL;
    if (d->where == NULL) {
        char path[32];
        snprintf(path, sizeof path, "/%s", sentences[slot]);
        if (!fci_h5_exists(s->files->file, path)) {
            return FC_OK;
        }
        FC_TRY(fci_h5_open_strings(d, s->files->file, s->path, s->files->file_bytes, path));
    }
    *out = d;
    return FC_OK;
}

fc_status fci_store_sentences(fc_store *s, int slot, const fci_h5_dataset **out)
{
    fci_h5_lock();
    fc_status status = sentences_locked(s, slot, out);
    fci_h5_unlock();
    return status;
}

static fc_status text_locked(fc_store *s, int slot, int64_t index, char **out)
{
    const fci_h5_dataset *d;
    FC_TRY(sentences_locked(s, slot, &d));
    return d == NULL ? FC_OK : fci_h5_read_strings(d, index, 1, out);
}

fc_status fc_store_text(fc_store *s, const char *dataset, int64_t index, char **out)
{
    *out = NULL;
    for (int slot = 0; slot < FCI_STORE_TEXTS; slot++) {
        if (strcmp(dataset, sentences[slot]) == 0) {
            fci_h5_lock();
            fc_status status = text_locked(s, slot, index, out);
            fci_h5_unlock();
            return status;
        }
    }
    return FC_FAIL(FC_BUG, "%s is no dataset of sentences", dataset);
}
