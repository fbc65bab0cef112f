/* COCO's annotation files, form feeds between: captions, instances, panoptic, region captions;
 * empty parts are not given. */
#include "core/memory.h"
#include "data/coco.h"
#include "tests/fuzz/fuzz.h"

enum { PARTS = 4 };

static void check(const fci_coco *c)
{
    for (int64_t i = 0; i < c->images; i++) {
        FUZZ_CHECK(c->caption_of[i] <= c->caption_of[i + 1]);
        FUZZ_CHECK(c->region_of[i] <= c->region_of[i + 1]);
    }
    FUZZ_CHECK(c->caption_of[c->images] == c->captions && c->region_of[c->images] == c->regions);
    for (int64_t i = 0; i < c->regions; i++) {
        FUZZ_CHECK(c->region[i].category >= -1 && c->region[i].category < c->categories);
        FUZZ_CHECK(c->region[i].image >= 0 && c->region[i].image < c->images);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    const char *path[PARTS] = {NULL};
    for (int i = 0; i < PARTS; i++) {
        size_t bytes;
        char *part = fuzz_part(&in, &bytes);
        path[i] = bytes > 0 ? fuzz_file(i, (const uint8_t *)part, bytes) : NULL;
        fc_free(&part);
    }
    if (path[0] == NULL && path[1] == NULL && path[2] == NULL) {
        return 0;
    }
    const fci_coco_files files = {path[0], path[1], path[2], path[3]};
    fci_coco coco;
    if (fuzz_ok(fci_coco_read(&coco, &files))) {
        check(&coco);
        fci_coco_free(&coco);
    }
    return 0;
}
