/* Token ids of CLIP's own tokenizer, Python's unescape, and damaged vocabularies. */
#include "core/memory.h"
#include "data/file.h"
#include "data/text/text_clean.h"
#include "data/text/tokenizer.h"
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void expand_escapes(char *s)
{
    char *to = s;
    for (; *s != '\0'; s++) {
        if (s[0] == '\\' && (s[1] == 't' || s[1] == 'n')) {
            *to++ = s[1] == 't' ? '\t' : '\n';
            s++;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

static void golden_tokens(const fc_tokenizer *t)
{
    uint8_t *bytes = NULL;
    size_t count;
    FC_CHECK_OK(fci_file_read(fc_check_golden("prepare/tokens.txt"), &bytes, &count));
    int lines = 0;
    char *save = NULL;
    for (char *line = strtok_r((char *)bytes, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char *text = strchr(line, '\t');
        *text++ = '\0';
        expand_escapes(text);
        int32_t ids[77];
        bool cut;
        int n = fc_tokenize(t, text, 77, ids, &cut), i = 0;
        bool same = true;
        for (char *p = line; *p != '\0'; i++) {
            long want = strtol(p, &p, 10);
            same = same && i < n && ids[i] == want;
        }
        fc_check_true(same && i == n && (!cut || n == 77), __FILE__, __LINE__, "tokens of \"%s\"",
                      text);
        lines++;
    }
    FC_CHECK_INT(lines, 140);
    fc_free(&bytes);
}

static void golden_unescape(void)
{
    uint8_t *bytes = NULL;
    size_t count;
    FC_CHECK_OK(fci_file_read(fc_check_golden("prepare/unescape.txt"), &bytes, &count));
    int lines = 0;
    char *p = (char *)bytes;
    while (*p != '\0') {
        char *tab = strchr(p, '\t'), *end = strchr(tab, '\n');
        *tab = '\0';
        *end = '\0';
        char *got = fci_html_unescape(p);
        FC_CHECK_STR(got, tab + 1);
        fc_free(&got);
        p = end + 1;
        lines++;
    }
    FC_CHECK(lines > 300);
    fc_free(&bytes);
}

static void check_clean(const char *text, const char *want)
{
    char *got = fci_text_clean(text);
    FC_CHECK_STR(got, want);
    fc_free(&got);
}

static void cleaning(void)
{
    check_clean("", "");
    check_clean(" \t\n\x0b\x1f ", "");
    check_clean("  A  B\xc2\xa0\xe3\x80\x80 C ", "a b c");
    check_clean("&amp;lt;B&gt;", "<b>");
    check_clean("bad \xff\xc3 end", "bad \xef\xbf\xbd\xef\xbf\xbd end");
    check_clean("\xc4\xb0", "i\xcc\x87");                /* I with dot -> i and a combining dot */
    check_clean("\xce\x9f\xce\xa3", "\xce\xbf\xcf\x82"); /* final sigma */
    check_clean("\xe1\xba\x9e", "\xc3\x9f");
}

static void ids_and_limits(const fc_tokenizer *t)
{
    int32_t ids[8];
    bool cut;
    FC_CHECK_INT(fc_tokenizer_vocab_size(t), 49408);
    FC_CHECK_INT(fc_tokenize(t, "", 2, ids, &cut), 2);
    FC_CHECK(ids[0] == 49406 && ids[1] == 49407 && !cut);
    FC_CHECK_INT(fc_tokenize(t, "a dog", 8, ids, &cut), 4);
    FC_CHECK(ids[0] == 49406 && ids[1] == 320 && ids[3] == 49407 && !cut);
    FC_CHECK_INT(fc_tokenize(t, "a dog", 4, ids, &cut), 4);
    FC_CHECK(ids[3] == 49407 && !cut);
    FC_CHECK_INT(fc_tokenize(t, "a dog", 3, ids, &cut), 3);
    FC_CHECK(ids[1] == 320 && ids[2] == 49407 && cut);
    FC_CHECK_INT(fc_tokenize(t, "<|EndOfText|><|startoftext|>", 8, ids, NULL), 4);
    FC_CHECK(ids[1] == 49407 && ids[2] == 49406);
    int n = fc_tokenize(t, "A Dog's \xe2\x82\xac", 8, ids, NULL);
    char *text = fc_detokenize(t, ids, n);
    FC_CHECK_STR(text, "a dog 's \xe2\x82\xac");
    fc_free(&text);
}

static void check_vocabulary(const char *lines, const char *complaint)
{
    const char *path = fc_check_temp("vocabulary.txt");
    fc_tokenizer *t = NULL;
    FC_CHECK_OK(fci_file_write(path, (const uint8_t *)lines, strlen(lines)));
    FC_CHECK_FAILS(fc_tokenizer_create(&t, path), FC_DATA, complaint);
    FC_CHECK(t == NULL);
}

static void bad_vocabularies(void)
{
    fc_tokenizer *t = NULL;
    FC_CHECK_FAILS(fc_tokenizer_create(&t, fc_check_temp("none.gz")), FC_NOINPUT,
                   "OpenAI's CLIP repository");
    check_vocabulary("", ":1: the file ends too early");
    check_vocabulary("header\ni n\n", ":3: the file ends too early");
    check_vocabulary("header\ni n\ni n\n", ":3: this token occurs twice");
    check_vocabulary("header\nin g\n", ":2: a token that no earlier line made");
    check_vocabulary("header\nin\n", ":2: not two tokens");
    check_vocabulary("header\n\xe6\x97\xa5 g\n", ":2: not two tokens");
}

/* Merging takes time by the square of a word's length: megabytes of letters must not take minutes.
 */
static void endless_word(const fc_tokenizer *t)
{
    enum { LETTERS = 1 << 22, ROOM = 77 };
    char *text = fc_alloc(LETTERS + 1, 1);
    uint32_t random = 1;
    for (int i = 0; i < LETTERS; i++) {
        random = random * 1664525 + 1013904223;
        text[i] = (char)('a' + (random >> 16) % 26);
    }
    int32_t ids[ROOM];
    bool cut = false;
    clock_t start = clock(); /* of the processor: the machine may be busy */
    FC_CHECK_INT(fc_tokenize(t, text, ROOM, ids, &cut), ROOM);
    FC_CHECK(cut);
    FC_CHECK((double)(clock() - start) / CLOCKS_PER_SEC < 30);
    fc_free(&text);
}

int main(void)
{
    fc_tokenizer *t = NULL;
    if (FC_CHECK_OK(fc_tokenizer_create(&t, fc_check_golden("prepare/bpe_vocab_48895.txt.gz")))) {
        golden_tokens(t);
        ids_and_limits(t);
        endless_word(t);
    }
    fc_tokenizer_destroy(&t);
    golden_unescape();
    cleaning();
    bad_vocabularies();
    return fc_check_end();
}
