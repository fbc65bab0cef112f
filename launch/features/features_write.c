/* The passes over a store, each in chunks: ranks compute theirs, rank 0 writes all in order.
 * N pictures, P patches each, R regions, C captions, D embed_dim. */
#include "core/fatal.h"
#include "core/log.h"
#include "core/memory.h"
#include "launch/dist.h"
#include "launch/eval/embed.h"
#include "launch/eval/ranking.h"
#include "launch/features/features.h"
#include "launch/hdf5_output.h"
#include "launch/progress.h"

#include <stdio.h>
#include <string.h>

enum { PICTURES = 8, CROPS = 32, TEXTS = 128, MOST_SETS = 3, CHUNK_BYTES = 1 << 20 };

/* One dataset of features under construction. */
typedef struct set {
    const char *path, *meaning;
    bool wanted, unit;
    int64_t rows, width; /* values of a row: D, or P*D */
    hid_t dataset;       /* rank 0 */
} set;

typedef struct work {
    const fc_features_options *options;
    fc_trained *t;
    fc_store *store;
    fc_embedder embedder;
    void *classes;     /* (K,D) or NULL */
    fci_h5_output out; /* rank 0 */
} work;

/* A pass: items in chunks, each yielding rows of its sets. */
typedef struct pass {
    const char *label;
    int64_t items, chunk;
    set set[MOST_SETS];
    /* Rows of items [first, first + count) of every wanted set into out (float). */
    fc_status (*compute)(work *w, const struct pass *p, int64_t first, int64_t count, float **out);
    /* Rows of set k that come before item `item`; NULL: item itself. */
    int64_t (*row)(const work *w, int k, int64_t item);
    fc_token_set tokens;
} pass;

static bool is_writer(const work *w)
{
    return fc_comm_rank(w->t->comm) == 0;
}

static void to_floats(const void *from, fc_dtype dtype, int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)fci_value_at(from, dtype, i);
    }
}

/* ---- What the passes compute ---- */

enum { GLOBAL, DENSE, BOX }; /* sets of the pass over pictures */

static int64_t picture_row(const work *w, int k, int64_t item)
{
    return k == BOX ? (int64_t)w->store->region_of[item] : item;
}

static fc_status box_rows(work *w, int64_t first, int64_t count, fc_tensor *dense,
                          const double *scale, float *out)
{
    const fc_store *s = w->store;
    const int64_t begin = (int64_t)s->region_of[first], end = (int64_t)s->region_of[first + count];
    fc_tape *tape = w->embedder.tape;
    if (begin == end) {
        return FC_OK;
    }
    float *boxes = fc_tape_alloc(tape, (size_t)(end - begin) * 4 * sizeof *boxes);
    int32_t *image = fc_tape_alloc(tape, (size_t)(end - begin) * sizeof *image);
    for (int64_t i = 0; i < count; i++) {
        for (int64_t r = (int64_t)s->region_of[first + i]; r < (int64_t)s->region_of[first + i + 1];
             r++) {
            FC_TRY(fc_store_check_box(s, r, first + i));
            image[r - begin] = (int32_t)i;
            for (int k = 0; k < 4; k++) {
                boxes[4 * (r - begin) + k] =
                    (float)((double)s->boxes[4 * r + k] * scale[2 * i + k % 2]);
            }
        }
    }
    const int grid = w->t->model->grid;
    fc_tensor *y = w->options->normalize
                       ? fc_clip_box_features(tape, dense, grid, boxes, image, end - begin)
                       : fc_roi_align(tape, dense, grid, boxes, image, end - begin);
    FC_TRY(fc_tape_status(tape));
    to_floats(y->data, y->dtype, fc_tensor_count(y), out);
    return FC_OK;
}

static fc_status picture_chunk(work *w, const pass *p, int64_t first, int64_t count, float **out)
{
    const fc_clip *m = w->t->model;
    fc_tape *tape = w->embedder.tape;
    const bool global = p->set[GLOBAL].wanted;
    const bool dense = p->set[DENSE].wanted || p->set[BOX].wanted;
    double scale[2 * PICTURES];
    uint8_t *rgb;
    FC_TRY(fc_embed_load(&w->embedder, first, count, &rgb, scale));
    fc_pixels pixels = {.size = m->image_size, .count = {count}, .rgb = {rgb}};
    fc_tensor *cls, *maps;
    FC_TRY(fc_clip_vision(m, tape, &pixels, dense ? count : 0, global ? 0 : count, 0, &cls, &maps));
    if (global) {
        cls = w->options->normalize ? fc_l2norm(tape, cls) : cls;
        FC_TRY(fc_tape_status(tape));
        to_floats(cls->data, cls->dtype, fc_tensor_count(cls), out[GLOBAL]);
    }
    if (p->set[DENSE].wanted) {
        to_floats(maps->data, maps->dtype, fc_tensor_count(maps), out[DENSE]);
    }
    return p->set[BOX].wanted ? box_rows(w, first, count, maps, scale, out[BOX]) : FC_OK;
}

/* The picture a region belongs to. */
static int64_t image_of(const fc_store *s, int64_t region)
{
    int64_t low = 0, high = s->images - 1;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if ((int64_t)s->region_of[middle + 1] > region) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static fc_status crop_chunk(work *w, const pass *p, int64_t first, int64_t count, float **out)
{
    (void)p;
    const fc_clip *m = w->t->model;
    fc_tape *tape = w->embedder.tape;
    const size_t bytes = 3 * (size_t)m->image_size * (size_t)m->image_size;
    uint8_t *rgb = fc_tape_alloc(tape, (size_t)count * bytes);
    fc_store_scratch scratch = {0};
    fc_status status = FC_OK;
    for (int64_t i = 0; i < count && status == FC_OK; i++) {
        const int64_t image = image_of(w->store, first + i);
        status = fc_store_check_box(w->store, first + i, image);
        if (status == FC_OK) {
            status = fc_store_fit_crop(w->store, first + i, image, NULL, m->image_size, &scratch,
                                       rgb + (size_t)i * bytes);
        }
    }
    fc_store_scratch_fini(&scratch);
    FC_TRY(status);
    fc_pixels pixels = {.size = m->image_size, .count = {count}, .rgb = {rgb}};
    fc_tensor *cls, *dense;
    FC_TRY(fc_clip_vision(m, tape, &pixels, 0, 0, 0, &cls, &dense));
    cls = w->options->normalize ? fc_l2norm(tape, cls) : cls;
    FC_TRY(fc_tape_status(tape));
    to_floats(cls->data, cls->dtype, fc_tensor_count(cls), out[0]);
    return FC_OK;
}

static fc_status text_chunk(work *w, const pass *p, int64_t first, int64_t count, float **out)
{
    const fc_dtype dtype = w->t->model->params->dtype;
    const size_t values = (size_t)(count * p->set[0].width), bytes = values * fc_dtype_bytes(dtype);
    void *rows = memset(fc_tape_alloc(w->embedder.tape, bytes), 0, bytes);
    FC_TRY(fc_embed_text_rows(&w->embedder, p->tokens, first, count, w->options->normalize, rows));
    to_floats(rows, dtype, (int64_t)values, out[0]);
    return FC_OK;
}

/* ---- Running a pass ---- */

static fc_status make_set(work *w, set *s)
{
    const hsize_t flat[2] = {(hsize_t)s->rows, (hsize_t)s->width};
    const hsize_t D = (hsize_t)w->t->model->config.embed_dim;
    const hsize_t maps[3] = {(hsize_t)s->rows, flat[1] / D, D};
    const bool is_map = strcmp(s->path, "/images/dense") == 0;
    const size_t bytes = (size_t)s->width * (w->options->half ? 2 : 4);
    const int64_t rows = bytes < CHUNK_BYTES ? (int64_t)(CHUNK_BYTES / bytes) : 1;
    hid_t half = fci_h5_half_type();
    fc_status status =
        fci_h5_make(&s->dataset, &w->out, s->path, w->options->half ? half : H5T_IEEE_F32LE,
                    is_map ? 3 : 2, is_map ? maps : flat, rows);
    H5Tclose(half);
    FC_TRY(status);
    FC_TRY(fci_h5_set_int(s->dataset, s->path, "normalized", s->unit ? 1 : 0));
    return fci_h5_set_string(s->dataset, s->path, "meaning", s->meaning);
}

/* values become halves in place where those are wanted. */
static fc_status put_rows(work *w, const set *s, int64_t first, int64_t rows, float *values)
{
    fc_status status;
    fci_h5_lock();
    if (w->options->half) {
        uint16_t *halves = (uint16_t *)(void *)values;
        for (int64_t i = 0; i < rows * s->width; i++) {
            float value; /* read before its place is written over */
            memcpy(&value, values + i, sizeof value);
            const uint16_t half = fci_h5_half(value);
            memcpy(halves + i, &half, sizeof half);
        }
        hid_t type = fci_h5_half_type();
        status = fci_h5_put(s->dataset, &w->out, first, rows, type, halves);
        H5Tclose(type);
    } else {
        status = fci_h5_put(s->dataset, &w->out, first, rows, H5T_NATIVE_FLOAT, values);
    }
    fci_h5_unlock();
    return status;
}

static int64_t row_of(const work *w, const pass *p, int k, int64_t item)
{
    return p->row != NULL ? p->row(w, k, item) : item;
}

static int64_t chunk_end(const pass *p, int64_t chunk)
{
    const int64_t end = (chunk + 1) * p->chunk;
    return end < p->items ? end : p->items;
}

/* Rows of set k of chunks [begin, end), one a rank, to rank 0 and into the file. */
static fc_status gather_rows(work *w, const pass *p, int k, int64_t begin, int64_t end,
                             const float *own, float *all)
{
    const int ranks = fc_comm_size(w->t->comm);
    int64_t *counts = fc_alloc((size_t)ranks, sizeof *counts);
    for (int64_t c = begin; c < end; c++) {
        counts[c - begin] =
            (row_of(w, p, k, chunk_end(p, c)) - row_of(w, p, k, c * p->chunk)) * p->set[k].width;
    }
    fc_status status = fc_comm_all_gather(w->t->comm, own, all, counts, FC_COMM_F32);
    fc_free(&counts);
    FC_TRY(status);
    const int64_t first = row_of(w, p, k, begin * p->chunk);
    const int64_t rows = row_of(w, p, k, chunk_end(p, end - 1)) - first;
    return is_writer(w) ? put_rows(w, &p->set[k], first, rows, all) : FC_OK;
}

/* Most rows of set k in any chunk. */
static int64_t most_rows(const work *w, const pass *p, int k)
{
    int64_t most = 1;
    for (int64_t c = 0; c * p->chunk < p->items; c++) {
        const int64_t rows = row_of(w, p, k, chunk_end(p, c)) - row_of(w, p, k, c * p->chunk);
        most = rows > most ? rows : most;
    }
    return most;
}

static fc_status run_rounds(work *w, const pass *p, float **own, float **all)
{
    const int ranks = fc_comm_size(w->t->comm), rank = fc_comm_rank(w->t->comm);
    const int64_t chunks = (p->items + p->chunk - 1) / p->chunk;
    fc_progress progress;
    fc_status status = FC_OK;
    fc_progress_begin(&progress, p->label, 0, p->items, 0);
    for (int64_t begin = 0; status == FC_OK && begin < chunks; begin += ranks) {
        const int64_t end = begin + ranks < chunks ? begin + ranks : chunks, mine = begin + rank;
        if (mine < end) {
            fc_tape_reset(w->embedder.tape);
            const int64_t first = mine * p->chunk;
            status = p->compute(w, p, first, chunk_end(p, mine) - first, own);
        }
        status = fc_dist_agree(status);
        for (int k = 0; status == FC_OK && k < MOST_SETS; k++) {
            if (p->set[k].wanted) {
                status = fc_dist_agree(gather_rows(w, p, k, begin, end, own[k], all[k]));
            }
        }
        fc_progress_step(&progress, chunk_end(p, end - 1), NULL);
    }
    fc_progress_end(&progress);
    return status;
}

static fc_status run_pass(work *w, pass *p)
{
    float *own[MOST_SETS] = {NULL}, *all[MOST_SETS] = {NULL};
    bool any = false;
    fc_status status = FC_OK;
    for (int k = 0; k < MOST_SETS; k++) {
        set *s = &p->set[k];
        s->dataset = -1;
        if (!s->wanted) {
            continue;
        }
        any = true;
        const size_t values = (size_t)(most_rows(w, p, k) * s->width);
        own[k] = fc_alloc(values, sizeof(float));
        all[k] = fc_alloc(values * (size_t)fc_comm_size(w->t->comm), sizeof(float));
        if (is_writer(w) && status == FC_OK) {
            fci_h5_lock();
            status = make_set(w, s);
            fci_h5_unlock();
        }
    }
    status = fc_dist_agree(status);
    if (status == FC_OK && any) {
        status = run_rounds(w, p, own, all);
    }
    fci_h5_lock();
    for (int k = 0; k < MOST_SETS; k++) {
        if (p->set[k].dataset >= 0) {
            H5Dclose(p->set[k].dataset);
        }
        fc_free(&own[k]);
        fc_free(&all[k]);
    }
    fci_h5_unlock();
    return status;
}

/* ---- The file ---- */

static bool wants(const work *w, unsigned kind, int64_t rows, const char *what)
{
    if ((w->options->kinds & kind) == 0) {
        return false;
    }
    if (rows == 0) {
        fc_log_warn("%s has no %s: their features are left out", w->store->path, what);
    }
    return rows > 0;
}

/* Before anything is written: a rank that fails alone here ends the job. */
static void embed_classes(work *w)
{
    const fc_store *s = w->store;
    if ((w->options->kinds & FC_FEATURES_TEXT) != 0 && s->categories > 0 && s->prompts > 0) {
        fc_status status = fc_embed_classes(&w->embedder, &w->classes);
        if (status != FC_OK) {
            fc_fatal(status);
        }
    }
}

static fc_status write_classes(work *w)
{
    const fc_store *s = w->store;
    const int64_t dim = w->t->model->config.embed_dim;
    if (w->classes == NULL) {
        return FC_OK;
    }
    set classes = {"/categories/text",
                   "class embeddings: unit means over a category's prompts",
                   true,
                   true,
                   s->categories,
                   dim,
                   -1};
    float *rows = fc_alloc((size_t)(s->categories * dim), sizeof *rows);
    to_floats(w->classes, w->t->model->params->dtype, s->categories * dim, rows);
    fc_status status = make_set(w, &classes);
    if (status == FC_OK) {
        status = put_rows(w, &classes, 0, s->categories, rows);
    }
    if (classes.dataset >= 0) {
        H5Dclose(classes.dataset);
    }
    fc_free(&rows);
    FC_TRY(status);
    return fci_h5_write_strings(&w->out, "/categories/names", s->categories,
                                (const char *const *)s->category_names);
}

static fc_status run_all(work *w)
{
    const fc_clip *m = w->t->model;
    fc_store *s = w->store;
    const int64_t D = m->config.embed_dim, maps = m->patches * D;
    const bool unit = w->options->normalize, boxes = s->region_of != NULL;
    const int64_t regions = boxes ? s->regions : 0;
    const int64_t captions = s->caption_of != NULL ? s->captions : 0;
    const int64_t spoken = boxes && s->region_offsets[s->regions] > 0 ? s->regions : 0;
    const bool box = wants(w, FC_FEATURES_BOX, regions, "regions");
    const bool crop = wants(w, FC_FEATURES_CROP, regions, "regions");
    const bool text = wants(w, FC_FEATURES_TEXT, captions + spoken + s->prompts, "texts");
    pass passes[] = {
        {.label = "pictures",
         .items = s->images,
         .chunk = PICTURES,
         .set = {{"/images/global", "class-token embedding of the picture",
                  wants(w, FC_FEATURES_GLOBAL, s->images, "pictures"), unit, s->images, D, -1},
                 {"/images/dense", "unit dense features, attention left out of the last block",
                  wants(w, FC_FEATURES_DENSE, s->images, "pictures"), true, s->images, maps, -1},
                 {"/regions/box", "RoIAlign of the unit dense features to 1x1", box, unit, regions,
                  D, -1}},
         .compute = picture_chunk,
         .row = picture_row},
        {.label = "crops",
         .items = regions,
         .chunk = CROPS,
         .set = {{"/regions/crop", "class-token embedding of the region's crop", crop, unit,
                  regions, D, -1}},
         .compute = crop_chunk},
        {.label = "captions",
         .items = captions,
         .chunk = TEXTS,
         .set = {{"/captions/text", "embedding of the caption", text && captions > 0, unit,
                  captions, D, -1}},
         .compute = text_chunk,
         .tokens = FC_CAPTION_TOKENS},
        {.label = "region captions",
         .items = spoken,
         .chunk = TEXTS,
         .set = {{"/regions/text", "embedding of the region's caption; zeros where it has none",
                  text && spoken > 0, unit, spoken, D, -1}},
         .compute = text_chunk,
         .tokens = FC_REGION_TOKENS}};
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        FC_TRY(run_pass(w, &passes[i]));
    }
    return FC_OK;
}

static fc_status write_index(const work *w)
{
    const fc_store *s = w->store;
    const fci_h5_output *out = &w->out;
    const hsize_t images[1] = {(hsize_t)s->images}, ends[1] = {images[0] + 1};
    const hsize_t boxes[2] = {(hsize_t)s->regions, 4};
    if (s->image_id != NULL) {
        FC_TRY(fci_h5_write(out, "/images/id", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, images,
                            s->image_id));
    }
    if (s->caption_of != NULL) {
        FC_TRY(fci_h5_write(out, "/captions/image_offsets", H5T_STD_U64LE, H5T_NATIVE_UINT64, 1,
                            ends, s->caption_of));
    }
    if (s->region_of != NULL) {
        FC_TRY(fci_h5_write(out, "/regions/image_offsets", H5T_STD_U64LE, H5T_NATIVE_UINT64, 1,
                            ends, s->region_of));
        FC_TRY(fci_h5_write(out, "/regions/boxes", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, boxes,
                            s->boxes));
    }
    return s->region_of == NULL || s->category == NULL
               ? FC_OK
               : fci_h5_write(out, "/regions/category", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, boxes,
                              s->category);
}

static fc_status write_head(work *w)
{
    static const char *const resizes[] = {"squash", "center_crop", "longest"};
    const char *where = w->out.partial;
    const hid_t file = w->out.file;
    FC_TRY(fci_h5_set_string(file, where, "format", "fineclip-features"));
    FC_TRY(fci_h5_set_int(file, where, "version", 1));
    FC_TRY(fci_h5_set_string(file, where, "store", w->store->path));
    FC_TRY(fci_h5_set_string(file, where, "resize", resizes[w->options->resize]));
    FC_TRY(fci_h5_set_string(file, where, "dtype", w->options->half ? "f16" : "f32"));
    FC_TRY(fci_h5_set_real(file, where, "crop_scale", w->store->crop_scale));
    FC_TRY(fci_h5_set_string(
        file, where, "protocol",
        "global and crop: class token through the whole tower; dense: values alone in the last "
        "block, final norm, projection, unit length; box: RoIAlign 1x1, aligned, of the dense map; "
        "text: feature at the end token"));
    FC_TRY(fc_trained_describe(w->t, file, where));
    FC_TRY(write_index(w));
    return write_classes(w);
}

static fc_status begin(work *w, const char *file)
{
    if (!is_writer(w)) {
        return FC_OK;
    }
    FC_TRY(fci_h5_output_begin(&w->out, file));
    fci_h5_lock();
    fc_status status = write_head(w);
    fci_h5_unlock();
    return status;
}

fc_status fc_features_write(fc_trained *t, fc_store *store, const char *file,
                            const fc_features_options *options)
{
    work w = {.options = options, .t = t, .store = store};
    const unsigned placed = FC_FEATURES_DENSE | FC_FEATURES_BOX;
    if (options->resize == FC_FIT_CENTER_CROP && (options->kinds & placed) != 0) {
        return FC_FAIL(FC_USAGE, "resize=center_crop cuts pictures: it does for kinds global, crop "
                                 "and text alone");
    }
    w.embedder =
        (fc_embedder){.model = t->model, .comm = t->comm, .store = store, .fit = options->resize};
    w.embedder.tape = fc_tape_create(t->model->params->dtype);
    (void)fc_tape_record(w.embedder.tape, false);
    embed_classes(&w);
    fc_status status = fc_dist_agree(begin(&w, file));
    if (status == FC_OK) {
        status = run_all(&w);
    }
    if (status == FC_OK) {
        status = fc_dist_agree(is_writer(&w) ? fci_h5_output_commit(&w.out) : FC_OK);
    }
    fci_h5_output_abandon(&w.out);
    fc_free(&w.classes);
    fc_tape_destroy(&w.embedder.tape);
    return status;
}
