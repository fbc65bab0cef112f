/* A file of prompt templates, then, behind a form feed, a category's name. */
#include "core/memory.h"
#include "data/prepare/prompts.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    size_t bytes;
    char *text = fuzz_part(&in, &bytes), *name = fuzz_part(&in, NULL);
    fc_prompts prompts;
    if (fuzz_ok(fc_prompts_read(&prompts, fuzz_file(0, (const uint8_t *)text, bytes)))) {
        FUZZ_CHECK(prompts.count > 0);
        for (int i = 0; i < prompts.count; i++) {
            char *sentence = fc_prompt_sentence(&prompts, i, name);
            fc_free(&sentence);
        }
        fc_prompts_free(&prompts);
    }
    fc_free(&text);
    fc_free(&name);
    return 0;
}
