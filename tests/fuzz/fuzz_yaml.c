/* YAML text: up to four parts, form feeds between: a document, one laid over it, an override, a
 * name to expand. What is written out again must be read as the same. */
#include "core/memory.h"
#include "core/yaml.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Every value by every reader. */
static void read_values(const fc_yaml *node)
{
    static const char *const words[] = {"auto", "none", NULL};
    bool truth;
    int64_t whole;
    double real;
    int word;
    (void)fuzz_ok(fc_yaml_bool(node, &truth));
    (void)fuzz_ok(fc_yaml_int(node, -1, 1000, &whole));
    (void)fuzz_ok(fc_yaml_real(node, 0, 1, &real));
    (void)fuzz_ok(fc_yaml_choice(node, words, &word));
    for (int i = 0; i < fc_yaml_size(node); i += 2) { /* the others stay unread */
        read_values(fc_yaml_item(node, i));
    }
}

static void write_and_read(const fc_yaml *root)
{
    char *text = NULL, *again_text = NULL;
    fc_yaml *again = NULL;
    FUZZ_CHECK(fuzz_ok(fc_yaml_emit(root, &text)));
    if (!fuzz_ok(fc_yaml_parse(&again, text, strlen(text), "again"))) {
        fuzz_finding("what was written is not read");
    }
    FUZZ_CHECK(fuzz_ok(fc_yaml_emit(again, &again_text)));
    FUZZ_CHECK(strcmp(text, again_text) == 0);
    fc_yaml_destroy(&again);
    fc_free(&text);
    fc_free(&again_text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    size_t bytes;
    char *text = fuzz_part(&in, &bytes);
    fc_yaml *root = NULL, *over = NULL;
    bool read = fuzz_ok(fc_yaml_parse(&root, text, bytes, "input"));
    FUZZ_CHECK(read == (root != NULL));
    fc_free(&text);
    text = fuzz_part(&in, &bytes);
    if (read && bytes > 0 && fuzz_ok(fc_yaml_parse(&over, text, bytes, "over"))) {
        (void)fuzz_ok(fc_yaml_merge(root, over));
    }
    fc_free(&text);
    text = fuzz_part(&in, &bytes);
    if (read && bytes > 0) {
        (void)fuzz_ok(fc_yaml_override(root, text));
    }
    fc_free(&text);
    text = fuzz_part(&in, &bytes);
    if (read) {
        (void)fuzz_ok(fc_yaml_expand(root, "name", text));
        read_values(root);
        (void)fuzz_ok(fc_yaml_check_unknown(root, NULL));
        write_and_read(root);
    }
    fc_free(&text);
    fc_yaml_destroy(&root);
    fc_yaml_destroy(&over);
    return 0;
}
