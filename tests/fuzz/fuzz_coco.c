/* COCO's annotation files, form feeds between: captions, instances, panoptic, region captions;
 * empty parts are not given. */
#include "tests/fuzz/plan.h"

enum { PARTS = 4 };

static bool read_parts(fci_plan_builder *b, const char *const *path)
{
    static const fci_coco_kind kinds[] = {FCI_COCO_CAPTIONS, FCI_COCO_INSTANCES, FCI_COCO_PANOPTIC};
    bool list = true;
    for (int i = 0; i < 3; i++) {
        if (path[i] == NULL) {
            continue;
        }
        bool categories = kinds[i] == FCI_COCO_PANOPTIC || path[2] == NULL;
        if (kinds[i] == FCI_COCO_PANOPTIC && path[1] != NULL) {
            fci_builder_stuff_only(b);
        }
        if (!fuzz_ok(fci_source_coco(b, kinds[i], path[i], list, categories))) {
            return false;
        }
        list = false;
    }
    return path[3] == NULL || fuzz_ok(fci_source_region_captions(b, path[3]));
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
    fci_plan_builder *b = fuzz_builder(size % 2 == 0 ? 1 << 20 : 100);
    if (read_parts(b, path)) {
        fuzz_finish(b);
    }
    fci_builder_destroy(&b);
    return 0;
}
