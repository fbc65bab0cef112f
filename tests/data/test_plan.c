/* Annotation files: odd orders of keys, what is left out, captions by key, masks, and what is wrong
 * with which line. */
#include "core/memory.h"
#include "data/file.h"
#include "data/prepare/json_stream.h"
#include "data/prepare/prepare_parts.h"
#include "data/prepare/sources.h"
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

static const char *put(const char *name, const char *text)
{
    const char *path = fc_check_temp(name);
    FC_CHECK_OK(fci_file_write(path, (const uint8_t *)text, strlen(text)));
    return path;
}

static char folder[512]; /* of the scratch files */

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

/* A plan as a text: "ID NAME WxH MASK|captions ...|regions ..." a picture. */
typedef struct files {
    const char *captions, *instances, *panoptic, *region_captions, *detections;
    fci_plan_options options;
} files;

static fc_status make(const files *f, const char *path)
{
    static const uint8_t fingerprint[FC_HASH_BYTES] = "test";
    fci_plan_options options = f->options;
    fci_plan_builder *b;
    bool list = true;
    options.folder = folder;
    options.images = "pictures";
    options.memory = options.memory > 0 ? options.memory : 1 << 20;
    FC_TRY(fci_builder_create(&b, &options));
    fc_status status = FC_OK;
    if (f->captions != NULL && status == FC_OK) {
        status = fci_source_coco(b, FCI_COCO_CAPTIONS, f->captions, list, false);
        list = false;
    }
    if (f->instances != NULL && status == FC_OK) {
        status = fci_source_coco(b, FCI_COCO_INSTANCES, f->instances, list, f->panoptic == NULL);
        list = false;
    }
    if (f->panoptic != NULL && status == FC_OK) {
        if (f->instances != NULL) {
            fci_builder_stuff_only(b);
        }
        status = fci_source_coco(b, FCI_COCO_PANOPTIC, f->panoptic, list, true);
    }
    if (f->detections != NULL && status == FC_OK) {
        status = fci_source_detections(b, f->detections);
    }
    if (f->region_captions != NULL && status == FC_OK) {
        status = fci_source_region_captions(b, f->region_captions);
    }
    if (status == FC_OK) {
        status = fci_builder_finish(b, path, fingerprint);
    }
    fci_builder_destroy(&b);
    return status;
}

static fci_counts counts; /* of the plan described last */

static const char *describe(const files *f)
{
    static char text[4096];
    const char *path = fc_check_temp("plan");
    fci_plan plan;
    fci_bytes bytes = {0};
    fci_plan_image image = {0};
    bool same = false;
    char plan_path[512];
    snprintf(plan_path, sizeof plan_path, "%s", path);
    path = plan_path;
    *text = '\0';
    if (!FC_CHECK_OK(make(f, path)) ||
        !FC_CHECK_OK(fci_plan_open(&plan, path, (const uint8_t *)"another one.....", &same)) ||
        !FC_CHECK(!same) ||
        !FC_CHECK_OK(fci_plan_open(&plan, path, (const uint8_t[FC_HASH_BYTES]){"test"}, &same)) ||
        !FC_CHECK(same)) {
        return text;
    }
    FILE *out = fmemopen(text, sizeof text, "w");
    counts = plan.counts;
    for (int64_t i = 0; i < plan.categories; i++) {
        fprintf(out, "%s%s ", plan.category[i].name, plan.category[i].isthing ? "" : "(stuff)");
    }
    for (int64_t i = 0; i < plan.images; i++) {
        FC_CHECK_OK(fci_plan_read(&plan, i, 1, &bytes));
        fci_unpack u = {bytes.data, bytes.count, false};
        FC_CHECK_OK(fci_plan_image_unpack(&image, &u));
        FC_CHECK(u.left == 0);
        fprintf(out, "\n%lld %s %dx%d %s|", (long long)image.id, image.name, image.width,
                image.height, image.mask == NULL ? "-" : image.mask);
        for (int k = 0; k < image.captions; k++) {
            fprintf(out, "%s,", image.caption[k]);
        }
        fprintf(out, "|");
        for (int k = 0; k < image.regions; k++) {
            const fci_plan_region *r = &image.region[k];
            fprintf(out, "%g %g %g %g s%lld c%lld %g %s,", r->box[0], r->box[1], r->box[2],
                    r->box[3], (long long)r->segment, (long long)r->category, r->score,
                    r->caption == NULL ? "-" : r->caption);
        }
    }
    fclose(out);
    fci_plan_image_free(&image);
    fc_free(&bytes.data);
    fci_plan_close(&plan);
    return text;
}

static void orders_and_keys(void)
{
    static const char want[] =
        "two nine \n900100581904 b.jpg 0x0 -|two,|-3.7 0 2 2 s-1 c0 1 below zero,"
        "\n7 a_1.jpg 20x10 -|one,three,|1.9 2.2 3.99 4 s-1 c1 1 both,"
        "1.1 2 3.5 4.7 s-1 c0 0.25 both,"; /* two boxes may truncate to one key */
    char path[3][256];
    snprintf(path[0], sizeof path[0], "%s", put("captions.json", captions));
    snprintf(path[1], sizeof path[1], "%s", put("instances.json", instances));
    snprintf(path[2], sizeof path[2], "%s",
             put("regions.json",
                 "{\"a_1.jpg_1_2_3_4.jpg\": \"both\", \"b.jpg_-3_0_2_2.jpg\": \"below zero\", "
                 "\"a_1.jpg_0_0_5_5.jpg\": \"a crowd\", \"zz.jpg_1_2_3_4.jpg\": \"nobody\"}"));
    files f = {path[0], path[1], NULL, path[2], NULL, {0}};
    FC_CHECK_STR(describe(&f), want);
    f.options.memory = 1; /* every record is a run of its own on disk: nothing may depend on it */
    FC_CHECK_STR(describe(&f), want);
    FC_CHECK_INT(counts.of[FCI_COUNT_captions_read], 4);
    FC_CHECK_INT(counts.of[FCI_COUNT_captions_elsewhere], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_elsewhere], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_crowd], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_read], 5);
    FC_CHECK_INT(counts.of[FCI_COUNT_region_captions_read], 4);
    FC_CHECK_INT(counts.of[FCI_COUNT_region_captions_unused], 2);
    f.region_captions =
        put("regions.jsonl", "{\"key\": \"a_1_jpg_1_2_3_4\", \"caption\": \"first\"}\n"
                             "{\"image\": \"b.jpg\", \"bbox\": [-3.7, 0, 2, 2], \"text\": \" \"}\n"
                             "{\"key\": \"a_1_jpg_1_2_3_4\", \"caption\": \"last\", \"by\": 3}\n");
    f.options.drop_repeated = true;
    FC_CHECK(strstr(describe(&f), "1 -,\n") != NULL &&
             strstr(describe(&f), "c1 1 last,1.1") != NULL &&
             strstr(describe(&f), "0.25 -,") != NULL);
    FC_CHECK_INT(counts.of[FCI_COUNT_region_captions_unused], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_region_captions_empty], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_region_captions_repeated], 1);
}

/* By number and by name, with and without suffix; scores, overlaps, sizes, the best of a picture.
 */
static void proposals(void)
{
    char path[256];
    snprintf(path, sizeof path, "%s", put("captions.json", captions));
    files f = {
        .captions = path,
        .options = {
            .filter_regions = true,
            .proposals = {
                .min_score = 0.4, .nms_iou = 0.5, .min_side = 4, .max_side = 100, .max_boxes = 2}}};
    f.detections =
        put("found.jsonl",
            "{\"image_id\": 7, \"bbox\": [0, 0, 10, 10], \"score\": 0.5, \"category_id\": 3}\n"
            "{\"image_id\": \"a_1\", \"bbox\": [0, 0, 10, 8], \"score\": 0.9}\n"
            "{\"image_id\": \"a_1.jpg\", \"bbox\": [20, 0, 10, 10], \"score\": 0.7, \"caption\": "
            "\"c\"}\n"
            "{\"image_id\": 7, \"bbox\": [40, 0, 10, 10], \"score\": 0.6}\n"
            "{\"image_id\": 7, \"bbox\": [60, 0, 10, 10], \"score\": 0.39}\n"
            "{\"image_id\": 7, \"bbox\": [80, 0, 10, 3], \"score\": 0.8}\n"
            "{\"image_id\": 7, \"bbox\": [80, 0, 101, 30], \"score\": 0.8}\n"
            "{\"image_id\": \"zz\", \"bbox\": [80, 0, 10, 30], \"score\": 0.8}\n");
    FC_CHECK_STR(describe(&f), "\n900100581904 b.jpg 0x0 -|two,|"
                               "\n7 a_1.jpg 20x10 -|one,three,|0 0 10 8 s-1 c-1 0.9 -,"
                               "20 0 10 10 s-1 c-1 0.7 c,");
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_read], 8);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_suppressed], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_over_limit], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_low_score], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_too_small], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_too_large], 1);
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_elsewhere], 1);
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
    char path[2][256];
    snprintf(path[0], sizeof path[0], "%s", put("panoptic.json", panoptic));
    snprintf(path[1], sizeof path[1], "%s", put("instances.json", instances));
    files alone = {.panoptic = path[0]}, both = {.captions = put("captions.json", captions),
                                                 .instances = path[1],
                                                 .panoptic = path[0]};
    /* the thing keeps its annotated box */
    FC_CHECK_STR(describe(&alone), "cat two nine sky(stuff) \n7 a_1.jpg 0x0 a.png||"
                                   "1 2 3 4 s-1 c0 1 -,5 6 7 8 s70000 c3 1 -,");
    /* things of instances, stuff of panoptic */
    FC_CHECK_STR(describe(&both),
                 "cat two nine sky(stuff) \n900100581904 b.jpg 0x0 -|two,|-3.7 0 2 2 s-1 c1 1 -,"
                 "\n7 a_1.jpg 20x10 a.png|one,three,|1.9 2.2 3.99 4 s-1 c2 1 -,"
                 "1.1 2 3.5 4.7 s-1 c1 0.25 -,5 6 7 8 s70000 c3 1 -,");
    FC_CHECK_INT(counts.of[FCI_COUNT_regions_double], 1);
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
    files f = {.instances = put("bad.json", text)};
    FC_CHECK_FAILS(make(&f, fc_check_temp("plan")), FC_DATA, complaint);
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
    check_bad("{\"images\": [{\"id\": 4, \"file_name\": \"a\"}], \"categories\": [{\"id\": 1, "
              "\"name\": \"a\"}], \"annotations\": [{\"image_id\": "
              "4, \"bbox\": [1, 2, 3, 4], "
              "\"category_id\": 77}]}",
              "unknown category id 77");
    check_bad("{\"images\": [{\"id\": NaN}]}", "not JSON");
    check_bad("", "bad.json is empty");
    check_bad("[1]", "a list; want");
    char path[256];
    snprintf(path, sizeof path, "%s", put("instances.json", instances));
    files f = {.instances = path, .region_captions = put("r.json", "{\"a.jpg_1_2_3.jpg\": \"x\"}")};
    FC_CHECK_FAILS(make(&f, fc_check_temp("plan")), FC_DATA, "a.jpg_1_2_3.jpg");
    f.region_captions = put("r.json", "{\"a.jpg_1_2_3_4.jpg\": 5}");
    FC_CHECK_FAILS(make(&f, fc_check_temp("plan")), FC_DATA, "r.json:1");
    f.region_captions = put("r.json", "[1]");
    FC_CHECK_FAILS(make(&f, fc_check_temp("plan")), FC_DATA, "r.json:1");
    f.region_captions = NULL;
    f.detections = put("d.json", "[{\"image_id\": 7, \"bbox\": [1, 2, null, 3]}]");
    FC_CHECK_FAILS(make(&f, fc_check_temp("plan")), FC_DATA, "something else than numbers");
    f.detections =
        put("d.jsonl", "{\"image_id\": 7, \"bbox\": [1, 2, 3, 4]}\n{\"bbox\": [1, 2, 3, 4]}");
    FC_CHECK_FAILS(make(&f, fc_check_temp("plan")), FC_DATA, "d.jsonl:2: record 1 has no image_id");
    f.detections = put("d.jsonl", "{\"image_id\": 7, \"bbox\": [1, 2, 3, NaN]}");
    FC_CHECK_FAILS(make(&f, fc_check_temp("plan")), FC_DATA, "d.jsonl:1: not JSON");
    f.detections = put("d.json", "{\"annotations\": [{\"image_id\": 7}]}");
    FC_CHECK_FAILS(make(&f, fc_check_temp("plan")), FC_DATA, "record 0 has no image_id");
}

int main(void)
{
    snprintf(folder, sizeof folder, "%s", fc_check_temp("x"));
    *strrchr(folder, '/') = '\0';
    json();
    orders_and_keys();
    proposals();
    panoptic_files();
    segment_boxes();
    bad_files();
    return fc_check_end();
}
