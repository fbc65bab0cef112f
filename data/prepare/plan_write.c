/* The last step of making a plan: sentences find their regions, and everything is written in the
 * order of the pictures. */
#include "core/memory.h"
#include "core/replace.h"
#include "data/file.h"
#include "data/prepare/plan_build_parts.h"
#include "data/prepare/plan_file.h"

#include <errno.h>
#include <string.h>

enum { WRITE_AHEAD = 1 << 20 };

/* ---- files of records: u64 bytes, then the record ---- */

fc_status fci_plan_trouble(const fci_plan_builder *b)
{
    return FC_FAIL(FC_RUNTIME, "trouble with a temporary file in %s: %s", b->options.folder,
                   errno != 0 ? strerror(errno) : "it is too short");
}

fc_status fci_next_record(const fci_plan_builder *b, FILE *file, fci_bytes *out)
{
    uint64_t bytes;
    errno = 0;
    if (fread(&bytes, sizeof bytes, 1, file) != 1) {
        return fci_plan_trouble(b);
    }
    out->count = 0;
    fci_bytes_reserve(out, bytes);
    out->count = bytes;
    return fread(out->data, 1, bytes, file) == bytes ? FC_OK : fci_plan_trouble(b);
}

fc_status fci_put_record(const fci_plan_builder *b, FILE *file, const fci_bytes *record)
{
    uint64_t bytes = record->count;
    errno = 0;
    bool whole = fwrite(&bytes, sizeof bytes, 1, file) == 1 &&
                 fwrite(record->data, 1, record->count, file) == record->count;
    return whole ? FC_OK : fci_plan_trouble(b);
}

fc_status fci_rewind_file(const fci_plan_builder *b, FILE *file)
{
    errno = 0;
    return fflush(file) == 0 && fseeko(file, 0, SEEK_SET) == 0 ? FC_OK : fci_plan_trouble(b);
}

bool fci_same_key(const fci_record *r, const uint64_t key[2])
{
    return r != NULL && r->key[0] == key[0] && r->key[1] == key[1];
}

bool fci_key_before(const fci_record *r, const uint64_t key[2])
{
    return r != NULL && (r->key[0] < key[0] || (r->key[0] == key[0] && r->key[1] < key[1]));
}

/* Sentences find their regions: out gets them by draft and region. Of two sentences for one key the
 * later counts. */
static fc_status join_captions(fci_gathering *g, fci_spill *out)
{
    fci_plan_builder *b = g->b;
    const fci_record *text, *region;
    fci_bytes sentence = {0};
    fc_status status;
    FC_TRY_GOTO(status, fci_spill_next(b->region_captions, &text), done);
    FC_TRY_GOTO(status, fci_spill_next(g->region_keys, &region), done);
    while (text != NULL) {
        uint64_t key[2] = {text->key[0], text->key[1]};
        int64_t texts = 0;
        for (; fci_same_key(text, key); texts++) {
            sentence.count = 0;
            fci_pack(&sentence, text->data, text->bytes);
            FC_TRY_GOTO(status, fci_spill_next(b->region_captions, &text), done);
        }
        while (fci_key_before(region, key)) {
            FC_TRY_GOTO(status, fci_spill_next(g->region_keys, &region), done);
        }
        bool used = fci_same_key(region, key);
        while (fci_same_key(region, key)) {
            uint64_t at[2];
            memcpy(at, region->data, sizeof at);
            FC_TRY_GOTO(status, fci_spill_add(out, at[0], at[1], sentence.data, sentence.count),
                        done);
            FC_TRY_GOTO(status, fci_spill_next(g->region_keys, &region), done);
        }
        b->counts.of[FCI_COUNT_region_captions_unused] += used ? texts - 1 : texts;
    }
done:
    fc_free(&sentence.data);
    return status;
}

/* ---- the plan itself ---- */

typedef struct writing {
    fci_gathering *g;
    fci_spill *sentences;
    const fci_record *next;
    fc_replace *file;
    fci_bytes out; /* waiting to be written */
    FILE *offset_file;
    uint64_t written;
} writing;

static fc_status flush(writing *w)
{
    FC_TRY(fc_replace_write(w->file, w->out.data, w->out.count));
    w->written += w->out.count;
    w->out.count = 0;
    return FC_OK;
}

static fc_status put_offset(writing *w)
{
    uint64_t at = w->written + w->out.count;
    errno = 0;
    return fwrite(&at, sizeof at, 1, w->offset_file) == 1 ? FC_OK : fci_plan_trouble(w->g->b);
}

/* Captions of regions that say nothing, or nothing new. */
static void drop_captions(fci_plan_builder *b, fci_plan_image *image)
{
    for (int r = 0; r < image->regions; r++) {
        const char *text = image->region[r].caption;
        if (text == NULL) {
            continue;
        }
        bool repeated = false;
        for (int k = 0; k < r && b->options.drop_repeated && !repeated; k++) {
            const char *other = image->region[k].caption;
            repeated = other != NULL && strcmp(other, text) == 0;
        }
        bool empty = text[strspn(text, " \t\r\n\f\v")] == '\0';
        b->counts.of[FCI_COUNT_region_captions_empty] += empty;
        b->counts.of[FCI_COUNT_region_captions_repeated] += !empty && repeated;
        image->region[r].caption = empty || repeated ? NULL : text;
    }
}

static fc_status write_picture(writing *w, int64_t i)
{
    fci_gathering *g = w->g;
    fci_plan_image *image = &g->image;
    FC_TRY(fci_next_record(g->b, g->drafts, &g->record));
    fci_unpack u = {g->record.data, g->record.count, false};
    FC_TRY(fci_plan_image_unpack(image, &u));
    g->group.count = 0;
    int64_t *at = fc_alloc((size_t)image->regions, sizeof *at);
    fc_status status = FC_OK;
    while (w->next != NULL && w->next->key[0] == (uint64_t)i && status == FC_OK) {
        at[w->next->key[1]] = (int64_t)g->group.count + 1;
        fci_pack(&g->group, w->next->data, w->next->bytes);
        status = fci_spill_next(w->sentences, &w->next);
    }
    for (int r = 0; r < image->regions; r++) {
        if (at[r] > 0) {
            size_t from = (size_t)at[r] - 1;
            u = (fci_unpack){g->group.data + from, g->group.count - from, false};
            image->region[r].caption = fci_unpack_text(&u);
        }
    }
    fc_free(&at);
    FC_TRY(status);
    drop_captions(g->b, image);
    FC_TRY(put_offset(w));
    fci_plan_image_pack(&w->out, image);
    if (w->out.count > WRITE_AHEAD) {
        FC_TRY(flush(w));
    }
    return FC_OK;
}

static fc_status copy_offsets(writing *w)
{
    uint8_t buffer[65536];
    size_t count;
    FC_TRY(fci_rewind_file(w->g->b, w->offset_file));
    while ((count = fread(buffer, 1, sizeof buffer, w->offset_file)) > 0) {
        FC_TRY(fc_replace_write(w->file, buffer, count));
        w->written += count;
    }
    return FC_OK;
}

static fc_status write_end(writing *w, const uint8_t *fingerprint)
{
    fci_plan_builder *b = w->g->b;
    fci_plan_tail tail = {.magic = FCI_PLAN_MAGIC};
    memcpy(tail.fingerprint, fingerprint, sizeof tail.fingerprint);
    FC_TRY(put_offset(w));
    FC_TRY(flush(w));
    tail.offsets_at = w->written;
    FC_TRY(copy_offsets(w));
    tail.head_at = w->written;
    fci_pack_i64(&w->out, w->g->drafted);
    fci_pack_i64(&w->out, b->has_scores);
    fci_pack(&w->out, &b->counts, sizeof b->counts);
    fci_pack_i64(&w->out, b->categories);
    for (int64_t i = 0; i < b->categories; i++) {
        fci_pack_i64(&w->out, b->category[i].id);
        fci_pack_text(&w->out, b->category[i].name);
        fci_pack_i64(&w->out, b->category[i].isthing);
    }
    tail.head_bytes = w->out.count;
    fci_pack(&w->out, &tail, sizeof tail);
    FC_TRY(flush(w));
    return FC_OK;
}

fc_status fci_write_plan(fci_gathering *g, const char *path, const uint8_t *fingerprint)
{
    writing w = {.g = g};
    fc_status status;
    fci_spill_create(&w.sentences, g->b->options.folder, g->b->options.memory);
    FC_TRY_GOTO(status, join_captions(g, w.sentences), done);
    FC_TRY_GOTO(status, fci_spill_next(w.sentences, &w.next), done);
    FC_TRY_GOTO(status, fci_rewind_file(g->b, g->drafts), done);
    FC_TRY_GOTO(status, fc_replace_begin(&w.file, path), done);
    FC_TRY_GOTO(status, fci_file_temporary(g->b->options.folder, &w.offset_file), done);
    for (int64_t i = 0; i < g->drafted; i++) {
        FC_TRY_GOTO(status, write_picture(&w, i), done);
    }
    FC_TRY_GOTO(status, write_end(&w, fingerprint), done);
    FC_TRY_GOTO(status, fc_replace_commit(&w.file, true), done);
done:
    fc_replace_abandon(&w.file);
    if (w.offset_file != NULL) {
        fclose(w.offset_file);
    }
    fci_spill_destroy(&w.sentences);
    fc_free(&w.out.data);
    return status;
}
