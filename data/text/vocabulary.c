#include "data/text/vocabulary.h"

#include "core/memory.h"
#include "core/paths.h"

#include <errno.h>
#include <string.h>

#include <unistr.h>
#include <zlib.h>

enum { MERGES = 48894, TOKENS = 512 + MERGES, SLOTS = 1 << 17, LINE_BYTES = 1024 };

/* While reading: tokens by their bytes (with the end-of-word byte), open addressing, -1: free. */
typedef struct reading {
    fci_vocabulary *v;
    const char *path;
    int line;
    size_t room;
    int32_t *by_text;
    int16_t byte_of[512]; /* code point -> byte; -1: not a byte character */
} reading;

static uint32_t text_slot(const uint8_t *text, size_t bytes)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) {
        h = (h ^ text[i]) * 0x100000001b3u;
    }
    return (uint32_t)(h >> 32 ^ h) & (SLOTS - 1);
}

/* The slot that holds the text, or the free one where it belongs. */
static int32_t *find(const reading *r, const uint8_t *text, size_t bytes)
{
    for (uint32_t i = text_slot(text, bytes);; i = (i + 1) & (SLOTS - 1)) {
        int32_t id = r->by_text[i];
        if (id < 0) {
            return &r->by_text[i];
        }
        size_t from = r->v->start[id], n = r->v->start[id + 1] - from;
        if (n == bytes && memcmp(r->v->pool + from, text, n) == 0) {
            return &r->by_text[i];
        }
    }
}

static fc_status bad_line(const reading *r, const char *what)
{
    return FC_FAIL(FC_DATA, "%s:%d: %s (is this CLIP's bpe_simple_vocab_16e6.txt.gz?)", r->path,
                   r->line, what);
}

static fc_status add(reading *r, const uint8_t *text, size_t bytes)
{
    fci_vocabulary *v = r->v;
    int32_t *slot = find(r, text, bytes);
    if (*slot >= 0) {
        return bad_line(r, "this token occurs twice");
    }
    size_t from = v->start[v->count];
    if (from + bytes > r->room) {
        r->room = 2 * r->room + bytes;
        v->pool = fc_realloc(v->pool, r->room, 1);
    }
    memcpy(v->pool + from, text, bytes);
    *slot = v->count++;
    v->start[v->count] = (uint32_t)(from + bytes);
    return FC_OK;
}

/* Bytes that print stand for themselves; the others get the characters from U+0100 on (GPT-2's
 * table). */
static fc_status add_bytes(reading *r)
{
    memset(r->byte_of, -1, sizeof r->byte_of);
    int next = 0, others = 256;
    for (int pass = 0; pass < 2; pass++) {
        for (int b = 0; b < 256; b++) {
            bool prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
            if (prints == (pass == 0)) {
                r->v->byte_id[b] = next++;
                r->byte_of[prints ? b : others++] = (int16_t)b;
            }
        }
    }
    for (uint8_t ends = 0; ends < 2; ends++) {
        for (int id = 0; id < 256; id++) {
            uint8_t text[2] = {0, ends};
            while (r->v->byte_id[text[0]] != id) {
                text[0]++;
            }
            FC_TRY(add(r, text, 2));
        }
    }
    return FC_OK;
}

/* One half of a line in byte characters -> bytes and the end-of-word byte. 0 where it is none. */
static size_t parse_half(const reading *r, const char *half, size_t bytes, uint8_t *out)
{
    static const char end[4] = "</w>";
    bool ends = bytes > sizeof end && memcmp(half + bytes - sizeof end, end, sizeof end) == 0;
    size_t left = bytes - (ends ? sizeof end : 0), n = 0;
    const uint8_t *p = (const uint8_t *)half;
    while (left > 0) {
        ucs4_t c;
        int used = u8_mbtouc(&c, p, left);
        if (c >= 512 || r->byte_of[c] < 0) {
            return 0;
        }
        out[n++] = (uint8_t)r->byte_of[c];
        p += used;
        left -= (size_t)used;
    }
    out[n++] = ends;
    return n > 1 ? n : 0;
}

static fc_status add_merge(reading *r, const char *line)
{
    fci_vocabulary *v = r->v;
    const char *blank = strchr(line, ' ');
    if (blank == NULL) {
        return bad_line(r, "not two tokens");
    }
    uint8_t left[LINE_BYTES], right[LINE_BYTES], both[2 * LINE_BYTES];
    size_t n = parse_half(r, line, (size_t)(blank - line), left);
    size_t m = parse_half(r, blank + 1, strlen(blank + 1), right);
    if (n == 0 || m == 0 || left[n - 1] != 0) {
        return bad_line(r, "not two tokens");
    }
    int32_t a = *find(r, left, n), b = *find(r, right, m);
    if (a < 0 || b < 0) {
        return bad_line(r, "a token that no earlier line made");
    }
    memcpy(both, left, n - 1);
    memcpy(both + n - 1, right, m);
    int32_t id = v->count;
    FC_TRY(add(r, both, n - 1 + m));
    uint64_t pair = (uint64_t)a << 32 | (uint32_t)b;
    uint32_t i = fci_vocabulary_slot(pair, v->merge_mask);
    while (v->merges[i].pair != UINT64_MAX) {
        i = (i + 1) & v->merge_mask;
    }
    v->merges[i] = (struct fci_merge){pair, id};
    return FC_OK;
}

static fc_status read_lines(reading *r, gzFile file)
{
    char line[LINE_BYTES];
    for (r->line = 1; r->line <= 1 + MERGES; r->line++) {
        if (gzgets(file, line, sizeof line) == NULL) {
            return bad_line(r, "the file ends too early");
        }
        size_t n = strlen(line);
        if (n == 0 || line[n - 1] != '\n') {
            if (!gzeof(file)) {
                return bad_line(r, "not a line of text");
            }
        } else {
            line[n - 1] = '\0';
        }
        if (r->line > 1) { /* the first line is a header */
            FC_TRY(add_merge(r, line));
        }
    }
    return FC_OK;
}

fc_status fci_vocabulary_read(fci_vocabulary *v, const char *path)
{
    *v = (fci_vocabulary){.merge_mask = SLOTS - 1};
    errno = 0;
    gzFile file = fc_path_is_file(path) ? gzopen(path, "rb") : NULL;
    if (file == NULL) {
        return FC_FAIL(FC_NOINPUT,
                       "%s: %s: this is CLIP's vocabulary, bpe_simple_vocab_16e6.txt.gz from "
                       "OpenAI's CLIP repository",
                       path, errno != 0 ? strerror(errno) : "not a file that can be opened");
    }
    v->start = fc_alloc(TOKENS + 1, sizeof *v->start);
    v->merges = fc_alloc(SLOTS, sizeof *v->merges);
    reading r = {.v = v, .path = path, .by_text = fc_alloc(SLOTS, sizeof *r.by_text)};
    for (int i = 0; i < SLOTS; i++) {
        v->merges[i].pair = UINT64_MAX;
        r.by_text[i] = -1;
    }
    fc_status status;
    FC_TRY_GOTO(status, add_bytes(&r), done);
    FC_TRY_GOTO(status, read_lines(&r, file), done);
done:
    gzclose(file);
    fc_free(&r.by_text);
    if (status != FC_OK) {
        fci_vocabulary_free(v);
    }
    return status;
}

void fci_vocabulary_free(fci_vocabulary *v)
{
    fc_free(&v->start);
    fc_free(&v->pool);
    fc_free(&v->merges);
}
