/* Pictures that stores share, against comparing every pair. */
#include "data/store/overlap.h"
#include "tests/data/store_maker.h"

static char few_path[1024], many_path[1024];

static bool same(const fc_store *a, int64_t i, const fc_store *b, int64_t j)
{
    return memcmp(a->image_hash[i], b->image_hash[j], FC_HASH_BYTES) == 0;
}

/* First picture of b that equals picture i of a, -1: none. */
static int64_t partner(const fc_store *a, int64_t i, const fc_store *b)
{
    for (int64_t j = 0; j < b->images; j++) {
        if (same(a, i, b, j)) {
            return j;
        }
    }
    return -1;
}

static void compare(const fc_store *a, const fc_store *b, int64_t want_a, int64_t want_b)
{
    fc_overlap o;
    if (!FC_CHECK_OK(fc_overlap_find(&o, a, b, 1000))) {
        return;
    }
    FC_CHECK_INT(o.of_a, want_a);
    FC_CHECK_INT(o.of_b, want_b);
    int64_t at = 0;
    for (int64_t i = 0; i < a->images; i++) {
        int64_t j = partner(a, i, b);
        if (j >= 0 && FC_CHECK(at < o.listed)) {
            FC_CHECK(o.list[at].a == i && o.list[at].b == j);
            at++;
        }
    }
    FC_CHECK_INT(o.listed, at);
    fc_overlap_free(&o);
    FC_CHECK_OK(fc_overlap_find(&o, a, b, 2));
    FC_CHECK_INT(o.of_a, want_a);
    FC_CHECK_INT(o.listed, want_a < 2 ? want_a : 2);
    fc_overlap_free(&o);
}

static fc_store *open_store(const char *path)
{
    fc_store *s = NULL;
    FC_CHECK_OK(fc_store_open(&s, path));
    return s;
}

int main(void)
{
    snprintf(few_path, sizeof few_path, "%s", fc_check_temp("few.h5"));
    snprintf(many_path, sizeof many_path, "%s", fc_check_temp("many.h5"));
    make_store(few_path, &(maker){.images = 17});
    make_store(many_path, &(maker){.images = 60});
    /* Pictures 0..16 are in both. Three of the few become others, in one byte each. */
    poke(few_path, "/images/hash", 16 * 3 + 15, 256 - 1);
    poke(few_path, "/images/hash", 16 * 5, 256 - 2);
    poke(few_path, "/images/hash", 16 * 9 + 8, 256 - 3);
    fc_store *few = open_store(few_path), *many = open_store(many_path);
    compare(few, many, 14, 14);
    compare(many, few, 14, 14);
    compare(many, many, 60, 60);
    int64_t repeated = -1;
    FC_CHECK_OK(fc_overlap_repeated(many, &repeated));
    FC_CHECK_INT(repeated, 0);
    /* Pictures 40..43 of the many repeat 1: all of them are in the few, 1 of the few is in them. */
    for (int i = 40; i < 44; i++) {
        memcpy(many->image_hash[i], many->image_hash[1], FC_HASH_BYTES);
    }
    memcpy(few->image_hash[16], few->image_hash[2], FC_HASH_BYTES);
    compare(few, many, 14, 17);
    compare(many, few, 17, 14);
    FC_CHECK_OK(fc_overlap_repeated(many, &repeated));
    FC_CHECK_INT(repeated, 4);
    fc_store_close(&few);
    cut(few_path, "/images/hash");
    few = open_store(few_path);
    fc_overlap o;
    FC_CHECK_FAILS(fc_overlap_find(&o, few, many, 10), FC_DATA, "few.h5 has no /images/hash");
    FC_CHECK_FAILS(fc_overlap_find(&o, many, few, 10), FC_DATA, "few.h5 has no /images/hash");
    FC_CHECK_FAILS(fc_overlap_repeated(few, &repeated), FC_DATA, "few.h5");
    fc_store_close(&few);
    fc_store_close(&many);
    return fc_check_end();
}
