/* Synthetic scenes through the store: what is written reads back, options, file names; the same
 * bytes whatever the number of threads and of pictures asked for.
 * fctest: timeout=60 */
#include "core/memory.h"
#include "data/scenes/scene_parts.h"
#include "data/store/store.h"
#include "data/store/store_check.h"
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include <omp.h>

enum { IMAGES = 150, SIDE = 96, CROP = 48 };

static fc_scene_options options(void)
{
    fc_scene_options o = fc_scene_options_default();
    o.images = IMAGES;
    o.seed = 11;
    o.crop_size = CROP;
    return o;
}

static void check_row(fc_store *s, fc_token_set set, const char *dataset, int64_t item)
{
    int32_t ids[FCI_SCENE_CONTEXT], want[FCI_SCENE_CONTEXT];
    int count = 0;
    char *text = NULL;
    if (!FC_CHECK_OK(
            fc_store_tokens(s, set, item, fc_scene_vocab_size(), FCI_SCENE_CONTEXT, ids, &count)) ||
        !FC_CHECK_OK(fc_store_text(s, dataset, item, &text)) || !FC_CHECK(text != NULL)) {
        return;
    }
    FC_CHECK_INT(fc_scene_tokenize(text, FCI_SCENE_CONTEXT, want), count);
    FC_CHECK(memcmp(ids, want, (size_t)count * sizeof *ids) == 0);
    FC_CHECK_INT(ids[count - 1], fc_scene_vocab_size() - 1);
    fc_free(&text);
}

/* Root mean square difference in levels; infinite where the sizes differ. */
static double distance(const fc_picture *a, const fc_picture *b)
{
    if (a->width != b->width || a->height != b->height) {
        return INFINITY;
    }
    double sum = 0;
    int64_t n = (int64_t)a->width * a->height * 3;
    for (int64_t i = 0; i < n; i++) {
        sum += pow((double)a->rgb[i] - (double)b->rgb[i], 2);
    }
    return sqrt(sum / (double)n);
}

/* Picture and regions of image i against the generator's own. */
static void check_image(fc_store *s, const fc_scene_options *o, int64_t i)
{
    fci_scene scene;
    fci_scene_build(&scene, o, i);
    fc_rng rng = fci_scene_stream(o, i, FCI_PIXELS);
    fc_picture drawn, read = {0}, crop = {0};
    fci_scene_render(&drawn, &scene, o->size, &rng);
    if (!FC_CHECK_OK(fc_store_picture(s, i, &read))) {
        fc_picture_free(&drawn);
        return;
    }
    FC_CHECK_NEAR(distance(&drawn, &read), 0,
                  12); /* JPEG at half the colour resolution; another scene: 40 and more */
    int64_t first = (int64_t)s->region_of[i];
    FC_CHECK_INT((int64_t)s->region_of[i + 1] - first, scene.objects);
    for (int r = 0; r < scene.objects; r++) {
        const fci_scene_object *q = &scene.object[r];
        FC_CHECK_INT(s->category[first + r], q->color * 8 + q->shape);
        FC_CHECK(!fc_scene_category_unseen(s->category[first + r]));
        for (int c = 0; c < 4; c++) {
            FC_CHECK_NEAR(s->boxes[4 * (first + r) + c], q->box[c] * SIDE, 1e-4);
        }
        FC_CHECK_OK(fc_store_check_box(s, first + r, i));
        check_row(s, FC_REGION_TOKENS, "regions/text", first + r);
        if (s->has_crops && FC_CHECK_OK(fc_store_crop(s, first + r, &crop))) {
            fc_rect rect = fc_crop_rect(s->boxes + 4 * (first + r), 1.5, SIDE, SIDE);
            fc_picture want = {CROP, CROP, fc_alloc(CROP * CROP * 3, 1)};
            FC_CHECK_OK(fc_resize(&drawn, rect, FC_BILINEAR, CROP, CROP, want.rgb));
            FC_CHECK_NEAR(distance(&want, &crop), 0, 20);
            fc_picture_free(&want);
            fc_picture_free(&crop);
        }
    }
    fc_picture_free(&drawn);
    fc_picture_free(&read);
}

static void test_store(const char *path)
{
    fc_scene_options o = options();
    fc_store *s = NULL;
    if (!FC_CHECK_OK(fc_scenes_write(path, &o)) || !FC_CHECK_OK(fc_store_open(&s, path))) {
        return;
    }
    FC_CHECK_INT(s->images, IMAGES);
    FC_CHECK_INT(s->captions, IMAGES * o.captions);
    FC_CHECK_INT(s->categories, 64);
    FC_CHECK_INT(s->prompts, 64 * FCI_SCENE_PROMPTS);
    FC_CHECK_INT(s->context_length, fc_scene_context_length());
    FC_CHECK_INT(s->vocab_size, fc_scene_vocab_size());
    FC_CHECK_INT(s->crop_size, CROP);
    FC_CHECK(s->has_crops && s->has_category);
    FC_CHECK_STR(s->tokenizer, "scene-words");
    FC_CHECK_STR(s->category_names[3], "red star");
    for (int64_t i = 0; i < IMAGES; i++) {
        FC_CHECK_INT(s->image_id[i], i);
        FC_CHECK(s->image_hash != NULL &&
                 (i == 0 || memcmp(s->image_hash[i], s->image_hash[i - 1], FC_HASH_BYTES) != 0));
        check_image(s, &o, i);
    }
    for (int64_t c = 0; c < s->captions; c++) {
        check_row(s, FC_CAPTION_TOKENS, "captions/text", c);
    }
    fc_findings found = {.limit = 10};
    FC_CHECK_OK(fc_store_check(&found, path, &(fc_store_check_options){.parts = 1, .threads = 1}));
    FC_CHECK_INT(found.count, 0);
    fc_findings_fini(&found);
    fc_store_close(&s);
}

/* The first pictures of a shorter file by one thread are those of the longer one by three. */
static void test_same(const char *path)
{
    fc_scene_options o = options();
    o.images = 70; /* a window and a bit */
    o.crop_size = 0;
    const char *shorter = fc_check_temp("shorter.h5");
    int threads = omp_get_max_threads();
    omp_set_num_threads(3);
    FC_CHECK_OK(fc_scenes_write(shorter, &o));
    omp_set_num_threads(threads);
    fc_store *a = NULL, *b = NULL;
    if (!FC_CHECK_OK(fc_store_open(&a, path)) || !FC_CHECK_OK(fc_store_open(&b, shorter))) {
        return;
    }
    FC_CHECK(!b->has_crops);
    for (int64_t i = 0; i < o.images; i++) {
        fc_picture p = {0}, q = {0};
        FC_CHECK_INT(a->image_offsets[i], b->image_offsets[i]);
        FC_CHECK_INT(a->region_of[i + 1], b->region_of[i + 1]);
        FC_CHECK_OK(fc_store_picture(a, i, &p));
        FC_CHECK_OK(fc_store_picture(b, i, &q));
        FC_CHECK_NEAR(distance(&p, &q), 0, 0);
        fc_picture_free(&p);
        fc_picture_free(&q);
        for (int64_t c = i * o.captions; c < (i + 1) * o.captions; c++) {
            char *s = NULL, *t = NULL;
            FC_CHECK_OK(fc_store_text(a, "captions/text", c, &s));
            FC_CHECK_OK(fc_store_text(b, "captions/text", c, &t));
            FC_CHECK_STR(s, t);
            fc_free(&s);
            fc_free(&t);
        }
    }
    fc_store_close(&a);
    fc_store_close(&b);
}

static void test_path(void)
{
    fc_scene_options o = options(), p = options();
    char *a = NULL, *b = NULL, *c = NULL;
    FC_CHECK_OK(fc_scenes_path("runs/x", &o, &a));
    FC_CHECK_OK(fc_scenes_path("runs/x", &p, &b));
    p.unseen = true;
    FC_CHECK_OK(fc_scenes_path("runs/x", &p, &c));
    FC_CHECK_STR(a, b);
    FC_CHECK(strncmp(a, "runs/x/scenes-", 14) == 0 && strcmp(a + strlen(a) - 3, ".h5") == 0);
    FC_CHECK(strcmp(a, c) != 0);
    fc_free(&a);
    fc_free(&b);
    fc_free(&c);
}

static fc_status read_text(fc_scene_options *out, const char *text)
{
    fc_yaml *root = NULL;
    FC_TRY(fc_yaml_parse(&root, text, strlen(text), "test"));
    fc_status status = fc_scene_options_read(out, fc_yaml_get(root, "synthetic"));
    if (status == FC_OK) {
        status = fc_yaml_check_unknown(root, NULL);
    }
    fc_yaml_destroy(&root);
    return status;
}

static void test_options(void)
{
    fc_scene_options o;
    FC_CHECK_OK(read_text(&o, "synthetic: {images: 30, seed: 4, size: 64, min_objects: 1, "
                              "max_objects: 8, captions: 2, unseen: true, crop_size: 32}"));
    FC_CHECK_INT(o.images, 30);
    FC_CHECK_INT(o.seed, 4);
    FC_CHECK_INT(o.size, 64);
    FC_CHECK_INT(o.min_objects, 1);
    FC_CHECK_INT(o.max_objects, 8);
    FC_CHECK_INT(o.captions, 2);
    FC_CHECK(o.unseen);
    FC_CHECK_INT(o.crop_size, 32);
    FC_CHECK_OK(read_text(&o, "synthetic: {}"));
    FC_CHECK_INT(o.images, 2000);
    FC_CHECK_INT(o.size, 96);
    FC_CHECK_INT(o.crop_size, 0);
    FC_CHECK(!o.unseen);
    FC_CHECK_FAILS(read_text(&o, "synthetic: {images: 0}"), FC_USAGE, "images");
    FC_CHECK_FAILS(read_text(&o, "synthetic: {max_objects: 9}"), FC_USAGE, "max_objects");
    FC_CHECK_FAILS(read_text(&o, "synthetic: {min_objects: 4, max_objects: 3}"), FC_USAGE,
                   "more than max_objects");
    FC_CHECK_FAILS(read_text(&o, "synthetic: {pictures: 3}"), FC_USAGE, "pictures");
    FC_CHECK_FAILS(read_text(&o, "synthetic: 3"), FC_USAGE, "mapping");
    o = options();
    o.max_objects = 99;
    FC_CHECK_FAILS(fc_scenes_write(fc_check_temp("never.h5"), &o), FC_BUG, "range");
    o = options();
    FC_CHECK(fc_scenes_write("/nowhere/at/all.h5", &o) != FC_OK);
}

int main(void)
{
    const char *path = fc_check_temp("scenes.h5");
    test_store(path);
    test_same(path);
    test_path();
    test_options();
    return fc_check_end();
}
