/* The contact sheet: boxes are drawn where they are in the picture, at any scale; what does not
 * decode is drawn as such; arguments. */
#include "core/memory.h"
#include "data/picture/picture.h"
#include "data/store/store_writer.h"
#include "launch/dist.h"
#include "launch/inspect/inspect.h"
#include "launch/inspect/inspect_card.h"
#include "tests/check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* No grey: text is drawn with some of each. */
static const int ground[3] = {140, 110, 60};

static char store_path[1024], sheet_path[1024];

/* Pictures of one colour, each with a box. */
static void write_store(int images, const int (*size)[2], const float (*box)[4], bool whole)
{
    const fc_store_options options = {.context_length = 8,
                                      .vocab_size = 100,
                                      .tokenizer = "words",
                                      .codec = FC_CODEC_RAW,
                                      .crop_scale = 1.5,
                                      .text = true};
    fc_store_writer *w = NULL;
    FC_CHECK_OK(fc_store_writer_create(&w, store_path, &options));
    const int32_t ids[] = {98, 5, 6, 99};
    const fc_store_caption caption = {ids, 4, "a sentence \xff that is not UTF-8"};
    for (int i = 0; i < images; i++) {
        size_t bytes = 3 * (size_t)size[i][0] * (size_t)size[i][1];
        uint8_t *pixels = fc_alloc(bytes, 1);
        for (size_t k = 0; k < bytes; k++) {
            pixels[k] = (uint8_t)ground[k % 3];
        }
        fc_store_region region = {.category = -1, .caption = caption};
        memcpy(region.box, box[i], sizeof region.box);
        FC_CHECK_OK(fc_store_writer_add(w, i, NULL, size[i][0], size[i][1], pixels,
                                        whole ? bytes : bytes - 3, 1, &caption, 1, &region));
        fc_free(&pixels);
    }
    FC_CHECK_OK(fc_store_writer_finish(w));
    fc_store_writer_destroy(&w);
}

static fc_status draw(const char *pictures, int64_t count)
{
    fci_inspect_options o = {
        .path = store_path, .sheet = sheet_path, .pictures = pictures, .count = count};
    return fci_inspect_sheet(&o);
}

/* Smallest rectangle around the pixels of a colour, within `in`. */
static fc_rect bounds(const fc_picture *p, const int rgb[3], fc_rect in)
{
    fc_rect r = {p->width, p->height, 0, 0};
    for (int y = in.y0; y < in.y1; y++) {
        for (int x = in.x0; x < in.x1; x++) {
            const uint8_t *v = p->rgb + 3 * ((size_t)y * (size_t)p->width + (size_t)x);
            if (v[0] == rgb[0] && v[1] == rgb[1] && v[2] == rgb[2]) {
                r.x0 = x < r.x0 ? x : r.x0;
                r.y0 = y < r.y0 ? y : r.y0;
                r.x1 = x + 1 > r.x1 ? x + 1 : r.x1;
                r.y1 = y + 1 > r.y1 ? y + 1 : r.y1;
            }
        }
    }
    return r;
}

static void check_place(const int size[2], const float box[4])
{
    int colour[3];
    fc_picture p;
    fci_card_colour(0, colour);
    write_store(1, (const int(*)[2])size, (const float(*)[4])box, true);
    if (!FC_CHECK_OK(draw(NULL, 0)) || !FC_CHECK_OK(fc_picture_load(&p, sheet_path))) {
        return;
    }
    fc_rect picture = bounds(&p, ground, (fc_rect){0, 0, p.width, p.height});
    /* The crop below is of that colour, too: the picture is as high as its width says. */
    picture.y1 = picture.y0 + (picture.x1 - picture.x0) * size[1] / size[0];
    fc_rect drawn = bounds(&p, colour, picture);
    double scale = (double)(picture.x1 - picture.x0) / size[0];
    FC_CHECK(scale > 0.2 && scale < 100);
    FC_CHECK_NEAR(drawn.x0, picture.x0 + (double)box[0] * scale, 2.5);
    FC_CHECK_NEAR(drawn.y0, picture.y0 + (double)box[1] * scale, 2.5);
    FC_CHECK_NEAR(drawn.x1, picture.x0 + (double)box[2] * scale, 2.5);
    FC_CHECK_NEAR(drawn.y1, picture.y0 + (double)box[3] * scale, 2.5);
    fc_picture_free(&p);
}

static void check_arguments(void)
{
    const int sizes[][2] = {{30, 20}, {20, 30}, {5, 5}, {8, 8}, {64, 2}, {9, 9}, {9, 9}};
    const float boxes[][4] = {{1, 1, 9, 9}, {1, 1, 9, 9}, {0, 0, 5, 5}, {0, 0, 8, 8},
                              {0, 0, 9, 2}, {0, 0, 9, 9}, {0, 0, 9, 9}};
    write_store(7, sizes, boxes, true);
    FC_CHECK_OK(draw("6,0,2", 0));
    FC_CHECK_OK(draw(NULL, 1));
    FC_CHECK_OK(draw(NULL, 100));
    FC_CHECK_FAILS(draw("6,7", 0), FC_USAGE, "no picture 7");
    FC_CHECK_FAILS(draw("6;7", 0), FC_USAGE, "commas");
    FC_CHECK_FAILS(draw("", 0), FC_USAGE, "commas");
    FC_CHECK_FAILS(draw(NULL, 100000), FC_USAGE, "at most");
    fci_inspect_options o = {.path = store_path, .sheet = "sheet.jpg"};
    FC_CHECK_FAILS(fci_inspect_sheet(&o), FC_USAGE, "ends with .png");
    o.sheet = "/nowhere/at/all.png";
    FC_CHECK_FAILS(fci_inspect_sheet(&o), FC_RUNTIME, "/nowhere/at/all.png");
    write_store(7, sizes, boxes, false); /* none decodes: said on the sheet, not an error */
    FC_CHECK_OK(draw(NULL, 0));
}

int main(void)
{
    FC_CHECK_OK(fc_dist_start());
    snprintf(store_path, sizeof store_path, "%s", fc_check_temp("sheet.h5"));
    snprintf(sheet_path, sizeof sheet_path, "%s", fc_check_temp("sheet.png"));
    check_place((const int[]){600, 400}, (const float[]){150, 90, 450, 350});  /* made smaller */
    check_place((const int[]){60, 48}, (const float[]){10, 20, 50, 44});       /* made larger */
    check_place((const int[]){100, 400}, (const float[]){20, 20.5f, 80, 399}); /* upright */
    check_arguments();
    fc_dist_stop();
    return fc_check_end();
}
