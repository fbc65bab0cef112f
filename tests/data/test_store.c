/* Stores: what the writer writes, the reader reads; what may be absent; the golden stores. For
 * test_store_h5py.py it also writes one ("write PATH") and says what it reads ("read PATH").
 * fctest: timeout=60 */
#include "data/store/store.h"
#include "tests/data/store_maker.h"

#include <sys/stat.h>
#include <unistd.h>

static void check_row(fc_store *s, fc_token_set set, int64_t item, int64_t key, bool empty)
{
    int32_t ids[MAKER_CONTEXT], want[MAKER_CONTEXT];
    int count = -1, expected = maker_ids(MAKER_VOCAB, key, want);
    FC_CHECK_OK(fc_store_tokens(s, set, item, MAKER_VOCAB, MAKER_CONTEXT, ids, &count));
    if (empty) {
        FC_CHECK_INT(count, 0);
        return;
    }
    if (FC_CHECK_INT(count, expected)) {
        FC_CHECK(memcmp(ids, want, (size_t)count * sizeof *ids) == 0);
    }
}

static void check_pixels(const fc_picture *p, int width, int height, uint64_t key)
{
    size_t bytes = 3 * (size_t)width * (size_t)height;
    if (!FC_CHECK_INT(p->width, width) || !FC_CHECK_INT(p->height, height)) {
        return;
    }
    uint8_t *want = fc_alloc(bytes, 1);
    maker_pixels(key, bytes, want);
    FC_CHECK(memcmp(p->rgb, want, bytes) == 0);
    fc_free(&want);
}

static void check_text(fc_store *s, const char *dataset, int64_t index, const char *want)
{
    char *text = NULL;
    FC_CHECK_OK(fc_store_text(s, dataset, index, &text));
    FC_CHECK_STR(text, want);
    fc_free(&text);
}

static void check_image(fc_store *s, const maker *m, int64_t i, int64_t *caption, int64_t *region)
{
    fc_picture picture;
    char text[64];
    FC_CHECK_INT(s->image_id[i], 100 + i);
    if (FC_CHECK_OK(fc_store_picture(s, i, &picture))) {
        check_pixels(&picture, maker_width(i), maker_height(i), (uint64_t)i);
        fc_picture_free(&picture);
    }
    snprintf(text, sizeof text, "picture_%lld.ppm", (long long)i);
    check_text(s, "images/name", i, m->text ? text : NULL);
    FC_CHECK_INT(s->caption_of[i], *caption);
    for (int k = 0; k < 1 + (int)(i % 3); k++, ++*caption) {
        check_row(s, FC_CAPTION_TOKENS, *caption, *caption, false);
        snprintf(text, sizeof text, "caption %lld \xc3\xa9", (long long)*caption);
        check_text(s, "captions/text", *caption, m->text ? text : NULL);
    }
    FC_CHECK_INT(s->region_of[i], *region);
    for (int k = 0; k < (int)(i % 4); k++, ++*region) {
        int64_t r = *region;
        float box[4];
        maker_box(i, k, box);
        FC_CHECK(memcmp(box, &s->boxes[4 * r], sizeof box) == 0);
        FC_CHECK_OK(fc_store_check_box(s, r, i));
        check_row(s, FC_REGION_TOKENS, r, 1000 + r, !maker_has_caption(m, r));
        FC_CHECK_INT(s->category[r], m->categories ? r % 4 - 1 : -1);
        if (m->scores) {
            FC_CHECK_NEAR(s->score[r], (double)r / 8, 0);
        }
        if (m->crops && FC_CHECK_OK(fc_store_crop(s, r, &picture))) {
            check_pixels(&picture, MAKER_CROP, MAKER_CROP, 1000000 + (uint64_t)r);
            fc_picture_free(&picture);
        }
    }
}

static void round_trip(const maker *m)
{
    const char *path = fc_check_temp("round.h5");
    make_store(path, m);
    char partial[1100];
    snprintf(partial, sizeof partial, "%s.partial", path);
    FC_CHECK(access(partial, F_OK) != 0);
    fc_store *s;
    if (!FC_CHECK_OK(fc_store_open(&s, path))) {
        return;
    }
    FC_CHECK_INT(s->images, m->images);
    FC_CHECK_INT(s->context_length, MAKER_CONTEXT);
    FC_CHECK_INT(s->vocab_size, MAKER_VOCAB);
    FC_CHECK_INT(s->crop_size, m->crops ? MAKER_CROP : 0);
    FC_CHECK_NEAR(s->crop_scale, 1.5, 0);
    FC_CHECK_STR(s->tokenizer, "made-up");
    FC_CHECK_STR(s->source, "store_maker");
    FC_CHECK(s->created != NULL && strlen(s->created) == 20);
    FC_CHECK(s->has_crops == m->crops && s->has_score == m->scores && s->has_category);
    FC_CHECK_INT(s->categories, m->categories ? MAKER_CATEGORIES : 0);
    int64_t caption = 0, region = 0;
    for (int64_t i = 0; i < m->images; i++) {
        check_image(s, m, i, &caption, &region);
    }
    FC_CHECK_INT(s->captions, caption);
    FC_CHECK_INT(s->regions, region);
    for (int k = 0; k < s->categories; k++) {
        char name[32];
        snprintf(name, sizeof name, "category %d", k);
        FC_CHECK_STR(s->category_names[k], name);
        FC_CHECK_INT(s->category_isthing[k], k % 2 == 0);
        FC_CHECK_INT(s->category_offsets[k + 1] - s->category_offsets[k], k + 1);
        for (int p = 0; p <= k; p++) {
            check_row(s, FC_PROMPT_TOKENS, (int64_t)s->category_offsets[k] + p, 10 * k + p, false);
        }
    }
    FC_CHECK_INT(check_store(s->path), 0);
    fc_store_close(&s);
    FC_CHECK(s == NULL);
}

/* More than one chunk in every kind of column: 4 MiB of pictures, 256 KiB of offsets and tokens. */
static void large(void)
{
    maker m = {.images = 40000, .text = true, .region_captions = true, .vocab = 70000};
    const char *path = fc_check_temp("large.h5");
    make_store(path, &m);
    fc_store *s;
    if (!FC_CHECK_OK(fc_store_open(&s, path))) {
        return;
    }
    FC_CHECK_INT(s->images, m.images);
    int64_t caption = 0, region = 0;
    for (int64_t i = 0; i < m.images; i++) {
        FC_CHECK(s->caption_of[i] == (uint64_t)caption && s->region_of[i] == (uint64_t)region);
        caption += 1 + i % 3;
        region += i % 4;
    }
    for (int64_t i = 1; i < m.images; i += 977) {
        fc_picture picture;
        if (FC_CHECK_OK(fc_store_picture(s, i, &picture))) {
            check_pixels(&picture, maker_width(i), maker_height(i), (uint64_t)i);
            fc_picture_free(&picture);
        }
    }
    for (int64_t c = 1; c < s->captions; c += 1777) { /* vocabulary over 16 bits */
        int32_t ids[MAKER_CONTEXT], want[MAKER_CONTEXT];
        int count = 0, expected = maker_ids(m.vocab, c, want);
        FC_CHECK_OK(fc_store_tokens(s, FC_CAPTION_TOKENS, c, m.vocab, MAKER_CONTEXT, ids, &count));
        FC_CHECK_INT(count, expected);
        FC_CHECK(memcmp(ids, want, (size_t)expected * sizeof *ids) == 0);
        char text[64];
        snprintf(text, sizeof text, "caption %lld \xc3\xa9", (long long)c);
        check_text(s, "captions/text", c, text);
    }
    fc_store_close(&s);
}

/* A small store takes little room: chunks are as large as what is in them. */
static void small_files(void)
{
    const char *path = fc_check_temp("small.h5");
    make_store(path, &(maker){.images = 3});
    struct stat info;
    FC_CHECK(stat(path, &info) == 0 && info.st_size < 64 << 10);
}

/* Nothing but pictures, and not even those. */
static void bare(void)
{
    fc_store_options options = {.codec = FC_CODEC_RAW};
    const char *path = fc_check_temp("bare.h5");
    fc_store_writer *w;
    fc_store *s;
    FC_CHECK_OK(fc_store_writer_create(&w, path, &options));
    FC_CHECK_OK(fc_store_writer_attribute(w, "seed", 77));
    FC_CHECK_OK(fc_store_writer_finish(w));
    fc_store_writer_destroy(&w);
    if (FC_CHECK_OK(fc_store_open(&s, path))) {
        FC_CHECK_INT(s->images, 0);
        FC_CHECK(s->caption_of == NULL && s->region_of == NULL && s->tokenizer == NULL);
        fc_store_close(&s);
    }
    cut(path, "/captions");
    cut(path, "/regions");
    attribute(path, "/", "complete", NULL, -1);
    attribute(path, "/", "context_length", NULL, -1);
    attribute(path, "/", "vocab_size", NULL, -1);
    if (FC_CHECK_OK(fc_store_open(&s, path))) {
        FC_CHECK_INT(s->context_length, 0);
        FC_CHECK_NEAR(s->crop_scale, 1.5, 0);
        fc_store_close(&s);
    }
}

/* The writer refuses what the reader would refuse, and leaves no file behind when it is given up.
 */
static void refused(void)
{
    fc_store_options options = {.context_length = 4, .vocab_size = 10, .codec = FC_CODEC_RAW};
    const char *path = fc_check_temp("refused.h5");
    char partial[1100];
    snprintf(partial, sizeof partial, "%s.partial", path);
    fc_store_writer *w;
    FC_CHECK_OK(fc_store_writer_create(&w, path, &options));
    FC_CHECK(access(partial, F_OK) == 0);
    const uint8_t pixel[3] = {1, 2, 3};
    const int32_t ids[5] = {8, 1, 2, 10, 9};
    fc_store_caption caption = {.tokens = ids, .count = 5};
    FC_CHECK_FAILS(fc_store_writer_add(w, 0, NULL, 1, 1, pixel, 3, 1, &caption, 0, NULL), FC_DATA,
                   "caption 0 of image 0");
    caption.count = 4;
    FC_CHECK_FAILS(fc_store_writer_add(w, 0, NULL, 1, 1, pixel, 3, 1, &caption, 0, NULL), FC_DATA,
                   "token 10 outside the vocabulary of 10");
    caption.count = 1;
    FC_CHECK_FAILS(fc_store_writer_add(w, 0, NULL, 1, 1, pixel, 3, 1, &caption, 0, NULL), FC_DATA,
                   "start and an end");
    caption.count = 3;
    FC_CHECK_FAILS(fc_store_writer_add(w, 0, NULL, 0, 1, pixel, 3, 1, &caption, 0, NULL), FC_DATA,
                   "is empty");
    FC_CHECK_OK(fc_store_writer_add(w, 0, NULL, 1, 1, pixel, 3, 1, &caption, 0, NULL));
    fc_store_writer_destroy(&w);
    FC_CHECK(w == NULL && access(partial, F_OK) != 0 && access(path, F_OK) != 0);
    options.crops = true;
    FC_CHECK_FAILS(fc_store_writer_create(&w, path, &options), FC_USAGE, "crops need a size");
    options.crops = false;
    FC_CHECK_FAILS(fc_store_writer_create(&w, "/nowhere/at/all.h5", &options), FC_RUNTIME,
                   "/nowhere/at/all.h5.partial cannot be created");
    FC_CHECK(w == NULL);
}

/* Stores of the published program's data: no created, source, complete; h5py's own layout. */
static void golden(const char *name, int64_t images, int64_t regions, int64_t categories)
{
    fc_store *s;
    if (!FC_CHECK_OK(fc_store_open(&s, fc_check_golden(name)))) {
        return;
    }
    FC_CHECK_INT(s->images, images);
    FC_CHECK_INT(s->regions, regions);
    FC_CHECK_INT(s->categories, categories);
    FC_CHECK(s->created == NULL && s->source == NULL && s->has_crops && s->has_score);
    FC_CHECK_INT(check_store(s->path), 0);
    fc_store_close(&s);
}

/* One line a value, for the script. */
static int read_for_script(const char *path)
{
    fc_store *s;
    fc_findings findings = {.limit = 10};
    fc_store_check_options all = {.parts = 1, .threads = 2};
    if (fc_store_open(&s, path) != FC_OK || fc_store_check(&findings, path, &all) != FC_OK) {
        printf("error=%s\n", fc_error_message());
        return 1;
    }
    printf("images=%lld\ncaptions=%lld\nregions=%lld\nprompts=%lld\nfindings=%lld\n",
           (long long)s->images, (long long)s->captions, (long long)s->regions,
           (long long)s->prompts, (long long)findings.count);
    fc_findings_fini(&findings);
    printf("tokenizer=%s\nsource=%s\n", s->tokenizer == NULL ? "" : s->tokenizer,
           s->source == NULL ? "" : s->source);
    for (int64_t k = 0; k < s->categories; k++) {
        printf("category=%s\n", s->category_names[k]);
    }
    for (int64_t i = 0; i < s->images; i++) {
        char *name = NULL;
        fc_picture picture;
        if (fc_store_text(s, "images/name", i, &name) != FC_OK ||
            fc_store_picture(s, i, &picture) != FC_OK) {
            printf("error=%s\n", fc_error_message());
            return 1;
        }
        printf("name=%s\npixel=%d\n", name == NULL ? "" : name, picture.rgb[0]);
        fc_picture_free(&picture);
        fc_free(&name);
    }
    for (int64_t r = 0; r < s->regions; r++) {
        printf("box=%g\n", (double)s->boxes[4 * r + 2]);
    }
    for (int64_t c = 0; c < s->captions; c++) {
        int32_t ids[MAKER_CONTEXT];
        int count = 0;
        if (fc_store_tokens(s, FC_CAPTION_TOKENS, c, INT32_MAX, MAKER_CONTEXT, ids, &count) !=
            FC_OK) {
            printf("error=%s\n", fc_error_message());
            return 1;
        }
        printf("ids=%d %d\n", count, ids[count - 1]);
    }
    fc_store_close(&s);
    return 0;
}

int main(int argc, char **argv)
{
    const maker full = {.images = 23,
                        .crops = true,
                        .text = true,
                        .scores = true,
                        .region_captions = true,
                        .categories = true};
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        make_store(argv[2], &full);
        return fc_check_end();
    }
    if (argc == 3 && strcmp(argv[1], "read") == 0) {
        return read_for_script(argv[2]);
    }
    round_trip(&full);
    round_trip(&(maker){.images = 9});
    large();
    small_files();
    bare();
    refused();
    golden("eva_tiny/store.h5", 8, 14, 7);
    return fc_check_end();
}
