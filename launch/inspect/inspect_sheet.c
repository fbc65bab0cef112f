/* `fineclip inspect STORE --sheet OUT.png`: some pictures as people should see them before they
 * train on them. */
#include "core/memory.h"
#include "core/replace.h"
#include "core/rng.h"
#include "launch/inspect/inspect.h"
#include "launch/inspect/inspect_card.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { USUAL_COUNT = 16, MOST = 500, MARGIN = 24, LONGEST_SIDE = 32000 };

typedef struct sheet {
    fc_store *store;
    int64_t *image; /* (count) in the store's order */
    int64_t count;
    int columns;
    double *x, *y; /* (count) of each card */
    double width, height;
} sheet;

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Distinct pictures at random: those already drawn are drawn again, which is cheap as long as they
 * are few of many; else a permutation is. */
static void choose(sheet *k, int64_t images, uint64_t seed)
{
    fc_rng rng = fc_rng_stream(seed, FC_RNG_SHEET, 0, 0);
    if (images <= 4 * k->count) {
        int64_t *order = fc_alloc((size_t)images, sizeof *order);
        fc_rng_permutation(&rng, images, order);
        memcpy(k->image, order, (size_t)k->count * sizeof *order);
        fc_free(&order);
    } else {
        for (int64_t i = 0; i < k->count; i++) {
            k->image[i] = (int64_t)fc_rng_below(&rng, (uint64_t)images);
            for (int64_t j = 0; j < i; j++) {
                if (k->image[j] == k->image[i]) {
                    i--;
                    break;
                }
            }
        }
    }
    qsort(k->image, (size_t)k->count, sizeof *k->image, ascending);
}

/* "12,7,100" into k->image. */
static fc_status take_named(sheet *k, const char *list)
{
    for (const char *at = list; k->count < MOST; at++) {
        char *end;
        errno = 0;
        long long index = strtoll(at, &end, 10);
        if (end == at || (*end != ',' && *end != '\0') || errno != 0) {
            return FC_FAIL(FC_USAGE, "--pictures %s: want indices with commas between them", list);
        }
        if (index < 0 || index >= k->store->images) {
            return FC_FAIL(FC_USAGE, "--pictures %s: there is no picture %lld, %s has %lld", list,
                           index, k->store->path, (long long)k->store->images);
        }
        k->image[k->count++] = index;
        at = end;
        if (*at == '\0') {
            return FC_OK;
        }
    }
    return FC_FAIL(FC_USAGE, "--pictures: at most %d", MOST);
}

static fc_status choose_pictures(sheet *k, const fci_inspect_options *options)
{
    k->image = fc_alloc(MOST, sizeof *k->image);
    if (options->pictures != NULL) {
        return take_named(k, options->pictures);
    }
    int64_t count = options->count > 0 ? options->count : USUAL_COUNT;
    if (count > MOST) {
        return FC_FAIL(FC_USAGE, "--count %lld: at most %d pictures fit on a sheet",
                       (long long)count, MOST);
    }
    k->count = count < k->store->images ? count : k->store->images;
    choose(k, k->store->images, (uint64_t)options->seed);
    return FC_OK;
}

/* Every card goes to the column that is shortest so far. */
static fc_status lay_out(sheet *k, cairo_t *cr)
{
    k->columns = (int)ceil(sqrt(1.5 * (double)k->count)); /* wider than tall, as screens are */
    double *end = fc_alloc((size_t)k->columns, sizeof *end);
    k->x = fc_alloc((size_t)k->count, sizeof *k->x);
    k->y = fc_alloc((size_t)k->count, sizeof *k->y);
    fc_status status = FC_OK;
    for (int64_t i = 0; i < k->count && status == FC_OK; i++) {
        int shortest = 0;
        for (int c = 1; c < k->columns; c++) {
            shortest = end[c] < end[shortest] ? c : shortest;
        }
        double height = 0;
        status = fci_card(cr, k->store, k->image[i], 0, 0, false, &height);
        k->x[i] = MARGIN + shortest * (double)(FCI_CARD_WIDTH + MARGIN);
        k->y[i] = MARGIN + end[shortest];
        end[shortest] += height + MARGIN;
        k->height = fmax(k->height, end[shortest] + MARGIN);
    }
    k->width = MARGIN + k->columns * (double)(FCI_CARD_WIDTH + MARGIN);
    fc_free(&end);
    return status;
}

static cairo_status_t write_bytes(void *file, const unsigned char *data, unsigned count)
{
    return fc_replace_write(file, data, count) == FC_OK ? CAIRO_STATUS_SUCCESS
                                                        : CAIRO_STATUS_WRITE_ERROR;
}

static fc_status write_png(cairo_surface_t *surface, const char *path)
{
    fc_replace *file = NULL;
    FC_TRY(fc_replace_begin(&file, path));
    cairo_status_t written = cairo_surface_write_to_png_stream(surface, write_bytes, file);
    if (written != CAIRO_STATUS_SUCCESS) {
        fc_replace_abandon(&file);
        return FC_FAIL(FC_RUNTIME, "cannot write %s: %s", path, cairo_status_to_string(written));
    }
    return fc_replace_commit(&file, false);
}

static fc_status draw(sheet *k, const char *path)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, 1);
    cairo_t *cr = cairo_create(surface);
    fc_status status = lay_out(k, cr);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    FC_TRY(status);
    if (k->width > LONGEST_SIDE || k->height > LONGEST_SIDE) {
        return FC_FAIL(FC_USAGE,
                       "a sheet of %.0f x %.0f pixels is too large: ask for fewer pictures",
                       k->width, k->height);
    }
    surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)k->width, (int)k->height);
    cr = cairo_create(surface);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    for (int64_t i = 0; i < k->count && status == FC_OK; i++) {
        double height;
        status = fci_card(cr, k->store, k->image[i], k->x[i], k->y[i], true, &height);
    }
    if (status == FC_OK && cairo_status(cr) != CAIRO_STATUS_SUCCESS) {
        status =
            FC_FAIL(FC_RUNTIME, "drawing %s: %s", path, cairo_status_to_string(cairo_status(cr)));
    }
    if (status == FC_OK) {
        status = write_png(surface, path);
    }
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    return status;
}

fc_status fci_inspect_sheet(const fci_inspect_options *options)
{
    size_t length = strlen(options->sheet);
    if (length < 5 || strcasecmp(options->sheet + length - 4, ".png") != 0) {
        return FC_FAIL(FC_USAGE, "--sheet %s: a sheet is a PNG file, its name ends with .png",
                       options->sheet);
    }
    sheet k = {0};
    fc_status status;
    FC_TRY_GOTO(status, fc_store_open(&k.store, options->path), done);
    FC_TRY_GOTO(status, choose_pictures(&k, options), done);
    FC_TRY_GOTO(status, draw(&k, options->sheet), done);
    printf("%lld of %s pictures drawn into %s\n", (long long)k.count,
           fci_text_count(k.store->images), options->sheet);
done:
    fc_store_close(&k.store);
    fc_free(&k.image);
    fc_free(&k.x);
    fc_free(&k.y);
    return status;
}
