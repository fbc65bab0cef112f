/* The recipe of a store: every key, and whether the files it names are there. Nothing is made. */
#include "core/memory.h"
#include "data/prepare/prepare_parts.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fc_yaml *root = NULL;
    fci_recipe recipe;
    if (fuzz_ok(fc_yaml_parse(&root, (const char *)data, size, "input")) &&
        fuzz_ok(fci_recipe_read(&recipe, root))) {
        FUZZ_CHECK(recipe.output != NULL && recipe.vocabulary != NULL);
        (void)fuzz_ok(fc_yaml_check_unknown(root, NULL));
        for (int i = 0; i < recipe.prompts.count; i++) {
            char *sentence = fc_prompt_sentence(&recipe.prompts, i, "Traffic_Light/lamp.");
            fc_free(&sentence);
        }
        fci_recipe_free(&recipe);
    }
    fc_yaml_destroy(&root);
    return 0;
}
