/* The second step of making a plan: annotations find their pictures, and samples are chosen. */
#include "core/memory.h"
#include "data/file.h"
#include "data/picture/picture.h"
#include "data/prepare/plan_build_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- annotations find their pictures ---- */

static fc_status occurs_twice(const fci_record *r, const char *what)
{
    fci_unpack u = {r->data, r->bytes, false};
    fci_unpack_i64(&u);
    const char *name = fci_unpack_text(&u);
    if (what == NULL) {
        return FC_FAIL(FC_DATA, "image id %lld occurs twice (%s)", (long long)r->key[0], name);
    }
    return FC_FAIL(FC_DATA, "%s occurs twice, and annotations refer to pictures by %s", name, what);
}

/* The count of an annotation whose picture is not listed. */
static void count_elsewhere(fci_plan_builder *b, const fci_record *r)
{
    fci_unpack u = {r->data, r->bytes, false};
    fci_unpack_i64(&u);
    int64_t kind = fci_unpack_i64(&u);
    b->counts.of[FCI_COUNT_captions_elsewhere] += kind == FCI_CAPTION;
    b->counts.of[FCI_COUNT_regions_elsewhere] += kind == FCI_REGION;
}

/* Step over the picture with its key; *twice: another one follows that has the same. */
static fc_status next_picture(fci_spill *pictures, const fci_record **p, bool *twice)
{
    uint64_t key[2] = {(*p)->key[0], (*p)->key[1]};
    FC_TRY(fci_spill_next(pictures, p));
    *twice = fci_same_key(*p, key);
    return FC_OK;
}

/* what: "number" or "name" where only annotations make a repetition wrong; NULL: it always is.
 * *repeated: there are some. */
static fc_status join(fci_plan_builder *b, fci_spill *pictures, fci_spill *annotations,
                      const char *what, bool *repeated)
{
    const fci_record *p, *a;
    uint64_t key[2] = {0, 0}; /* of the last picture that was stepped over */
    int64_t position = -1;
    bool twice = false, any = false;
    FC_TRY(fci_spill_next(pictures, &p));
    FC_TRY(fci_spill_next(annotations, &a));
    while (p != NULL || a != NULL) {
        if (position >= 0 && fci_same_key(a, key)) {
            uint64_t sequence;
            if (twice) {
                return occurs_twice(p, what);
            }
            memcpy(&sequence, a->data, sizeof sequence);
            FC_TRY(fci_spill_add(b->by_position, (uint64_t)position, sequence, a->data, a->bytes));
            FC_TRY(fci_spill_next(annotations, &a));
        } else if (p != NULL && (a == NULL || !(fci_key_before(a, p->key)))) {
            key[0] = p->key[0];
            key[1] = p->key[1];
            memcpy(&position, p->data, sizeof position);
            FC_TRY(next_picture(pictures, &p, &twice));
            if (twice && what == NULL) {
                return occurs_twice(p, NULL);
            }
            any = any || twice;
        } else {
            count_elsewhere(b, a);
            FC_TRY(fci_spill_next(annotations, &a));
        }
    }
    *repeated = any;
    return FC_OK;
}

/* The number a picture has in the store. */
static int64_t final_id(const fci_plan_builder *b, const fci_plan_image *image, int64_t position)
{
    return b->derived && !b->numeric ? position : image->id;
}

static fc_status index_pictures(fci_plan_builder *b, fci_spill *ids, fci_spill *names)
{
    fci_plan_image image = {0};
    fci_bytes record = {0}, payload = {0};
    fc_status status;
    FC_TRY_GOTO(status, fci_rewind_file(b, b->pictures), done);
    for (int64_t i = 0; i < b->images; i++) {
        FC_TRY_GOTO(status, fci_next_record(b, b->pictures, &record), done);
        fci_unpack u = {record.data, record.count, false};
        FC_TRY_GOTO(status, fci_plan_image_unpack(&image, &u), done);
        payload.count = 0;
        fci_pack_i64(&payload, i);
        fci_pack_text(&payload, image.name);
        uint64_t key[2];
        FC_TRY_GOTO(
            status,
            fci_spill_add(ids, (uint64_t)final_id(b, &image, i), 0, payload.data, payload.count),
            done);
        if (fci_spill_count(b->by_name) > 0) {
            fci_key_of_name(image.name, key);
            FC_TRY_GOTO(status, fci_spill_add(names, key[0], key[1], payload.data, payload.count),
                        done);
        }
    }
done:
    fci_plan_image_free(&image);
    fc_free(&record.data);
    fc_free(&payload.data);
    return status;
}

static fc_status join_pictures(fci_plan_builder *b)
{
    fci_spill *ids, *names;
    bool repeated;
    fc_status status;
    fci_spill_create(&ids, b->options.folder, b->options.memory);
    fci_spill_create(&names, b->options.folder, b->options.memory);
    FC_TRY_GOTO(status, index_pictures(b, ids, names), done);
    FC_TRY_GOTO(status, join(b, ids, b->by_id, b->derived ? "number" : NULL, &repeated), done);
    b->numeric = b->numeric && !repeated; /* numbers of names that repeat number nothing */
    FC_TRY_GOTO(status, join(b, names, b->by_name, "name", &repeated), done);
done:
    fci_spill_destroy(&ids);
    fci_spill_destroy(&names);
    fci_spill_destroy(&b->by_id);
    fci_spill_destroy(&b->by_name);
    return status;
}

/* ---- samples ---- */

/* Width and height from the head of the picture's file; 0 where it says none. */
static void measure(fci_plan_image *image)
{
    enum { HEAD = 256 << 10 };
    int64_t most = image->bytes >= 0 && image->bytes < HEAD ? image->bytes : HEAD;
    uint8_t *head = NULL;
    size_t count = 0;
    fc_codec codec;
    if (fci_file_read_part(image->file, image->offset, most, &head, &count) != FC_OK ||
        fc_codec_sniff(head, count, &codec) != FC_OK ||
        fc_picture_size(codec, head, count, &image->width, &image->height) != FC_OK) {
        image->width = image->height = 0; /* whoever decodes it says what is wrong */
        fc_error_clear();
    }
    fc_free(&head);
}

static bool eligible(const fci_plan_builder *b, fci_plan_image *image)
{
    const fci_size_filter *rules = &b->options.size;
    if (rules->min_side <= 0 && rules->max_aspect <= 0) {
        return true;
    }
    if (image->width == 0 || image->height == 0) {
        measure(image);
    }
    return image->width == 0 || fci_size_fault(rules, image->width, image->height) < 0;
}

/* A picture's place in the fixed permutation: it depends on its name alone, so that the first N are
 * among the first N + 1, also where the list of pictures is another one. */
static void sample_key(const fci_plan_image *image, uint64_t key[2])
{
    fci_key_of(image->name, strlen(image->name), key);
}

/* The keys of the samples are those up to `last`. */
static fc_status find_last_sample(fci_plan_builder *b, uint64_t last[2])
{
    last[0] = last[1] = UINT64_MAX;
    if (b->options.samples == 0 || b->options.samples >= b->images) {
        return FC_OK;
    }
    fci_plan_image image = {0};
    fci_bytes record = {0};
    fci_spill *keys;
    const fci_record *r = NULL;
    uint64_t key[2];
    fc_status status;
    fci_spill_create(&keys, b->options.folder, b->options.memory);
    FC_TRY_GOTO(status, fci_rewind_file(b, b->pictures), done);
    for (int64_t i = 0; i < b->images; i++) {
        FC_TRY_GOTO(status, fci_next_record(b, b->pictures, &record), done);
        fci_unpack u = {record.data, record.count, false};
        FC_TRY_GOTO(status, fci_plan_image_unpack(&image, &u), done);
        if (eligible(b, &image)) {
            sample_key(&image, key);
            FC_TRY_GOTO(status, fci_spill_add(keys, key[0], key[1], NULL, 0), done);
        }
    }
    for (int64_t i = 0; i < b->options.samples; i++) {
        FC_TRY_GOTO(status, fci_spill_next(keys, &r), done);
        if (r == NULL) {
            break;
        }
        last[0] = r->key[0];
        last[1] = r->key[1];
    }
done:
    fci_spill_destroy(&keys);
    fci_plan_image_free(&image);
    fc_free(&record.data);
    return status;
}

static bool is_sample(const fci_plan_builder *b, fci_plan_image *image, const uint64_t last[2])
{
    uint64_t key[2];
    if (last[0] == UINT64_MAX && last[1] == UINT64_MAX) {
        return true;
    }
    sample_key(image, key);
    return (key[0] < last[0] || (key[0] == last[0] && key[1] <= last[1])) && eligible(b, image);
}

/* ---- pictures with their annotations ---- */

static int by_category_id(const void *a, const void *b)
{
    int64_t x = ((const fci_plan_category *)a)->id, y = ((const fci_plan_category *)b)->id;
    return (x > y) - (x < y);
}

static fc_status sort_categories(fci_plan_builder *b)
{
    if (b->categories > 0) {
        qsort(b->category, (size_t)b->categories, sizeof *b->category, by_category_id);
    }
    for (int64_t i = 1; i < b->categories; i++) {
        if (b->category[i].id == b->category[i - 1].id) {
            return FC_FAIL(FC_DATA, "category id %lld occurs twice", (long long)b->category[i].id);
        }
    }
    return FC_OK;
}

/* Ids of categories become rows; panoptic things get their annotated boxes. *keep: false where
 * instances have it. */
static fc_status resolve_region(fci_plan_builder *b, int64_t id, fci_plan_region *r, bool *keep)
{
    const fci_plan_category key = {.id = r->category}, *found = NULL;
    if (r->category >= 0 && b->categories > 0) {
        found = bsearch(&key, b->category, (size_t)b->categories, sizeof key, by_category_id);
        if (found == NULL) {
            return FC_FAIL(FC_DATA, "an annotation of image %lld has the unknown category id %lld",
                           (long long)id, (long long)r->category);
        }
    }
    bool thing = found == NULL || found->isthing;
    r->category = found == NULL ? -1 : found - b->category;
    *keep = !(r->segment >= 0 && thing && b->stuff_only);
    r->segment = thing ? -1 : r->segment;
    b->counts.of[FCI_COUNT_regions_double] += !*keep;
    return FC_OK;
}

static fci_plan_region *one_more_region(fci_plan_image *image)
{
    if (image->regions == image->region_room) {
        image->region_room = 2 * image->region_room + 16;
        image->region =
            fc_realloc(image->region, (size_t)image->region_room, sizeof *image->region);
    }
    return &image->region[image->regions];
}

static void add_caption(fci_plan_image *image, const char *text)
{
    if (image->captions == image->caption_room) {
        image->caption_room = 2 * image->caption_room + 8;
        image->caption =
            fc_realloc(image->caption, (size_t)image->caption_room, sizeof *image->caption);
    }
    image->caption[image->captions++] = text;
}

static fc_status take_annotation(fci_gathering *g, fci_unpack *u)
{
    fci_plan_image *image = &g->image;
    fci_unpack_i64(u);
    int64_t kind = fci_unpack_i64(u);
    if (kind == FCI_CAPTION) {
        add_caption(image, fci_unpack_text(u));
    } else if (kind == FCI_MASK) {
        image->mask = fci_unpack_text(u);
    } else {
        fci_plan_region *r = one_more_region(image);
        const void *box = fci_unpack_raw(u, sizeof r->box);
        FC_ASSERT(box != NULL);
        memcpy(r->box, box, sizeof r->box);
        r->segment = fci_unpack_i64(u);
        r->category = fci_unpack_i64(u);
        r->score = fci_unpack_real(u);
        r->caption = fci_unpack_text(u);
        bool keep = false;
        FC_TRY(resolve_region(g->b, image->id, r, &keep));
        image->regions += keep;
    }
    return FC_OK;
}

/* Picture i with everything that refers to it. */
static fc_status gather(fci_gathering *g, int64_t i)
{
    fci_plan_builder *b = g->b;
    FC_TRY(fci_next_record(b, b->pictures, &g->record));
    fci_unpack u = {g->record.data, g->record.count, false};
    FC_TRY(fci_plan_image_unpack(&g->image, &u));
    g->image.id = final_id(b, &g->image, i);
    g->group.count = 0;
    while (g->next != NULL && g->next->key[0] == (uint64_t)i) {
        fci_pack(&g->group, g->next->data, g->next->bytes);
        FC_TRY(fci_spill_next(b->by_position, &g->next));
    }
    u = (fci_unpack){g->group.data, g->group.count, false};
    while (u.left > 0) {
        FC_TRY(take_annotation(g, &u));
        FC_ASSERT(!u.bad);
    }
    return FC_OK;
}

static fc_status draft(fci_gathering *g)
{
    fci_plan_builder *b = g->b;
    fci_plan_image *image = &g->image;
    if (!is_sample(b, image, g->last_sample)) {
        b->counts.of[FCI_COUNT_pictures_not_sampled]++;
        b->counts.of[FCI_COUNT_captions_with_picture] += image->captions;
        b->counts.of[FCI_COUNT_regions_with_picture] += image->regions;
        return FC_OK;
    }
    if (b->options.filter_regions) {
        fci_proposals_filter(&b->options.proposals, image, &b->counts);
    }
    for (int r = 0; r < image->regions && fci_spill_count(b->region_captions) > 0; r++) {
        char *name = fci_region_key(image->name, image->region[r].box);
        uint64_t key[2];
        int64_t payload[2] = {g->drafted, r};
        fci_key_of(name, strlen(name), key);
        fc_free(&name);
        FC_TRY(fci_spill_add(g->region_keys, key[0], key[1], payload, sizeof payload));
    }
    b->scratch.count = 0;
    fci_plan_image_pack(&b->scratch, image);
    FC_TRY(fci_put_record(b, g->drafts, &b->scratch));
    g->drafted++;
    return FC_OK;
}

static fc_status draft_all(fci_gathering *g)
{
    fci_plan_builder *b = g->b;
    FC_TRY(find_last_sample(b, g->last_sample));
    FC_TRY(fci_rewind_file(b, b->pictures));
    FC_TRY(fci_spill_next(b->by_position, &g->next));
    for (int64_t i = 0; i < b->images; i++) {
        FC_TRY(gather(g, i));
        FC_TRY(draft(g));
    }
    if (b->images == 0) { /* annotations by position of pictures there are none of: a bug of ours */
        FC_ASSERT(g->next == NULL);
    }
    return FC_OK;
}

fc_status fci_builder_finish(fci_plan_builder *b, const char *path, const uint8_t *fingerprint)
{
    fci_gathering g = {.b = b};
    fc_status status;
    fci_spill_create(&g.region_keys, b->options.folder, b->options.memory);
    FC_TRY_GOTO(status, sort_categories(b), done);
    FC_TRY_GOTO(status, join_pictures(b), done);
    FC_TRY_GOTO(status, fci_file_temporary(b->options.folder, &g.drafts), done);
    FC_TRY_GOTO(status, draft_all(&g), done);
    FC_TRY_GOTO(status, fci_write_plan(&g, path, fingerprint), done);
done:
    if (g.drafts != NULL) {
        fclose(g.drafts);
    }
    fci_spill_destroy(&g.region_keys);
    fci_plan_image_free(&g.image);
    fc_free(&g.record.data);
    fc_free(&g.group.data);
    return status;
}
