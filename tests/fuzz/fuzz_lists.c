/* Lists and records, by the first byte: retrieval, Karpathy's, detections, captions of pictures,
 * captions of regions. The last three go with pictures of a fixed list. */
#include "tests/fuzz/plan.h"

static bool add_pictures(fci_plan_builder *b)
{
    static const char *const names[] = {"1.jpg", "2.png", "a/3.jpeg"};
    for (int i = 0; i < 3; i++) {
        const fci_listed picture = {.name = names[i], .bytes = -1};
        if (!fuzz_ok(fci_builder_picture(b, &picture))) {
            return false;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const char *path = fuzz_file(0, data + 1, size - 1);
    fci_plan_builder *b = fuzz_builder(size % 2 == 0 ? 1 << 20 : 100);
    bool good = false;
    switch (data[0] % 5) {
    case 0:
        good = fuzz_ok(fci_source_retrieval(b, path));
        break;
    case 1:
        good = fuzz_ok(fci_source_karpathy(b, path, "test+val"));
        break;
    case 2:
        good = add_pictures(b) && fuzz_ok(fci_source_detections(b, path));
        break;
    case 3:
        good = add_pictures(b) && fuzz_ok(fci_source_caption_records(b, path));
        break;
    default:
        good = add_pictures(b) && fuzz_ok(fci_source_region_captions(b, path));
        break;
    }
    if (good) {
        fuzz_finish(b);
    }
    fci_builder_destroy(&b);
    return 0;
}
