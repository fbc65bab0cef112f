#include "data/prepare/plan_build.h"

#include "core/memory.h"
#include "data/file.h"
#include "data/prepare/plan_build_parts.h"
#include "data/text/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

fc_status fci_builder_create(fci_plan_builder **out, const fci_plan_options *options)
{
    *out = NULL;
    FILE *file;
    FC_TRY(fci_file_temporary(options->folder, &file));
    fci_plan_builder *b = fc_alloc(1, sizeof *b);
    b->options = *options;
    b->pictures = file;
    b->numeric = true;
    fci_spill **spills[] = {&b->by_id, &b->by_name, &b->by_position, &b->region_captions};
    for (int i = 0; i < 4; i++) {
        fci_spill_create(spills[i], options->folder, options->memory);
    }
    *out = b;
    return FC_OK;
}

void fci_builder_destroy(fci_plan_builder **builder)
{
    fci_plan_builder *b = *builder;
    *builder = NULL;
    if (b == NULL) {
        return;
    }
    fclose(b->pictures);
    fci_spill_destroy(&b->by_id);
    fci_spill_destroy(&b->by_name);
    fci_spill_destroy(&b->by_position);
    fci_spill_destroy(&b->region_captions);
    for (int64_t i = 0; i < b->categories; i++) {
        fc_free(&b->category[i].name);
    }
    fc_free(&b->category);
    fc_free(&b->scratch.data);
    fc_free(&b);
}

fci_counts *fci_builder_counts(fci_plan_builder *b)
{
    return &b->counts;
}

int64_t fci_builder_pictures(const fci_plan_builder *b)
{
    return b->images;
}

void fci_key_of(const void *bytes, size_t count, uint64_t key[2])
{
    uint8_t hash[FC_HASH_BYTES];
    fc_content_hash(bytes, count, hash);
    memcpy(key, hash, sizeof hash);
}

/* Length of a picture's name without its suffix. */
static size_t stem(const char *name)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png"};
    size_t n = strlen(name);
    for (int i = 0; i < 3; i++) {
        size_t k = strlen(suffixes[i]);
        if (n > k && strcasecmp(name + n - k, suffixes[i]) == 0) {
            return n - k;
        }
    }
    return n;
}

void fci_key_of_name(const char *name, uint64_t key[2])
{
    fci_key_of(name, stem(name), key);
}

/* 000000391895.jpg is number 391895. */
static bool number_of(const char *name, int64_t *out)
{
    enum { MOST_DIGITS = 18 };
    const char *slash = strrchr(name, '/');
    const char *base = slash == NULL ? name : slash + 1;
    size_t n = stem(base);
    if (n == 0 || n > MOST_DIGITS || strspn(base, "0123456789") < n) {
        return false;
    }
    *out = strtoll(base, NULL, 10);
    return true;
}

fc_status fci_builder_picture(fci_plan_builder *b, const fci_listed *picture)
{
    fci_plan_image image = {.id = picture->id,
                            .name = picture->name,
                            .offset = picture->offset,
                            .bytes = picture->bytes,
                            .width = picture->width,
                            .height = picture->height};
    if (!picture->has_id) {
        b->derived = true;
        b->numeric = b->numeric && number_of(picture->name, &image.id);
    }
    char *file = NULL;
    if (picture->file == NULL) {
        file = fc_format("%s/%s", b->options.images, picture->name);
    }
    image.file = file != NULL ? file : picture->file;
    b->scratch.count = 0;
    fci_plan_image_pack(&b->scratch, &image);
    fc_free(&file);
    uint64_t bytes = b->scratch.count;
    if (fwrite(&bytes, sizeof bytes, 1, b->pictures) != 1 ||
        fwrite(b->scratch.data, 1, bytes, b->pictures) != bytes) {
        return FC_FAIL(FC_RUNTIME, "cannot write a temporary file in %s: %s", b->options.folder,
                       strerror(errno));
    }
    b->images++;
    b->counts.of[FCI_COUNT_pictures_listed]++;
    return FC_OK;
}

/* scratch holds the annotation: to those of its picture, or to those that wait for it to be found.
 */
static fc_status file_away(fci_plan_builder *b, const fci_ref *of)
{
    uint64_t key[2] = {(uint64_t)of->number, b->sequence++};
    memcpy(b->scratch.data, &key[1], sizeof key[1]);
    fci_spill *to = b->by_position;
    if (of->by == FCI_BY_ID) {
        to = b->by_id;
        key[1] = 0;
    } else if (of->by == FCI_BY_NAME) {
        to = b->by_name;
        fci_key_of_name(of->name, key);
    }
    FC_TRY(fci_spill_add(to, key[0], key[1], b->scratch.data, b->scratch.count));
    return FC_OK;
}

static void begin_annotation(fci_plan_builder *b, fci_annotation_kind kind)
{
    b->scratch.count = 0;
    fci_pack_i64(&b->scratch, 0); /* its place in the order of reading, by file_away */
    fci_pack_i64(&b->scratch, kind);
}

/* Text as UTF-8; what was repaired is counted. */
static void pack_text(fci_plan_builder *b, const char *text)
{
    char *repaired = text == NULL ? NULL : fci_utf8_repair(text);
    b->counts.of[FCI_COUNT_texts_repaired] += repaired != NULL;
    fci_pack_text(&b->scratch, repaired != NULL ? repaired : text);
    fc_free(&repaired);
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n\f\v")] == '\0';
}

fc_status fci_builder_caption(fci_plan_builder *b, const fci_ref *of, const char *text)
{
    b->counts.of[FCI_COUNT_captions_read]++;
    if (is_blank(text)) {
        b->counts.of[FCI_COUNT_captions_empty]++;
        return FC_OK;
    }
    begin_annotation(b, FCI_CAPTION);
    pack_text(b, text);
    FC_TRY(file_away(b, of));
    return FC_OK;
}

fc_status fci_builder_region(fci_plan_builder *b, const fci_ref *of, const fci_plan_region *region)
{
    b->counts.of[FCI_COUNT_regions_read]++;
    begin_annotation(b, FCI_REGION);
    fci_pack(&b->scratch, region->box, sizeof region->box);
    fci_pack_i64(&b->scratch, region->segment);
    fci_pack_i64(&b->scratch, region->category);
    fci_pack_real(&b->scratch, region->score);
    pack_text(b, region->caption);
    FC_TRY(file_away(b, of));
    return FC_OK;
}

fc_status fci_builder_mask(fci_plan_builder *b, const fci_ref *of, const char *file)
{
    begin_annotation(b, FCI_MASK);
    fci_pack_text(&b->scratch, file);
    FC_TRY(file_away(b, of));
    return FC_OK;
}

/* The published key and our own become one: no ".jpg" at the end, "_" for "." and "/". */
static void make_plain(char *key)
{
    size_t n = strlen(key);
    if (n > 4 && strcmp(key + n - 4, ".jpg") == 0) {
        key[n - 4] = '\0';
    }
    for (char *p = key; (p = strpbrk(p, "./")) != NULL;) {
        *p = '_';
    }
}

char *fci_region_key(const char *name, const double box[4])
{
    long long whole[4];
    for (int i = 0; i < 4; i++) {
        whole[i] = box[i] > -9e15 && box[i] < 9e15 ? (long long)box[i] : 0;
    }
    char *key = fc_format("%s_%lld_%lld_%lld_%lld", name, whole[0], whole[1], whole[2], whole[3]);
    for (char *p = key; (p = strpbrk(p, "./")) != NULL;) {
        *p = '_';
    }
    return key;
}

fc_status fci_builder_region_caption(fci_plan_builder *b, const char *key, const char *text)
{
    char *plain = fc_strdup(key);
    uint64_t hash[2];
    make_plain(plain);
    fci_key_of(plain, strlen(plain), hash);
    fc_free(&plain);
    b->counts.of[FCI_COUNT_region_captions_read]++;
    b->scratch.count = 0;
    pack_text(b, text);
    FC_TRY(fci_spill_add(b->region_captions, hash[0], hash[1], b->scratch.data, b->scratch.count));
    return FC_OK;
}

void fci_builder_category(fci_plan_builder *b, int64_t id, const char *name, bool isthing)
{
    if (b->categories == b->category_room) {
        b->category_room = 2 * b->category_room + 64;
        b->category = fc_realloc(b->category, (size_t)b->category_room, sizeof *b->category);
    }
    b->category[b->categories++] = (fci_plan_category){id, fc_strdup(name), isthing};
}

void fci_builder_scored(fci_plan_builder *b)
{
    b->has_scores = true;
}

void fci_builder_stuff_only(fci_plan_builder *b)
{
    b->stuff_only = true;
}
