/* Small made-up stores for the tests of the data side, and ways to damage a copy of one. Picture i
 * has random pixels, 1 + i % 3 captions and i % 4 regions; every value follows from its
 * index, so that readers can be checked without keeping anything. */
#ifndef FC_TESTS_DATA_STORE_MAKER_H
#define FC_TESTS_DATA_STORE_MAKER_H

#include "core/memory.h"
#include "core/rng.h"
#include "data/loader.h"
#include "data/store/hdf5_util.h"
#include "data/store/store_check.h"
#include "data/store/store_writer.h"
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAKER_CROP = 8, MAKER_CONTEXT = 12, MAKER_VOCAB = 500, MAKER_CATEGORIES = 3 };

typedef struct maker {
    int64_t images;
    bool crops, text, scores, region_captions, categories;
    int vocab; /* 0: MAKER_VOCAB */
} maker;

static inline int maker_width(int64_t i)
{
    return 20 + 3 * (int)(i % 5);
}

static inline int maker_height(int64_t i)
{
    return 16 + (int)(i % 7);
}

/* All that a loader can bring of such a store. */
static inline fc_loader_options maker_options(int64_t count, int image_size)
{
    return (fc_loader_options){.seed = 4,
                               .count = count,
                               .image_size = image_size,
                               .max_boxes = 2,
                               .max_box_size = 1000,
                               .caption_random = true,
                               .regions_random = true,
                               .need_captions = true,
                               .need_regions = true,
                               .need_crops = true,
                               .need_region_captions = true,
                               .context_length = MAKER_CONTEXT,
                               .vocab_size = MAKER_VOCAB,
                               .workers = 1,
                               .depth = 2};
}

/* Random pixels; crops have keys of their own. */
static inline void maker_pixels(uint64_t key, size_t count, uint8_t *out)
{
    fc_rng rng = fc_rng_stream(3, FC_RNG_TEST, key, 0);
    for (size_t k = 0; k < count; k++) {
        out[k] = (uint8_t)fc_rng_u32(&rng);
    }
}

/* Ids of item `key`: start vocab-2, some words, end vocab-1. Returns the count, 2..12. */
static inline int maker_ids(int vocab, int64_t key, int32_t *ids)
{
    int count = 2 + (int)(key % (MAKER_CONTEXT - 1));
    ids[0] = vocab - 2;
    for (int k = 1; k < count - 1; k++) {
        ids[k] = (int32_t)((key * 31 + k * 7) % (vocab - 2));
    }
    ids[count - 1] = vocab - 1;
    return count;
}

/* Box r of image i: r = 0 large, later ones smaller. */
static inline void maker_box(int64_t i, int r, float box[4])
{
    box[0] = 1.0f + (float)r;
    box[1] = 2.0f;
    box[2] = (float)maker_width(i) - 1.5f - 2.0f * (float)r;
    box[3] = (float)maker_height(i) - 0.25f - 3.0f * (float)r;
}

static inline bool maker_has_caption(const maker *m, int64_t region)
{
    return m->region_captions && region % 5 != 4;
}

static inline void maker_add(fc_store_writer *w, const maker *m, int64_t i, int64_t *caption_count,
                             int64_t *region_count)
{
    int vocab = m->vocab == 0 ? MAKER_VOCAB : m->vocab;
    int width = maker_width(i), height = maker_height(i);
    size_t bytes = 3 * (size_t)width * (size_t)height;
    uint8_t *pixels = fc_alloc(bytes, 1), crop[4][3 * MAKER_CROP * MAKER_CROP];
    int32_t ids[8][MAKER_CONTEXT];
    char name[64], text[8][64];
    fc_store_caption captions[3];
    fc_store_region regions[4];
    maker_pixels((uint64_t)i, bytes, pixels);
    snprintf(name, sizeof name, "picture_%lld.ppm", (long long)i);
    int captions_here = 1 + (int)(i % 3), regions_here = (int)(i % 4);
    for (int k = 0; k < captions_here; k++, ++*caption_count) {
        snprintf(text[k], sizeof text[k], "caption %lld \xc3\xa9", (long long)*caption_count);
        captions[k] = (fc_store_caption){.tokens = ids[k], .text = text[k]};
        captions[k].count = maker_ids(vocab, *caption_count, ids[k]);
    }
    for (int k = 0; k < regions_here; k++, ++*region_count) {
        int64_t r = *region_count;
        fc_store_region *region = &regions[k];
        *region = (fc_store_region){.category = m->categories ? (int32_t)(r % 4) - 1 : -1,
                                    .score = (float)r / 8};
        maker_box(i, k, region->box);
        snprintf(text[3 + k], sizeof text[3 + k], "region %lld", (long long)r);
        region->caption = (fc_store_caption){.tokens = ids[3 + k], .text = text[3 + k]};
        region->caption.count =
            maker_has_caption(m, r) ? maker_ids(vocab, 1000 + r, ids[3 + k]) : 0;
        if (m->crops) {
            maker_pixels(1000000 + (uint64_t)r, sizeof crop[k], crop[k]);
            region->crop = crop[k];
            region->crop_bytes = sizeof crop[k];
        }
    }
    FC_CHECK_OK(fc_store_writer_add(w, 100 + i, name, width, height, pixels, bytes, captions_here,
                                    captions, regions_here, regions));
    fc_free(&pixels);
}

static inline void maker_categories(fc_store_writer *w, int vocab)
{
    for (int k = 0; k < MAKER_CATEGORIES; k++) {
        int32_t ids[3][MAKER_CONTEXT];
        fc_store_caption prompts[3];
        char name[32];
        snprintf(name, sizeof name, "category %d", k);
        for (int p = 0; p <= k; p++) {
            prompts[p] = (fc_store_caption){.tokens = ids[p]};
            prompts[p].count = maker_ids(vocab, 10 * k + p, ids[p]);
        }
        FC_CHECK_OK(fc_store_writer_category(w, name, k % 2 == 0, k + 1, prompts));
    }
}

/* Write a store of raw pictures. */
static inline void make_store(const char *path, const maker *m)
{
    int vocab = m->vocab == 0 ? MAKER_VOCAB : m->vocab;
    fc_store_options options = {.context_length = MAKER_CONTEXT,
                                .vocab_size = vocab,
                                .tokenizer = "made-up",
                                .source = "store_maker",
                                .codec = FC_CODEC_RAW,
                                .crops = m->crops,
                                .crop_size = MAKER_CROP,
                                .crop_scale = 1.5,
                                .crop_codec = FC_CODEC_RAW,
                                .text = m->text,
                                .names = m->text,
                                .scores = m->scores};
    fc_store_writer *w;
    if (!FC_CHECK_OK(fc_store_writer_create(&w, path, &options))) {
        return;
    }
    int64_t captions = 0, regions = 0;
    for (int64_t i = 0; i < m->images; i++) {
        maker_add(w, m, i, &captions, &regions);
    }
    if (m->categories) {
        maker_categories(w, vocab);
    }
    FC_CHECK_OK(fc_store_writer_finish(w));
    fc_store_writer_destroy(&w);
}

/* ---- Checking ---- */

/* Findings in a store, on one thread. */
static inline int64_t check_store(const char *path)
{
    fc_findings found = {.limit = 10};
    FC_CHECK_OK(fc_store_check(&found, path, &(fc_store_check_options){.parts = 1, .threads = 1}));
    int64_t count = found.count;
    for (int64_t i = 0; i < found.kept; i++) {
        printf("  %s\n", found.list[i].line);
    }
    fc_findings_fini(&found);
    return count;
}

/* ---- Damage ---- */

static inline void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char buffer[65536];
    size_t n;
    while (FC_CHECK(in != NULL && out != NULL) && (n = fread(buffer, 1, sizeof buffer, in)) > 0) {
        FC_CHECK(fwrite(buffer, 1, n, out) == n);
    }
    if (in != NULL) {
        fclose(in);
    }
    if (out != NULL) {
        fclose(out);
    }
}

/* Set one element (flat index) of a dataset. */
static inline void poke(const char *path, const char *dataset, int64_t index, double value)
{
    fci_h5_lock();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t d = H5Dopen2(file, dataset, H5P_DEFAULT);
    hid_t space = H5Dget_space(d);
    hsize_t dims[2] = {1, 1}, one = 1;
    int rank = H5Sget_simple_extent_dims(space, dims, NULL);
    hsize_t cols = rank == 2 ? dims[1] : 1;
    hsize_t point[2] = {(hsize_t)index / cols, (hsize_t)index % cols};
    FC_CHECK(H5Sselect_elements(space, H5S_SELECT_SET, 1, point) >= 0);
    hid_t memory = H5Screate_simple(1, &one, NULL);
    FC_CHECK(H5Dwrite(d, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, &value) >= 0);
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(d);
    H5Fclose(file);
    fci_h5_unlock();
}

/* Remove a dataset or group. */
static inline void cut(const char *path, const char *object)
{
    fci_h5_lock();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    FC_CHECK(H5Ldelete(file, object, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    fci_h5_unlock();
}

/* Replace a dataset by one of another type and shape, never written to. */
static inline void replace(const char *path, const char *dataset, hid_t type, int rank,
                           const hsize_t *dims)
{
    fci_h5_lock();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    FC_CHECK(H5Ldelete(file, dataset, H5P_DEFAULT) >= 0);
    hid_t space = H5Screate_simple(rank, dims, NULL);
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t chunk[3] = {1, 1, 1};
    if (rank > 0) {
        H5Pset_chunk(create, rank, chunk);
    }
    hid_t d = H5Dcreate2(file, dataset, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    FC_CHECK(d >= 0);
    H5Dclose(d);
    H5Pclose(create);
    H5Sclose(space);
    H5Fclose(file);
    fci_h5_unlock();
}

/* Set (text, or number >= 0) or delete an attribute of an object. */
static inline void attribute(const char *path, const char *object, const char *name,
                             const char *text, int64_t number)
{
    fci_h5_lock();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t id = H5Oopen(file, object, H5P_DEFAULT);
    if (text != NULL) {
        FC_CHECK_OK(fci_h5_set_string(id, path, name, text));
    } else if (number >= 0) {
        FC_CHECK_OK(fci_h5_set_int(id, path, name, number));
    } else {
        FC_CHECK(H5Adelete(id, name) >= 0);
    }
    H5Oclose(id);
    H5Fclose(file);
    fci_h5_unlock();
}

#endif
