/* Options of synthetic scenes, and writing them into a store: windows of pictures are rendered by
 * OpenMP threads and appended in order by one. */
#include "data/scenes/scenes.h"

#include "core/activity.h"
#include "core/memory.h"
#include "data/scenes/scene_parts.h"
#include "data/store/store_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <omp.h>

/* Part of the file name: raise it when the same options give other pictures or sentences. */
enum { GENERATOR_VERSION = 2 };
enum { QUALITY = 95 };
enum { MOST_CAPTIONS = 8 };
static const double crop_scale = 1.5;

fc_scene_options fc_scene_options_default(void)
{
    return (fc_scene_options){
        .images = 2000, .seed = 1, .size = 96, .min_objects = 2, .max_objects = 4, .captions = 3};
}

static fc_status read_int(const fc_yaml *mapping, const char *key, int64_t lo, int64_t hi,
                          int64_t *value)
{
    const fc_yaml *node = fc_yaml_get(mapping, key);
    return node == NULL ? FC_OK : fc_yaml_int(node, lo, hi, value);
}

fc_status fc_scene_options_read(fc_scene_options *out, const fc_yaml *mapping)
{
    *out = fc_scene_options_default();
    if (mapping == NULL || fc_yaml_type(mapping) == FC_YAML_NULL) {
        return FC_OK;
    }
    if (fc_yaml_type(mapping) != FC_YAML_MAPPING) {
        return fc_yaml_error(mapping, "synthetic scenes want a mapping such as {images: 2000}");
    }
    int64_t seed = (int64_t)out->seed, size = out->size, least = out->min_objects,
            most = out->max_objects, captions = out->captions, crop_size = out->crop_size;
    FC_TRY(read_int(mapping, "images", 1, INT64_C(1000000000), &out->images));
    FC_TRY(read_int(mapping, "seed", 0, INT64_MAX, &seed));
    FC_TRY(read_int(mapping, "size", 32, 1024, &size));
    FC_TRY(read_int(mapping, "min_objects", 1, FCI_SCENE_OBJECTS, &least));
    FC_TRY(read_int(mapping, "max_objects", 1, FCI_SCENE_OBJECTS, &most));
    FC_TRY(read_int(mapping, "captions", 1, MOST_CAPTIONS, &captions));
    FC_TRY(read_int(mapping, "crop_size", 0, 1024, &crop_size));
    const fc_yaml *unseen = fc_yaml_get(mapping, "unseen");
    if (unseen != NULL) {
        FC_TRY(fc_yaml_bool(unseen, &out->unseen));
    }
    if (least > most) {
        const fc_yaml *at = fc_yaml_get(mapping, "min_objects");
        return fc_yaml_error(at != NULL ? at : mapping,
                             "min_objects (%" PRId64 ") is more than max_objects (%" PRId64 ")",
                             least, most);
    }
    out->seed = (uint64_t)seed;
    out->size = (int)size;
    out->min_objects = (int)least;
    out->max_objects = (int)most;
    out->captions = (int)captions;
    out->crop_size = (int)crop_size;
    return FC_OK;
}

/* Options made by hand rather than read. */
static fc_status check(const fc_scene_options *o)
{
    if (o->images < 0 || o->size < 32 || o->size > 1024 || o->min_objects < 1 ||
        o->max_objects > FCI_SCENE_OBJECTS || o->min_objects > o->max_objects || o->captions < 1 ||
        o->captions > MOST_CAPTIONS || o->crop_size < 0 || o->crop_size > 1024) {
        return FC_FAIL(FC_BUG, "scene options out of range");
    }
    return FC_OK;
}

static char *describe(const fc_scene_options *o)
{
    return fc_format("scenes version=%d images=%" PRId64 " seed=%" PRIu64 " size=%d objects=%d-%d "
                     "captions=%d unseen=%d crop_size=%d",
                     GENERATOR_VERSION, o->images, o->seed, o->size, o->min_objects, o->max_objects,
                     o->captions, o->unseen ? 1 : 0, o->crop_size);
}

fc_status fc_scenes_path(const char *folder, const fc_scene_options *options, char **out)
{
    FC_TRY(check(options));
    char *text = describe(options);
    *out = fc_format("%s/scenes-%016" PRIx64 ".h5", folder, fc_rng_hash(text));
    fc_free(&text);
    return FC_OK;
}

typedef struct sentence {
    fci_sentence words;
    int32_t ids[FCI_SCENE_CONTEXT];
    int count;
} sentence;

/* One rendered picture on its way from a thread to the file. */
typedef struct item {
    uint8_t *encoded;
    size_t bytes;
    int regions;
    sentence caption[MOST_CAPTIONS], region_caption[FCI_SCENE_OBJECTS];
    float box[FCI_SCENE_OBJECTS][4];
    int category[FCI_SCENE_OBJECTS];
    uint8_t *crop[FCI_SCENE_OBJECTS];
    size_t crop_bytes[FCI_SCENE_OBJECTS];
    fc_status status;
    char *message, *trace; /* of a failure: the record itself belongs to the thread */
} item;

static void release(item *it)
{
    fc_free(&it->encoded);
    for (int r = 0; r < FCI_SCENE_OBJECTS; r++) {
        fc_free(&it->crop[r]);
    }
    fc_free(&it->message);
    fc_free(&it->trace);
}

static void tokenize(sentence *s)
{
    s->count = fc_scene_tokenize(s->words.text, FCI_SCENE_CONTEXT, s->ids);
}

static void write_sentences(item *it, const fci_scene *scene, const fc_scene_options *options,
                            int64_t index)
{
    fc_rng rng = fci_scene_stream(options, index, FCI_PICTURE_WORDS);
    for (int c = 0; c < options->captions; c++) {
        fci_scene_caption(&it->caption[c].words, scene, &rng);
        tokenize(&it->caption[c]);
    }
    rng = fci_scene_stream(options, index, FCI_REGION_WORDS);
    for (int r = 0; r < scene->objects; r++) {
        fci_scene_region_caption(&it->region_caption[r].words, scene, r, &rng);
        tokenize(&it->region_caption[r]);
    }
}

static fc_status cut_crop(item *it, int r, const fc_picture *picture, int side)
{
    fc_rect rect = fc_crop_rect(it->box[r], crop_scale, picture->width, picture->height);
    fc_picture crop = {
        .width = side, .height = side, .rgb = fc_alloc((size_t)side * (size_t)side * 3, 1)};
    fc_status status = FC_OK;
    FC_TRY_GOTO(status, fc_resize(picture, rect, FC_BILINEAR, side, side, crop.rgb), out);
    FC_TRY_GOTO(status,
                fc_picture_encode(&crop, FC_CODEC_JPEG, QUALITY, &it->crop[r], &it->crop_bytes[r]),
                out);
out:
    fc_picture_free(&crop);
    return status;
}

static fc_status make(item *it, const fc_scene_options *options, int64_t index)
{
    fci_scene scene;
    fci_scene_build(&scene, options, index);
    write_sentences(it, &scene, options, index);
    it->regions = scene.objects;
    for (int r = 0; r < scene.objects; r++) {
        it->category[r] = scene.object[r].color * FCI_SCENE_SHAPES + scene.object[r].shape;
        for (int c = 0; c < 4; c++) {
            it->box[r][c] = (float)(scene.object[r].box[c] * options->size);
        }
    }
    fc_rng rng = fci_scene_stream(options, index, FCI_PIXELS);
    fc_picture picture;
    fci_scene_render(&picture, &scene, options->size, &rng);
    fc_status status = FC_OK;
    FC_TRY_GOTO(status,
                fc_picture_encode(&picture, FC_CODEC_JPEG, QUALITY, &it->encoded, &it->bytes), out);
    for (int r = 0; r < scene.objects && options->crop_size > 0; r++) {
        FC_TRY_GOTO(status, cut_crop(it, r, &picture, options->crop_size), out);
    }
out:
    fc_picture_free(&picture);
    return status;
}

static fc_store_caption stored(const sentence *s)
{
    return (fc_store_caption){.tokens = s->ids, .count = s->count, .text = s->words.text};
}

static fc_status append(fc_store_writer *w, const item *it, const fc_scene_options *options,
                        int64_t index)
{
    fc_store_caption caption[MOST_CAPTIONS];
    for (int c = 0; c < options->captions; c++) {
        caption[c] = stored(&it->caption[c]);
    }
    fc_store_region region[FCI_SCENE_OBJECTS];
    for (int r = 0; r < it->regions; r++) {
        region[r] = (fc_store_region){.category = it->category[r],
                                      .score = 1,
                                      .caption = stored(&it->region_caption[r]),
                                      .crop = it->crop[r],
                                      .crop_bytes = it->crop_bytes[r]};
        memcpy(region[r].box, it->box[r], sizeof region[r].box);
    }
    return fc_store_writer_add(w, index, NULL, options->size, options->size, it->encoded, it->bytes,
                               options->captions, caption, it->regions, region);
}

static fc_status write_window(fc_store_writer *w, const fc_scene_options *options, int64_t begin,
                              int count, item *items)
{
    memset(items, 0, (size_t)count * sizeof *items);
    fc_activity_beat();
#pragma omp parallel for schedule(dynamic, 4)
    for (int i = 0; i < count; i++) {
        item *it = &items[i];
        it->status = make(it, options, begin + i);
        if (it->status != FC_OK) {
            it->message = fc_strdup(fc_error_message());
            it->trace = fc_strdup(fc_error_trace());
        }
    }
    fc_status status = FC_OK;
    for (int i = 0; i < count && status == FC_OK; i++) {
        if (items[i].status != FC_OK) {
            status = items[i].status;
            fc_error_set(items[i].message, items[i].trace);
        } else {
            status = append(w, &items[i], options, begin + i);
        }
    }
    for (int i = 0; i < count; i++) {
        release(&items[i]);
    }
    return status;
}

static fc_status write_categories(fc_store_writer *w)
{
    for (int k = 0; k < FCI_SCENE_CATEGORIES; k++) {
        sentence prompt[FCI_SCENE_PROMPTS];
        fc_store_caption row[FCI_SCENE_PROMPTS];
        for (int p = 0; p < FCI_SCENE_PROMPTS; p++) {
            fci_scene_prompt(&prompt[p].words, k, p);
            tokenize(&prompt[p]);
            row[p] = stored(&prompt[p]);
        }
        char *name = fc_scene_category_name(k);
        fc_status status = fc_store_writer_category(w, name, true, FCI_SCENE_PROMPTS, row);
        fc_free(&name);
        FC_TRY(status);
    }
    return FC_OK;
}

static fc_status write_attributes(fc_store_writer *w, const fc_scene_options *options)
{
    uint64_t unseen = 0;
    for (int k = 0; k < FCI_SCENE_CATEGORIES; k++) {
        unseen |= (uint64_t)(fc_scene_category_unseen(k) ? 1 : 0) << k;
    }
    FC_TRY(fc_store_writer_attribute(w, "scene_seed", (int64_t)options->seed));
    FC_TRY(fc_store_writer_attribute(w, "scene_unseen", options->unseen ? 1 : 0));
    return fc_store_writer_attribute(w, "unseen_categories", (int64_t)unseen);
}

static fc_status write_all(fc_store_writer *w, const fc_scene_options *options)
{
    FC_TRY(write_attributes(w, options));
    /* Enough work for every thread, and some 100 MiB of pictures at the very most. */
    int threads = omp_get_max_threads();
    int window = threads < 4 ? 64 : threads < 16 ? 16 * threads : 256;
    item *items = fc_alloc((size_t)window, sizeof *items);
    fc_status status = FC_OK;
    for (int64_t i = 0; i < options->images && status == FC_OK; i += window) {
        int64_t left = options->images - i;
        status = write_window(w, options, i, left < window ? (int)left : window, items);
    }
    fc_free(&items);
    FC_TRY(status);
    FC_TRY(write_categories(w));
    return fc_store_writer_finish(w);
}

fc_status fc_scenes_write(const char *path, const fc_scene_options *options)
{
    FC_TRY(check(options));
    char *source = describe(options);
    fc_store_options store = {.context_length = FCI_SCENE_CONTEXT,
                              .vocab_size = fc_scene_vocab_size(),
                              .tokenizer = "scene-words",
                              .source = source,
                              .codec = FC_CODEC_JPEG,
                              .crops = options->crop_size > 0,
                              .crop_size = options->crop_size,
                              .crop_scale = crop_scale,
                              .crop_codec = FC_CODEC_JPEG,
                              .text = true};
    fc_store_writer *w = NULL;
    fc_status status = FC_OK;
    FC_TRY_GOTO(status, fc_store_writer_create(&w, path, &store), out);
    FC_TRY_GOTO(status, write_all(w, options), out);
out:
    fc_store_writer_destroy(&w);
    fc_free(&source);
    return status;
}
