/* A block of a store as a file: u64 bytes and the record of each picture that is kept, then a tail
 * (hashes, counts, kept, magic) that says that the file is whole. */
#include "core/memory.h"
#include "data/prepare/prepare_parts.h"
#include "data/text/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAGIC UINT64_C(0x3130747261706366) /* changes with the layout */

enum { WRITE_AHEAD = 4 << 20 };

fc_status fci_part_begin(fci_part_writer *out, const char *path)
{
    *out = (fci_part_writer){0};
    FC_TRY(fc_replace_begin(&out->file, path));
    return FC_OK;
}

static void pack_caption(fci_bytes *out, const fc_store_caption *caption)
{
    fci_pack_i64(out, caption->count);
    fci_pack(out, caption->tokens, (size_t)caption->count * sizeof *caption->tokens);
    fci_pack_text(out, caption->text);
}

static void pack_blob(fci_bytes *out, const uint8_t *bytes, size_t count)
{
    fci_pack_i64(out, (int64_t)count);
    fci_pack(out, bytes, count);
}

fc_status fci_part_add(fci_part_writer *w, const fci_picture_job *job)
{
    size_t begin = w->out.count;
    char *name = fci_utf8_repair(job->plan->name); /* a file's name may be anything */
    fci_pack_i64(&w->out, 0);
    fci_pack_i64(&w->out, job->plan->id);
    fci_pack_text(&w->out, name != NULL ? name : job->plan->name);
    fc_free(&name);
    fci_pack_i64(&w->out, job->width);
    fci_pack_i64(&w->out, job->height);
    pack_blob(&w->out, job->bytes, job->count);
    fci_pack_i64(&w->out, job->captions);
    for (int i = 0; i < job->captions; i++) {
        pack_caption(&w->out, &job->caption[i]);
    }
    fci_pack_i64(&w->out, job->regions);
    for (int i = 0; i < job->regions; i++) {
        const fc_store_region *r = &job->region[i];
        fci_pack(&w->out, r->box, sizeof r->box);
        fci_pack_i64(&w->out, r->category);
        fci_pack_real(&w->out, (double)r->score);
        pack_caption(&w->out, &r->caption);
        pack_blob(&w->out, r->crop, r->crop_bytes);
    }
    uint64_t bytes = w->out.count - begin - sizeof bytes;
    memcpy(w->out.data + begin, &bytes, sizeof bytes);
    fci_pack(&w->hashes, job->hash, sizeof job->hash);
    w->kept++;
    if (w->out.count > WRITE_AHEAD) {
        FC_TRY(fc_replace_write(w->file, w->out.data, w->out.count));
        w->out.count = 0;
    }
    return FC_OK;
}

fc_status fci_part_end(fci_part_writer *w, const fci_counts *counts, fc_status status)
{
    if (status == FC_OK) {
        fci_pack(&w->out, w->hashes.data, w->hashes.count);
        fci_pack(&w->out, counts, sizeof *counts);
        fci_pack_i64(&w->out, w->kept);
        fci_pack_i64(&w->out, (int64_t)MAGIC);
        status = fc_replace_write(w->file, w->out.data, w->out.count);
    }
    if (status == FC_OK) {
        status = fc_replace_commit(&w->file, true);
    } else {
        fc_replace_abandon(&w->file);
    }
    fc_free(&w->out.data);
    fc_free(&w->hashes.data);
    return status;
}

static fc_status read_exactly(fci_part *p, void *to, size_t bytes)
{
    errno = 0;
    if (fread(to, 1, bytes, p->file) == bytes) {
        return FC_OK;
    }
    return errno != 0 ? FC_FAIL(FC_RUNTIME, "%s cannot be read: %s", p->path, strerror(errno))
                      : FC_FAIL(FC_DATA, "%s is not whole", p->path);
}

static fc_status read_tail(fci_part *p)
{
    int64_t end[2];
    FC_TRY(fseeko(p->file, -(off_t)sizeof end, SEEK_END) == 0
               ? FC_OK
               : FC_FAIL(FC_DATA, "%s is not whole", p->path));
    FC_TRY(read_exactly(p, end, sizeof end));
    if (end[1] != (int64_t)MAGIC || end[0] < 0 || end[0] > FCI_BLOCK) {
        return FC_FAIL(FC_DATA, "%s is not whole", p->path);
    }
    p->kept = end[0];
    size_t hashes = (size_t)p->kept * FC_HASH_BYTES;
    off_t tail = (off_t)(sizeof end + sizeof p->counts + hashes);
    p->hash = fc_alloc((size_t)p->kept, FC_HASH_BYTES);
    FC_TRY(fseeko(p->file, -tail, SEEK_END) == 0 ? FC_OK
                                                 : FC_FAIL(FC_DATA, "%s is not whole", p->path));
    FC_TRY(read_exactly(p, p->hash, hashes));
    FC_TRY(read_exactly(p, &p->counts, sizeof p->counts));
    return fseeko(p->file, 0, SEEK_SET) == 0 ? FC_OK
                                             : FC_FAIL(FC_RUNTIME, "%s cannot be read", p->path);
}

fc_status fci_part_open(fci_part *out, const char *path)
{
    *out = (fci_part){.file = fopen(path, "rb")};
    if (out->file == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: %s", path, strerror(errno));
    }
    out->path = fc_strdup(path);
    fc_status status = read_tail(out);
    if (status != FC_OK) {
        fci_part_close(out);
    }
    return status;
}

void fci_part_close(fci_part *p)
{
    if (p->file != NULL) {
        fclose(p->file);
        p->file = NULL;
    }
    fc_free(&p->path);
    fc_free(&p->hash);
    fc_free(&p->record.data);
    fc_free(&p->caption);
    fc_free(&p->region);
}

static void unpack_caption(fci_unpack *u, fc_store_caption *out)
{
    out->count = fci_unpack_count(u, sizeof *out->tokens);
    out->tokens = fci_unpack_raw(u, (size_t)out->count * sizeof *out->tokens);
    out->text = fci_unpack_text(u);
}

static const uint8_t *unpack_blob(fci_unpack *u, size_t *count)
{
    *count = (size_t)fci_unpack_count(u, 1);
    return fci_unpack_raw(u, *count);
}

static void unpack_region(fci_unpack *u, fc_store_region *out)
{
    const void *box = fci_unpack_raw(u, sizeof out->box);
    if (box != NULL) {
        memcpy(out->box, box, sizeof out->box);
    }
    out->category = (int32_t)fci_unpack_i64(u);
    out->score = (float)fci_unpack_real(u);
    unpack_caption(u, &out->caption);
    out->crop = unpack_blob(u, &out->crop_bytes);
}

static void unpack_image(fci_part *p, fci_unpack *u)
{
    fc_store_image *image = &p->image;
    image->id = fci_unpack_i64(u);
    image->name = fci_unpack_text(u);
    image->width = (int)fci_unpack_i64(u);
    image->height = (int)fci_unpack_i64(u);
    image->encoded = unpack_blob(u, &image->bytes);
    image->hash = p->hash[p->next];
    image->captions = fci_unpack_count(u, 2 * sizeof(int64_t));
    if (image->captions > p->caption_room) {
        p->caption_room = 2 * image->captions;
        p->caption = fc_realloc(p->caption, (size_t)p->caption_room, sizeof *p->caption);
    }
    for (int i = 0; i < image->captions; i++) {
        unpack_caption(u, &p->caption[i]);
    }
    image->regions = fci_unpack_count(u, 7 * sizeof(int64_t));
    if (image->regions > p->region_room) {
        p->region_room = 2 * image->regions;
        p->region = fc_realloc(p->region, (size_t)p->region_room, sizeof *p->region);
    }
    for (int i = 0; i < image->regions; i++) {
        unpack_region(u, &p->region[i]);
    }
    image->caption = p->caption;
    image->region = p->region;
}

fc_status fci_part_next(fci_part *p)
{
    uint64_t bytes;
    FC_ASSERT(p->next < p->kept);
    FC_TRY(read_exactly(p, &bytes, sizeof bytes));
    p->record.count = 0;
    if (bytes > p->record.room) {
        fc_free(&p->record.data);
        p->record.room = 0;
        FC_TRY(fc_try_alloc((void **)&p->record.data, bytes, 1, p->path));
        p->record.room = bytes;
    }
    FC_TRY(read_exactly(p, p->record.data, bytes));
    fci_unpack u = {p->record.data, bytes, false};
    unpack_image(p, &u);
    p->next++;
    return u.bad ? FC_FAIL(FC_DATA, "%s is damaged: remove it", p->path) : FC_OK;
}
