/* Annotation files: odd orders of keys, what is left out, captions by key, masks, and what is wrong
 * with which line. */
#include "core/memory.h"
#include "data/coco.h"
#include "data/file.h"
#include "data/json_stream.h"
#include "data/prepare_parts.h"
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

static const char *put(const char *name, const char *text)
{
    const char *path = fc_check_temp(name);
    FC_CHECK_OK(fci_file_write(path, (const uint8_t *)text, strlen(text)));
    return path;
}

static fc_status log_event(void *ctx, const fci_json_event *e)
{
    static const char kinds[] = "(){snb0";
    char *to = (char *)ctx + strlen(ctx);
    const char *key = e->depth == 0 ? "" : e->keys[e->depth - 1];
    char index[24] = "";
    if (key == NULL) {
        snprintf(index, sizeof index, "%lld", (long long)e->index[e->depth - 1]);
    }
    char kind = e->kind == FCI_JSON_BEGIN ? '('
                : e->kind == FCI_JSON_END ? ')'
                                          : kinds[e->kind + 1];
    snprintf(to, 64, "%d%s%s%c ", e->depth, key == NULL ? "" : key, index, kind);
    if (e->kind == FCI_JSON_STRING && strcmp(e->text, "stop") == 0) {
        return FC_FAIL(FC_USAGE, "stopped");
    }
    return FC_OK;
}

static void json(void)
{
    char log[2048] = "";
    FC_CHECK_OK(fci_json_read(
        put("a.json", "{\"a\": [1, {\"b\": \"x\"}, [], 2.5], \"c\": null, \"d\": true}"), log_event,
        log));
    FC_CHECK_STR(log, "0( 1a( 20n 21( 3bs 21) 22( 22) 23n 1a) 1c0 1db 0) ");
    FC_CHECK_FAILS(fci_json_read(put("b.json", "{\"a\":\n\n 1,, }"), log_event, log), FC_DATA,
                   "b.json:3: not JSON");
    FC_CHECK_FAILS(fci_json_read(put("c.json", "{\"a\":\n[1"), log_event, log), FC_DATA,
                   "c.json:2: not JSON");
    FC_CHECK_FAILS(fci_json_read(put("d.json", "[\n\"stop\"]"), log_event, log), FC_USAGE,
                   "d.json:2: stopped");
    FC_CHECK_FAILS(
        fci_json_read(
            put("e.json",
                "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
            log_event, memset(log, 0, sizeof log)),
        FC_DATA, "nested deeper");
    FC_CHECK_FAILS(fci_json_read(fc_check_temp("none.json"), log_event, log), FC_NOINPUT,
                   "none.json");
}

static const char captions[] =
    "{\"annotations\": [{\"caption\": \"one\", \"image_id\": 7}, {\"image_id\": 900100581904, "
    "\"caption\": \"two\"},\n {\"image_id\": 7, \"caption\": \"three\"}, {\"image_id\": 1, "
    "\"caption\": \"lost\"}], \"images\": [{\"id\": 900100581904, \"file_name\": \"b.jpg\"},\n"
    "{\"file_name\": \"a_1.jpg\", \"width\": 20, \"height\": 10, \"id\": 7}]}";
static const char instances[] =
    "{\"images\": [{\"id\": 55, \"file_name\": \"z.jpg\"}], \"categories\": [{\"id\": 9, \"name\": "
    "\"nine\"}, "
    "{\"id\": 2, \"name\": \"two\"}], \"annotations\": [\n"
    "{\"image_id\": 7, \"bbox\": [1.9, 2.2, 3.99, 4], \"category_id\": 9, \"segmentation\": [[1, "
    "2, 3]], \"iscrowd\": 0},\n"
    "{\"image_id\": 7, \"bbox\": [0, 0, 5, 5], \"category_id\": 9, \"iscrowd\": 1, "
    "\"segmentation\": {\"counts\": [3]}},\n"
    "{\"image_id\": 7, \"bbox\": [1.1, 2, 3.5, 4.7], \"category_id\": 2, \"score\": 0.25},\n"
    "{\"image_id\": 3, \"bbox\": [1, 1, 1, 1], \"category_id\": 2},\n"
    "{\"image_id\": 900100581904, \"bbox\": [-3.7, 0, 2, 2], \"category_id\": 2}]}";

static void orders_and_keys(void)
{
    fci_coco c;
    char path[3][256];
    snprintf(path[0], sizeof path[0], "%s", put("captions.json", captions));
    snprintf(path[1], sizeof path[1], "%s", put("instances.json", instances));
    snprintf(path[2], sizeof path[2], "%s",
             put("regions.json",
                 "{\"a_1.jpg_1_2_3_4.jpg\": \"both\", \"b.jpg_-3_0_2_2.jpg\": \"below zero\", "
                 "\"a_1.jpg_0_0_5_5.jpg\": \"a crowd\", \"zz.jpg_1_2_3_4.jpg\": \"nobody\"}"));
    fci_coco_files files = {path[0], path[1], NULL, path[2]};
    if (!FC_CHECK_OK(fci_coco_read(&c, &files))) {
        return;
    }
    FC_CHECK(c.images == 2 && c.captions == 3 && c.regions == 3 && c.categories == 2);
    FC_CHECK(c.captions_elsewhere == 1 && c.regions_elsewhere == 1 && c.crowd == 1);
    FC_CHECK(c.region_captions == 4 && c.region_captions_unused == 2);
    FC_CHECK(c.image[0].id == INT64_C(900100581904) && c.image[0].width == 0 &&
             c.image[1].width == 20);
    FC_CHECK_STR(c.text + c.image[1].name, "a_1.jpg");
    FC_CHECK(c.caption_of[0] == 0 && c.caption_of[1] == 1 && c.caption_of[2] == 3);
    FC_CHECK_STR(c.text + c.caption[0].text, "two");
    FC_CHECK_STR(c.text + c.caption[1].text, "one");
    FC_CHECK_STR(c.text + c.caption[2].text, "three");
    FC_CHECK(c.region_of[1] == 1 && c.region_of[2] == 3);
    FC_CHECK_NEAR(c.region[0].box[0], -3.7, 0);
    FC_CHECK_STR(c.text + c.category[0].name, "two");
    FC_CHECK(c.region[1].category == 1 && c.region[2].category == 0);
    FC_CHECK_STR(c.text + c.region[0].text, "below zero");
    FC_CHECK_STR(c.text + c.region[1].text, "both"); /* two boxes may truncate to one key */
    FC_CHECK_STR(c.text + c.region[2].text, "both");
    FC_CHECK(c.has_scores);
    FC_CHECK_NEAR(c.region[2].score, 0.25, 0);
    FC_CHECK_NEAR(c.region[1].score, 1, 0);
    fci_coco_free(&c);
}

static const char panoptic[] = "{\"annotations\": [{\"segments_info\": [{\"id\": 300, "
                               "\"category_id\": 1, \"bbox\": [1, 2, 3, 4], \"iscrowd\": 1},\n"
                               "{\"id\": 70000, \"category_id\": 200, \"bbox\": [5, 6, 7, 8]}], "
                               "\"file_name\": \"a.png\", \"image_id\": 7}],\n"
                               "\"images\": [{\"id\": 7, \"file_name\": \"a_1.jpg\"}],\n"
                               "\"categories\": [{\"id\": 200, \"name\": \"sky\", \"isthing\": 0}, "
                               "{\"id\": 1, \"name\": \"cat\", \"isthing\": 1}, "
                               "{\"id\": 2, \"name\": \"two\", \"isthing\": 1}, {\"id\": 9, "
                               "\"name\": \"nine\", \"isthing\": 1}]}";

static void panoptic_files(void)
{
    fci_coco c;
    char path[2][256];
    snprintf(path[0], sizeof path[0], "%s", put("panoptic.json", panoptic));
    snprintf(path[1], sizeof path[1], "%s", put("instances.json", instances));
    fci_coco_files alone = {NULL, NULL, path[0], NULL},
                   both = {put("captions.json", captions), path[1], path[0], NULL};
    if (FC_CHECK_OK(fci_coco_read(&c, &alone))) {
        FC_CHECK(c.images == 1 && c.regions == 2 && c.categories == 4);
        FC_CHECK_STR(c.text + c.image[0].mask, "a.png");
        FC_CHECK(c.region[0].segment == -1 &&
                 c.region[0].category == 0); /* the thing keeps its annotated box */
        FC_CHECK(c.region[1].segment == 70000 && c.region[1].category == 3);
        FC_CHECK(!c.category[3].isthing && c.category[0].isthing);
        fci_coco_free(&c);
    }
    if (FC_CHECK_OK(fci_coco_read(&c, &both))) { /* things of instances, stuff of panoptic */
        FC_CHECK(c.images == 2 && c.regions == 4 && c.categories == 4);
        FC_CHECK(c.region[3].segment == 70000 && c.region[3].image == 1 &&
                 c.region[1].category == 2);
        fci_coco_free(&c);
    }
}

static void segment_boxes(void)
{
    /* 4 x 3: segment 70000 = (112, 17, 1) at (1,0) (2,1) (1,2); segment 300 = (44, 1, 0) at (3,2)
     */
    uint8_t rgb[36] = {0};
    const uint8_t many[3] = {112, 17, 1}, one[3] = {44, 1, 0};
    memcpy(rgb + 3 * 1, many, 3);
    memcpy(rgb + 3 * 6, many, 3);
    memcpy(rgb + 3 * 9, many, 3);
    memcpy(rgb + 3 * 11, one, 3);
    fc_picture mask = {.width = 4, .height = 3, .rgb = rgb};
    double box[4][4];
    const double want[4][4] = {{3, 2, 0, 0}, {1, 0, 1, 2}, {0, 0, -1, -1}, {0, 0, -1, -1}};
    fci_segment_boxes(&mask, 4, (const int64_t[4]){300, 70000, 5, -1}, box);
    for (int i = 0; i < 16; i++) {
        FC_CHECK_NEAR(box[i / 4][i % 4], want[i / 4][i % 4], 0);
    }
}

static void check_bad(const char *text, const char *complaint)
{
    fci_coco c;
    fci_coco_files files = {.instances = put("bad.json", text)};
    FC_CHECK_FAILS(fci_coco_read(&c, &files), FC_DATA, complaint);
    FC_CHECK(c.image == NULL && c.text == NULL);
}

static void bad_files(void)
{
    check_bad("{\"images\": [\n{\"id\": 1}]}", "bad.json:2: images 0 has no file_name");
    check_bad("{\"images\": [{\"file_name\": \"a\"}]}", "images 0 has no id");
    check_bad(
        "{\"images\": [{\"id\": 1, \"file_name\": \"a\"}, {\"id\": 1, \"file_name\": \"b\"}]}",
        "image id 1 occurs twice");
    check_bad("{\"annotations\": [{\"image_id\": 1, \"bbox\": [1, 2, 3]}]}",
              "annotations 0 has no bbox of four");
    check_bad("{\"annotations\": [{\"bbox\": [1, 2, 3, 4]}]}", "annotations 0 has no image_id");
    check_bad("{\"categories\": [{\"id\": 1, \"name\": \"a\"}, {\"id\": 1, \"name\": \"b\"}]}",
              "category id 1 occurs twice");
    check_bad("{\"categories\": [{\"id\": 1, \"name\": \"a\"}], \"annotations\": [{\"image_id\": "
              "4, \"bbox\": [1, 2, 3, 4], "
              "\"category_id\": 77}]}",
              "unknown category id 77");
    fci_coco c;
    char path[256];
    snprintf(path, sizeof path, "%s", put("instances.json", instances));
    fci_coco_files files = {.instances = path,
                            .region_captions = put("r.json", "{\"a.jpg_1_2_3.jpg\": \"x\"}")};
    FC_CHECK_FAILS(fci_coco_read(&c, &files), FC_DATA, "a.jpg_1_2_3.jpg");
    files.region_captions = put("r.json", "{\"a.jpg_1_2_3_4.jpg\": 5}");
    FC_CHECK_FAILS(fci_coco_read(&c, &files), FC_DATA, "r.json:1");
    files.region_captions = put("r.json", "[1]");
    FC_CHECK_FAILS(fci_coco_read(&c, &files), FC_DATA, "r.json:1");
}

int main(void)
{
    json();
    orders_and_keys();
    panoptic_files();
    segment_boxes();
    bad_files();
    return fc_check_end();
}
