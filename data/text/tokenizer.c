/* Byte-pair encoding over ids instead of strings: a merge is a pair of ids with a rank, and the
 * merged token's id is known when the vocabulary is read. Ids (METHOD.md section 2b): 256 bytes,
 * 256 bytes that end a word, merges in file order, start, end. */
#include "data/text/tokenizer.h"

#include "core/memory.h"
#include "data/text/text_clean.h"
#include "data/text/vocabulary.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct fc_tokenizer {
    fci_vocabulary words;
    pcre2_code *pattern;
};

static const char pattern_text[] = "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|"
                                   "\\p{L}+|\\p{N}|[^\\s\\p{L}\\p{N}]+";

static fc_status compile_pattern(pcre2_code **out)
{
    int code;
    size_t at;
    *out = pcre2_compile((PCRE2_SPTR)pattern_text, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS | PCRE2_NO_UTF_CHECK, &code, &at,
                         NULL);
    if (*out == NULL) {
        PCRE2_UCHAR text[256];
        pcre2_get_error_message(code, text, sizeof text);
        return FC_FAIL(FC_BUG, "the tokenizer's pattern does not compile: %s at %zu",
                       (const char *)text, at);
    }
    /* Where machine code is not allowed PCRE2 interprets the pattern: slower, the same result. */
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
    return FC_OK;
}

fc_status fc_tokenizer_create(fc_tokenizer **out, const char *path)
{
    fc_tokenizer *t = fc_alloc(1, sizeof *t);
    fc_status status;
    FC_TRY_GOTO(status, fci_vocabulary_read(&t->words, path), done);
    FC_TRY_GOTO(status, compile_pattern(&t->pattern), done);
done:
    if (status != FC_OK) {
        fc_tokenizer_destroy(&t);
    }
    *out = t;
    return status;
}

void fc_tokenizer_destroy(fc_tokenizer **t)
{
    if (*t != NULL) {
        pcre2_code_free((*t)->pattern);
        fci_vocabulary_free(&(*t)->words);
    }
    fc_free(t);
}

int fc_tokenizer_vocab_size(const fc_tokenizer *t)
{
    return t->words.count + 2;
}

/* Merge pairs of lowest rank until none is left; returns how many ids remain. */
static size_t merge(const fci_vocabulary *words, int32_t *ids, size_t count)
{
    while (count > 1) {
        int32_t best = INT32_MAX, left = 0, right = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            int32_t merged = fci_vocabulary_merge(words, ids[i], ids[i + 1]);
            if (merged >= 0 && merged < best) { /* ids of merged tokens ascend with rank */
                best = merged;
                left = ids[i];
                right = ids[i + 1];
            }
        }
        if (best == INT32_MAX) {
            break;
        }
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            bool pair = i + 1 < count && ids[i] == left && ids[i + 1] == right;
            ids[kept++] = pair ? best : ids[i];
            i += pair;
        }
        count = kept;
    }
    return count;
}

/* Row being built: ids beyond `max` are counted and forgotten. */
typedef struct row {
    int32_t *ids;
    int count, max;
    bool cut;
} row;

static void push(row *r, int32_t id)
{
    if (r->count < r->max) {
        r->ids[r->count++] = id;
    } else {
        r->cut = true;
    }
}

static bool is_piece(const uint8_t *piece, size_t bytes, const char *word)
{
    return bytes == strlen(word) && memcmp(piece, word, bytes) == 0;
}

static void encode_piece(const fc_tokenizer *t, const uint8_t *piece, size_t bytes, row *r)
{
    enum { USUAL = 64, LONGEST = 1 << 14 };
    if (is_piece(piece, bytes, "<|startoftext|>") || is_piece(piece, bytes, "<|endoftext|>")) {
        push(r, t->words.count + (piece[2] == 'e'));
        return;
    }
    if (bytes >
        LONGEST) { /* no word: merging takes time by the square, and the row is full anyway */
        bytes = LONGEST;
        r->cut = true;
    }
    int32_t usual[USUAL];
    int32_t *ids = bytes <= USUAL ? usual : fc_alloc(bytes, sizeof *ids);
    for (size_t i = 0; i < bytes; i++) {
        ids[i] = t->words.byte_id[piece[i]] + (i + 1 == bytes ? 256 : 0);
    }
    size_t count = merge(&t->words, ids, bytes);
    for (size_t i = 0; i < count; i++) {
        push(r, ids[i]);
    }
    if (ids != usual) {
        fc_free(&ids);
    }
}

int fc_tokenize(const fc_tokenizer *t, const char *text, int max, int32_t *ids, bool *cut)
{
    FC_ASSERT(max >= 2);
    int32_t end = t->words.count + 1;
    row r = {.ids = ids, .max = max};
    push(&r, t->words.count);
    char *clean = fci_text_clean(text);
    size_t bytes = strlen(clean), at = 0;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    FC_ASSERT(match != NULL);
    const size_t *span = pcre2_get_ovector_pointer(match);
    while (at < bytes && !r.cut &&
           pcre2_match(t->pattern, (PCRE2_SPTR)clean, bytes, at, PCRE2_NO_UTF_CHECK, match, NULL) >
               0) {
        encode_piece(t, (const uint8_t *)clean + span[0], span[1] - span[0], &r);
        at = span[1];
    }
    pcre2_match_data_free(match);
    fc_free(&clean);
    push(&r, end);
    ids[r.count - 1] = end;
    if (cut != NULL) {
        *cut = r.cut;
    }
    return r.count;
}

char *fc_detokenize(const fc_tokenizer *t, const int32_t *ids, int count)
{
    size_t room = 1;
    for (int i = 0; i < count; i++) {
        room += ids[i] >= 0 && ids[i] < t->words.count
                    ? t->words.start[ids[i] + 1] - t->words.start[ids[i]]
                    : 0;
    }
    char *text = fc_alloc(room, 1);
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= t->words.count) {
            continue; /* start and end ids, and what is not of this vocabulary */
        }
        size_t from = t->words.start[ids[i]], last = t->words.start[ids[i] + 1] - 1;
        memcpy(text + n, t->words.pool + from, last - from);
        n += last - from;
        if (t->words.pool[last] != 0) {
            text[n++] = ' ';
        }
    }
    while (n > 0 && text[n - 1] == ' ') {
        n--;
    }
    text[n] = '\0';
    return text;
}
