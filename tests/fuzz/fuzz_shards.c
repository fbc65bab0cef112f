/* A webdataset shard. */
#include "tests/fuzz/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *path = fc_strdup(fuzz_file(0, data, size));
    fci_plan_builder *b = fuzz_builder(1 << 20);
    if (fuzz_ok(fci_source_shards(b, &path, 1))) {
        fuzz_finish(b);
    }
    fci_builder_destroy(&b);
    fc_free(&path);
    return 0;
}
