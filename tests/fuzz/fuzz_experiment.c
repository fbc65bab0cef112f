/* An experiment (a model configuration in it) and command-line overrides, form feeds between. A
 * resolved configuration must be read as itself. */
#include "core/memory.h"
#include "launch/config/config.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { MOST_OVERRIDES = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    size_t bytes;
    char *overrides[MOST_OVERRIDES], *text = fuzz_part(&in, &bytes);
    const char *path = fuzz_file(0, (const uint8_t *)text, bytes);
    int count = 0;
    while (in.left > 0 && count < MOST_OVERRIDES) {
        overrides[count++] = fuzz_part(&in, NULL);
    }
    fc_config *config = NULL, *again = NULL;
    if (fuzz_ok(fc_config_load(&config, path, count, overrides))) {
        (void)fuzz_ok(fc_config_check(config, FC_FOR_TRAIN | FC_FOR_EVAL));
        char *resolved = fc_config_text(config);
        if (!fuzz_ok(fc_config_parse_text(&again, resolved, strlen(resolved), "resolved"))) {
            fuzz_finding("a resolved configuration is not read");
        }
        char *resolved_again = fc_config_text(again);
        FUZZ_CHECK(strcmp(resolved, resolved_again) == 0);
        fc_free(&resolved);
        fc_free(&resolved_again);
    }
    fc_config_destroy(&config);
    fc_config_destroy(&again);
    for (int i = 0; i < count; i++) {
        fc_free(&overrides[i]);
    }
    fc_free(&text);
    return 0;
}
