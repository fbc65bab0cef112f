/* Damaged and hostile stores: each is a clear error that names dataset and index, none crashes, and
 * the check finds all of them.
 * fctest: timeout=60 */
#include "data/store/store.h"
#include "tests/data/store_maker.h"

#include <math.h>
#include <unistd.h>

static const char *whole; /* an undamaged store */

/* A fresh copy to damage. */
static const char *copy(void)
{
    const char *path = fc_check_temp("damaged.h5");
    copy_file(whole, path);
    return path;
}

static void refuses(const char *path, const char *part)
{
    fc_store *s;
    if (!FC_CHECK_FAILS(fc_store_open(&s, path), FC_DATA, part)) {
        fc_store_close(&s);
    }
    FC_CHECK(s == NULL);
    FC_CHECK(strstr(fc_error_message(), "damaged.h5") != NULL);
}

static void poked(const char *dataset, int64_t index, double value, const char *part)
{
    const char *path = copy();
    poke(path, dataset, index, value);
    refuses(path, part);
}

static void bad_offsets(void)
{
    poked("/images/offsets", 3, 1, "offset 3 goes down");
    poked("/images/offsets", 3, 1, "damaged.h5:/images/offsets");
    poked("/images/offsets", 23, 1e9, "offset 23 past the end");
    poked("/captions/offsets", 5, 0, "damaged.h5:/captions/offsets");
    poked("/captions/image_offsets", 23, 1e15, "damaged.h5:/captions/image_offsets");
    poked("/regions/image_offsets", 2, 1000, "offset 2 past the end");
    poked("/regions/offsets", 7, 0, "offset 7 goes down");
    poked("/regions/crop_offsets", 4, 1e18, "damaged.h5:/regions/crop_offsets");
    poked("/categories/prompt_offsets", 1, 99999, "damaged.h5:/categories/prompt_offsets");
    poked("/categories/category_offsets", 3, 7, "damaged.h5:/categories/category_offsets");
    poked("/images/height", 2, 0, "size 2 is 0");
    poked("/images/width", 2, -5, "damaged.h5:/images/width");
    poked("/regions/crop_width", 9, 0, "damaged.h5:/regions/crop_width");
    poked("/regions/category", 6, MAKER_CATEGORIES, "category 3 of region 6");
    poked("/regions/category", 6, -2, "damaged.h5:/regions/category");
}

static void bad_head(void)
{
    const char *path = copy();
    attribute(path, "/", "complete", NULL, 0);
    refuses(path, "not written to its end");
    path = copy();
    attribute(path, "/", "version", NULL, 2);
    refuses(path, "version 2");
    path = copy();
    attribute(path, "/", "version", "one", 0);
    refuses(path, "version");
    path = copy();
    attribute(path, "/", "format", "something", 0);
    refuses(path, "not a store");
    path = copy();
    attribute(path, "/", "format", NULL, -1);
    refuses(path, "not a store");
    path = copy();
    attribute(path, "/", "format", NULL, 5);
    refuses(path, "format");
    path = copy();
    attribute(path, "/images", "codec", "webp", 0);
    refuses(path, "webp");
    path = copy();
    attribute(path, "/regions", "codec", NULL, -1);
    refuses(path, "codec");
    path = copy();
    attribute(path, "/", "crop_scale", "x", 0);
    refuses(path, "crop_scale");
}

static void bad_shapes(void)
{
    static const char *const needed[] = {"/images",
                                         "/images/bytes",
                                         "/images/offsets",
                                         "/images/height",
                                         "/images/width",
                                         "/captions/image_offsets",
                                         "/captions/tokens",
                                         "/captions/offsets",
                                         "/regions/boxes",
                                         "/regions/image_offsets",
                                         "/regions/tokens",
                                         "/regions/offsets",
                                         "/regions/crop_offsets",
                                         "/categories/isthing",
                                         "/categories/prompt_offsets",
                                         "/categories/category_offsets"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        const char *path = copy();
        cut(path, needed[i]);
        refuses(path, needed[i]);
    }
    static const struct {
        const char *dataset;
        int rank;
        hsize_t dims[3];
        bool real;
    } shape[] = {
        {"/images/offsets", 1, {0}, false},
        {"/images/offsets", 2, {24, 1}, false},
        {"/images/offsets", 0, {0}, false},
        {"/images/offsets", 1, {(hsize_t)1 << 40}, false},
        {"/images/bytes", 1, {(hsize_t)1 << 62}, false},
        {"/images/bytes", 3, {2, 2, 2}, false},
        {"/images/height", 1, {22}, false},
        {"/images/height", 1, {(hsize_t)1 << 34}, false},
        {"/images/height", 1, {23}, true},
        {"/captions/tokens", 1, {4}, true},
        {"/regions/boxes", 1, {4}, true},
        {"/regions/boxes", 2, {33, 5}, true},
        {"/regions/boxes", 2, {(hsize_t)1 << 61, 4}, true},
        {"/regions/boxes", 2, {33, 4}, false},
        {"/categories/names", 1, {3}, false},
        {"/categories/isthing", 1, {3}, true},
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const char *path = copy();
        replace(path, shape[i].dataset,
                shape[i].real                                 ? H5T_IEEE_F32LE
                : strstr(shape[i].dataset, "offsets") != NULL ? H5T_STD_U64LE
                                                              : H5T_STD_U8LE,
                shape[i].rank, shape[i].dims);
        refuses(path, shape[i].dataset);
    }
    /* Signed 64-bit tokens do not fit 32 bits; narrower ones are welcome. */
    const char *path = copy();
    replace(path, "/captions/tokens", H5T_STD_I64LE, 1, (const hsize_t[]){500});
    refuses(path, "/captions/tokens");
}

static void not_stores(void)
{
    fc_store *s;
    FC_CHECK_FAILS(fc_store_open(&s, fc_check_temp("absent.h5")), FC_NOINPUT, "absent.h5");
    const char *path = fc_check_temp("damaged.h5");
    FILE *f = fopen(path, "wb");
    fputs("this is not HDF5", f);
    fclose(f);
    refuses(path, "HDF5");
    path = copy();
    FC_CHECK(truncate(path, 20000) == 0);
    refuses(path, "HDF5");
    FC_CHECK(truncate(path, 0) == 0);
    refuses(path, "HDF5");
}

/* What only shows when an item is read. */
static void bad_items(void)
{
    fc_store *s;
    int32_t ids[MAKER_CONTEXT];
    int count;
    const char *path = copy();
    poke(path, "/captions/tokens", 0, 499 + 1);
    poke(path, "/regions/boxes", 4 * 5 + 2, 641);
    poke(path, "/regions/boxes", 4 * 6 + 1, -3);
    poke(path, "/regions/boxes", 4 * 7 + 0, (double)NAN);
    poke(path, "/regions/boxes", 4 * 8 + 3, 0.5);
    if (!FC_CHECK_OK(fc_store_open(&s, path))) {
        return;
    }
    FC_CHECK_FAILS(fc_store_tokens(s, FC_CAPTION_TOKENS, 0, 500, MAKER_CONTEXT, ids, &count),
                   FC_DATA, "token 0 of item 0 outside vocabulary (500 of 500)");
    FC_CHECK(strstr(fc_error_message(), "damaged.h5:/captions/tokens") != NULL);
    FC_CHECK_FAILS(fc_store_tokens(s, FC_CAPTION_TOKENS, 5, 500, 6, ids, &count), FC_DATA,
                   "item 5 has 7 ids");
    FC_CHECK_FAILS(fc_store_check_box(s, 5, 3), FC_DATA, "box 5 outside image (x1=641 > w=29)");
    FC_CHECK(strstr(fc_error_message(), "damaged.h5:/regions/boxes") != NULL);
    FC_CHECK_FAILS(fc_store_check_box(s, 6, 5), FC_DATA, "box 6 outside image (y0=-3");
    FC_CHECK_FAILS(fc_store_check_box(s, 7, 6), FC_DATA, "box 7 is not finite");
    FC_CHECK_FAILS(fc_store_check_box(s, 8, 6), FC_DATA, "box 8 is empty");
    fc_store_close(&s);
}

static void progressed(void *ctx, int64_t done, int64_t total)
{
    (void)ctx;
    FC_CHECK(done <= total);
}

static void expect(const fc_findings *found, const char *part)
{
    bool there = false;
    for (int64_t i = 0; i < found->kept; i++) {
        there = there || strstr(found->list[i].line, part) != NULL;
    }
    fc_check_true(there, __FILE__, __LINE__, "no finding '%s'", part);
}

/* Threads and parts find the same, in the same order. */
static void same_in_parts(const char *path, const fc_findings *want)
{
    for (int parts = 1; parts <= 5; parts++) {
        fc_findings all = {.limit = want->limit};
        for (int part = parts - 1; part >= 0; part--) {
            fc_findings found = {.limit = want->limit};
            fc_store_check_options o = {.part = part, .parts = parts, .threads = 1 + part % 3};
            FC_CHECK_OK(fc_store_check(&found, path, &o));
            fc_findings_merge(&all, &found);
        }
        fc_findings_settle(&all);
        FC_CHECK_INT(all.count, want->count);
        for (int64_t i = 0; FC_CHECK_INT(all.kept, want->kept) && i < all.kept; i++) {
            FC_CHECK_STR(all.list[i].line, want->list[i].line);
        }
        fc_findings_fini(&all);
    }
}

static void check_finds_all(void)
{
    static const char *const wanted[] = {"box 5 outside",  "box 9 is empty", "token 1 of item 4",
                                         "item 3 of",      "picture 7 ",     "crop 2 ",
                                         "offset 20 goes", "category 9 of"};
    const char *path = copy();
    poke(path, "/regions/boxes", 4 * 5 + 2, 641);
    poke(path, "/regions/boxes", 4 * 9 + 3, 0.5);
    poke(path, "/captions/tokens", 2 + 3 + 4 + 5 + 1, 60000); /* items 0.. have 2, 3, 4, ... ids */
    poke(path, "/regions/category", 1, 9);
    poke(path, "/images/width", 7, 27); /* raw pictures: the size no longer fits the bytes */
    poke(path, "/regions/crop_width", 2, 9);
    poke(path, "/categories/prompt_offsets", 4, 1e6); /* item 3 ends past the end */
    poke(path, "/regions/offsets", 20, 1);
    fc_findings found = {.limit = 100}, few = {.limit = 2}, none = {.limit = 100};
    fc_store_check_options one = {.parts = 1, .threads = 1, .progress = progressed};
    FC_CHECK_OK(fc_store_check(&found, path, &one));
    FC_CHECK_INT(found.count, found.kept);
    FC_CHECK(found.count >= 8 && found.count < 20);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        expect(&found, wanted[i]);
    }
    FC_CHECK_OK(fc_store_check(&few, path, &one));
    FC_CHECK_INT(few.count, found.count); /* all are counted, the first are kept */
    if (FC_CHECK_INT(few.kept, 2)) {
        FC_CHECK_STR(few.list[0].line, found.list[0].line);
        FC_CHECK_STR(few.list[1].line, found.list[1].line);
    }
    same_in_parts(path, &found);
    FC_CHECK_OK(fc_store_check(&none, whole, &one));
    FC_CHECK_INT(none.count, 0);
    fc_findings_fini(&found);
    fc_findings_fini(&few);
    fc_findings_fini(&none);
}

/* What may be absent, dataset by dataset. */
static void absent_is_fine(void)
{
    static const char *const optional[] = {
        "/images/name", "/captions/text", "/regions/text", "/regions/crop_bytes",
        "/categories",  "/captions",      "/regions",      "/regions/score"};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        const char *path = copy();
        fc_store *s;
        cut(path, optional[i]);
        if (strcmp(optional[i], "/categories") == 0) {
            cut(path, "/regions/category");
        }
        if (FC_CHECK_OK(fc_store_open(&s, path))) {
            FC_CHECK(strcmp(optional[i], "/captions") != 0 || s->captions == 0);
            FC_CHECK(strcmp(optional[i], "/regions") != 0 || s->regions == 0);
            fc_store_close(&s);
        }
    }
}

int main(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("whole.h5"));
    whole = path;
    make_store(whole, &(maker){.images = 23,
                               .crops = true,
                               .text = true,
                               .scores = true,
                               .region_captions = true,
                               .categories = true});
    bad_offsets();
    bad_head();
    bad_shapes();
    not_stores();
    bad_items();
    check_finds_all();
    absent_is_fine();
    return fc_check_end();
}
