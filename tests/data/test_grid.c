/* Regions on grids: every pair of rows and columns as likely, cells that tile the picture, and a
 * batch whose boxes and crops are those cells, also of a store without regions. */
#include "core/log.h"
#include "data/grid.h"
#include "data/loader.h"
#include "tests/data/store_maker.h"

#include <math.h>

enum { SPLIT = 6, PAIRS = 24, DRAWS = 24000, SIZE = 16, IMAGES = 7, MOST = 20 };

static void test_draws(void)
{
    static int count[SPLIT + 1][SPLIT + 1];
    int kinds = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        fc_rng rng = fc_rng_stream(1, FC_RNG_TEST, i, 0);
        fc_grid g = fc_grid_draw(&rng, SPLIT);
        FC_CHECK(g.rows >= 1 && g.rows <= SPLIT && g.cols >= 1 && g.cols <= SPLIT);
        FC_CHECK(g.cols <= 2 * g.rows && 2 * g.cols >= g.rows);
        count[g.rows][g.cols]++;
    }
    for (int m = 1; m <= SPLIT; m++) {
        for (int n = 1; n <= SPLIT; n++) {
            kinds += count[m][n] > 0;
            /* Five deviations of a binomial. */
            FC_CHECK(count[m][n] == 0 || abs(count[m][n] - DRAWS / PAIRS) < 160);
        }
    }
    FC_CHECK_INT(kinds, PAIRS);
    FC_CHECK_NEAR(fc_grid_mean_cells(SPLIT, MOST), 13, 1e-12);
    FC_CHECK_NEAR(fc_grid_mean_cells(SPLIT, 1000), 361.0 / PAIRS, 1e-12);
    FC_CHECK_NEAR(fc_grid_mean_cells(1, 1000), 1, 0);
}

static void test_cells(void)
{
    fc_grid g = {.rows = 3, .cols = 2};
    float box[4];
    double area = 0;
    for (int i = 0; i < 6; i++) {
        fc_grid_cell(&g, i, box);
        area += ((double)box[2] - (double)box[0]) * ((double)box[3] - (double)box[1]);
        FC_CHECK_NEAR(box[0], (i % 2) / 2.0, 1e-7);
        FC_CHECK_NEAR(box[1], (i / 2) / 3.0, 1e-7);
    }
    FC_CHECK_NEAR(area, 1, 1e-6);
}

/* Crops cut here with the picture code alone. */
static void check_crop(fc_store *store, const fc_batch *b, int64_t r)
{
    int64_t image = b->image_index[b->region_image[r]];
    fc_picture picture;
    uint8_t want[3 * SIZE * SIZE];
    float box[4];
    FC_CHECK_OK(fc_store_picture(store, image, &picture));
    for (int k = 0; k < 4; k++) {
        box[k] = b->boxes[4 * r + k] * (float)(k % 2 == 0 ? picture.width : picture.height);
    }
    fc_rect from = fc_crop_rect(box, 1.0, picture.width, picture.height);
    FC_CHECK_OK(fc_resize(&picture, from, FC_BILINEAR, SIZE, SIZE, want));
    FC_CHECK(memcmp(want, b->crops + r * (int64_t)sizeof want, sizeof want) == 0);
    fc_picture_free(&picture);
}

static void check_batch(const char *path, int most)
{
    fc_store *store = NULL;
    FC_CHECK_OK(fc_store_open(&store, path));
    fc_loader_options o = {.seed = 4,
                           .count = IMAGES,
                           .image_size = SIZE,
                           .max_boxes = most,
                           .max_box_size = 1, /* annotated boxes: none, cells: no matter */
                           .need_regions = true,
                           .need_crops = true,
                           .grid_split = SPLIT,
                           .workers = 1,
                           .depth = 2};
    int64_t images[IMAGES] = {0, 1, 2, 3, 4, 5, 6}, shapes = 0, cells[2] = {0, 0};
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        fc_batch b;
        FC_CHECK_OK(fc_batch_build(&b, store, &o, 0, epoch, images, IMAGES));
        double area[IMAGES] = {0};
        int64_t count[IMAGES] = {0};
        for (int64_t r = 0; r < b.regions; r++) {
            const float *box = b.boxes + 4 * r;
            FC_CHECK_INT(b.region_index[r], -1);
            FC_CHECK(box[0] >= 0 && box[1] >= 0 && box[2] <= 1 && box[3] <= 1);
            FC_CHECK(box[2] > box[0] && box[3] > box[1]);
            area[b.region_image[r]] +=
                ((double)box[2] - (double)box[0]) * ((double)box[3] - (double)box[1]);
            count[b.region_image[r]]++;
            check_crop(store, &b, r);
        }
        for (int i = 0; i < IMAGES; i++) {
            FC_CHECK(count[i] >= 1 && count[i] <= most);
            FC_CHECK(count[i] == most || fabs(area[i] - 1) < 1e-5); /* all of a grid, or some */
            shapes += count[i] != count[0];
        }
        cells[epoch] = b.regions;
        FC_CHECK_INT(b.region_offsets[b.regions], 0);
        fc_batch_free(&b);
    }
    FC_CHECK(most == 1 || (shapes > 0 && cells[0] != cells[1]));
    fc_store_close(&store);
}

int main(void)
{
    fc_log_set_rank(1, 2); /* silent */
    test_draws();
    test_cells();
    maker m = {.images = IMAGES, .crops = true, .categories = true};
    const char *path = fc_check_temp("store.h5");
    make_store(path, &m);
    check_batch(path, MOST);
    check_batch(path, 4);
    cut(path, "regions");
    check_batch(path, MOST);
    return fc_check_end();
}
