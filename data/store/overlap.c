#include "data/store/overlap.h"

#include "core/memory.h"

#include <string.h>

/* An open-addressed table of a store's hashes. They are uniform already, so that eight bytes of one
 * say where it belongs. */
typedef struct table {
    const fc_store *store;
    uint64_t mask;    /* slots - 1 */
    int64_t *picture; /* (slots) the first picture with this hash, + 1; 0: free */
    int64_t *partner; /* (slots) first picture of the other store with it, + 1; 0: none */
} table;

static fc_status check_hashes(const fc_store *s)
{
    if (s->image_hash == NULL && s->images > 0) {
        return FC_FAIL(FC_DATA,
                       "%s has no /images/hash, which tells pictures apart: make it anew with "
                       "fineclip prepare",
                       s->path);
    }
    return FC_OK;
}

/* Slot of a hash: where it is, or the free one where it belongs. */
static uint64_t find(const table *t, const uint8_t hash[FC_HASH_BYTES])
{
    uint64_t at;
    memcpy(&at, hash, sizeof at);
    at &= t->mask;
    while (t->picture[at] != 0 &&
           memcmp(t->store->image_hash[t->picture[at] - 1], hash, FC_HASH_BYTES) != 0) {
        at = (at + 1) & t->mask;
    }
    return at;
}

static void table_fini(table *t)
{
    fc_free(&t->picture);
    fc_free(&t->partner);
}

/* repeated (may be NULL): pictures that an earlier one equals. */
static fc_status table_init(table *t, const fc_store *s, int64_t *repeated)
{
    *t = (table){.store = s};
    uint64_t slots = 16;
    while (slots < 2 * (uint64_t)s->images) {
        slots *= 2;
    }
    t->mask = slots - 1;
    void *p = NULL, *q = NULL;
    fc_status status = fc_try_alloc(&p, slots, sizeof *t->picture, "hashes of pictures");
    if (status == FC_OK) {
        status = fc_try_alloc(&q, slots, sizeof *t->partner, "hashes of pictures");
    }
    t->picture = p;
    t->partner = q;
    if (status != FC_OK) {
        table_fini(t);
        return status;
    }
    for (int64_t i = 0; i < s->images; i++) {
        uint64_t at = find(t, s->image_hash[i]);
        if (t->picture[at] == 0) {
            t->picture[at] = i + 1;
        } else if (repeated != NULL) {
            ++*repeated;
        }
    }
    return FC_OK;
}

static void list(fc_overlap *o, int64_t a, int64_t b, int64_t most)
{
    if (o->listed < most) {
        if ((o->listed & (o->listed - 1)) == 0) { /* a power of two: full */
            o->list =
                fc_realloc(o->list, o->listed == 0 ? 1 : 2 * (size_t)o->listed, sizeof *o->list);
        }
        o->list[o->listed++] = (fc_shared_picture){a, b};
    }
}

/* The table is of a: b's pictures mark it, then a's are looked up. */
static void find_by_a(fc_overlap *o, table *t, const fc_store *b, int64_t most)
{
    for (int64_t i = 0; i < b->images; i++) {
        uint64_t at = find(t, b->image_hash[i]);
        if (t->picture[at] != 0) {
            t->partner[at] = t->partner[at] == 0 ? i + 1 : t->partner[at];
            o->of_b++;
        }
    }
    for (int64_t i = 0; i < t->store->images; i++) {
        uint64_t at = find(t, t->store->image_hash[i]);
        if (t->partner[at] != 0) {
            list(o, i, t->partner[at] - 1, most);
            o->of_a++;
        }
    }
}

static void find_by_b(fc_overlap *o, table *t, const fc_store *a, int64_t most)
{
    for (int64_t i = 0; i < a->images; i++) {
        uint64_t at = find(t, a->image_hash[i]);
        if (t->picture[at] != 0) {
            t->partner[at] = i + 1;
            list(o, i, t->picture[at] - 1, most);
            o->of_a++;
        }
    }
    for (int64_t i = 0; i < t->store->images; i++) {
        o->of_b += t->partner[find(t, t->store->image_hash[i])] != 0;
    }
}

fc_status fc_overlap_find(fc_overlap *out, const fc_store *a, const fc_store *b, int64_t most)
{
    *out = (fc_overlap){0};
    FC_TRY(check_hashes(a));
    FC_TRY(check_hashes(b));
    table t;
    bool by_a = a->images < b->images;
    FC_TRY(table_init(&t, by_a ? a : b, NULL));
    if (by_a) {
        find_by_a(out, &t, b, most);
    } else {
        find_by_b(out, &t, a, most);
    }
    table_fini(&t);
    return FC_OK;
}

void fc_overlap_free(fc_overlap *o)
{
    fc_free(&o->list);
    *o = (fc_overlap){0};
}

fc_status fc_overlap_repeated(const fc_store *s, int64_t *out)
{
    *out = 0;
    FC_TRY(check_hashes(s));
    table t;
    FC_TRY(table_init(&t, s, out));
    table_fini(&t);
    return FC_OK;
}
