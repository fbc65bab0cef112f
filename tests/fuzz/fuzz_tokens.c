/* A caption through both tokenizers. First byte: the longest row. */
#include "core/memory.h"
#include "data/scenes/scenes.h"
#include "data/text/text_clean.h"
#include "data/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include <unistr.h>

static const fc_tokenizer *tokenizer(void)
{
    static fc_tokenizer *t;
    if (t == NULL && !fuzz_ok(fc_tokenizer_create(
                         &t, FUZZ_SOURCE "/tests/golden/prepare/bpe_vocab_48895.txt.gz"))) {
        fuzz_finding("no vocabulary");
    }
    return t;
}

static void check_row(const int32_t *ids, int count, int max, int vocab)
{
    FUZZ_CHECK(count >= 2 && count <= max);
    for (int i = 0; i < count; i++) {
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < vocab);
    }
    FUZZ_CHECK(ids[count - 1] == vocab - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    int max = 2 + fuzz_u8(&in), count;
    char *text = fc_alloc(in.left + 1, 1);
    if (in.left > 0) {
        memcpy(text, in.at, in.left);
    }
    char *clean = fci_text_clean(text);
    FUZZ_CHECK(u8_check((const uint8_t *)clean, strlen(clean)) == NULL);
    int32_t *ids = fc_alloc((size_t)max, sizeof *ids);
    bool cut;
    count = fc_tokenize(tokenizer(), text, max, ids, &cut);
    check_row(ids, count, max, fc_tokenizer_vocab_size(tokenizer()));
    FUZZ_CHECK(!cut || count == max);
    char *back = fc_detokenize(tokenizer(), ids, count);
    count = fc_scene_tokenize(text, max, ids);
    check_row(ids, count, max, fc_scene_vocab_size());
    fc_free(&back);
    fc_free(&ids);
    fc_free(&clean);
    fc_free(&text);
    return 0;
}
