/* A model configuration by itself, and what it would cost. */
#include "models/estimate.h"
#include "models/model_config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fc_yaml *root = NULL;
    fc_model_config config;
    if (fuzz_ok(fc_yaml_parse(&root, (const char *)data, size, "input")) &&
        fuzz_ok(fc_model_config_read(&config, root))) {
        FUZZ_CHECK(config.vision.width % config.vision.head_width == 0);
        FUZZ_CHECK(config.text.width % config.text.heads == 0);
        const fc_clip_work work = {.sequences = 8,
                                   .dense_count = 2,
                                   .text_rows = 8,
                                   .text_tokens = 8 * config.text.context_length};
        fc_clip_cost cost;
        fc_clip_estimate(&cost, &config, config.vision.image_size, &work);
        FUZZ_CHECK(cost.parameters > 0);
    }
    fc_yaml_destroy(&root);
    return 0;
}
