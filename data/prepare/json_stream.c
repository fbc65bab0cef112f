#include "data/prepare/json_stream.h"

#include "core/memory.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_parse.h>

enum { CHUNK = 1 << 20 };

typedef struct stream {
    fci_json_handler handler;
    void *ctx;
    fc_status status; /* of the handler */
    bool too_deep;
    fci_json_event event;
    bool in_object[FCI_JSON_DEPTH]; /* kind of the container at each depth */
    char *key[FCI_JSON_DEPTH];      /* owned, reused */
    size_t key_room[FCI_JSON_DEPTH];
    char *text; /* owned, reused */
    size_t text_room;
} stream;

static char *keep(char **buffer, size_t *room, const unsigned char *bytes, size_t count)
{
    if (count + 1 > *room) {
        *room = 2 * *room + count + 1;
        *buffer = fc_realloc(*buffer, *room, 1);
    }
    memcpy(*buffer, bytes, count);
    (*buffer)[count] = '\0';
    return *buffer;
}

static int tell(stream *s, fci_json_kind kind)
{
    s->event.kind = kind;
    s->status = s->handler(s->ctx, &s->event);
    return s->status == FC_OK;
}

/* A value is complete: the next one in this array has the next number. */
static void advance(stream *s)
{
    int d = s->event.depth;
    s->event.document += d == 0;
    if (d > 0 && !s->in_object[d - 1]) {
        s->event.index[d - 1]++;
    }
}

static int scalar(stream *s, fci_json_kind kind)
{
    int go_on = tell(s, kind);
    advance(s);
    return go_on;
}

static int on_null(void *ctx)
{
    return scalar(ctx, FCI_JSON_NULL);
}

static int on_bool(void *ctx, int value)
{
    stream *s = ctx;
    s->event.number = value != 0;
    s->event.integer = value != 0;
    return scalar(s, FCI_JSON_BOOL);
}

static int on_number(void *ctx, const char *digits, size_t count)
{
    stream *s = ctx;
    const char *text = keep(&s->text, &s->text_room, (const unsigned char *)digits, count);
    s->event.number = strtod(text, NULL);
    if (strpbrk(text, ".eE") == NULL) {
        s->event.integer = strtoll(text, NULL, 10);
    } else {
        s->event.integer = (int64_t)fmin(fmax(s->event.number, -9e18), 9e18);
    }
    return scalar(s, FCI_JSON_NUMBER);
}

static int on_string(void *ctx, const unsigned char *bytes, size_t count)
{
    stream *s = ctx;
    s->event.text = keep(&s->text, &s->text_room, bytes, count);
    int go_on = scalar(s, FCI_JSON_STRING);
    s->event.text = NULL;
    return go_on;
}

static int begin(stream *s, bool object)
{
    int go_on = tell(s, FCI_JSON_BEGIN), d = s->event.depth;
    if (go_on && d == FCI_JSON_DEPTH) {
        s->too_deep = true;
        return 0;
    }
    if (go_on) {
        s->in_object[d] = object;
        s->event.keys[d] = NULL;
        s->event.index[d] = 0;
        s->event.depth++;
    }
    return go_on;
}

static int end(stream *s)
{
    s->event.depth--;
    int go_on = tell(s, FCI_JSON_END);
    advance(s);
    return go_on;
}

static int on_begin_object(void *ctx)
{
    return begin(ctx, true);
}

static int on_begin_array(void *ctx)
{
    return begin(ctx, false);
}

static int on_key(void *ctx, const unsigned char *bytes, size_t count)
{
    stream *s = ctx;
    int d = s->event.depth - 1;
    s->event.keys[d] = keep(&s->key[d], &s->key_room[d], bytes, count);
    return 1;
}

static int on_end(void *ctx)
{
    return end(ctx);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_bool,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_begin_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_begin_array,
    .yajl_end_array = on_end,
};

/* What stopped the parser, with file and line. */
static fc_status complain(stream *s, yajl_handle parser, const char *path, int64_t lines,
                          const uint8_t *chunk, size_t count)
{
    size_t used = yajl_get_bytes_consumed(parser);
    for (size_t i = 0; i < used && i < count; i++) {
        lines += chunk[i] == '\n';
    }
    char why[512];
    fc_status status = FC_DATA;
    if (s->status != FC_OK) {
        status = s->status;
        snprintf(why, sizeof why, "%s", fc_error_message());
    } else if (s->too_deep) {
        snprintf(why, sizeof why, "nested deeper than %d", FCI_JSON_DEPTH);
    } else {
        unsigned char *text = yajl_get_error(parser, 0, chunk, count);
        snprintf(why, sizeof why, "not JSON: %s", (const char *)text);
        yajl_free_error(parser, text);
        why[strcspn(why, "\n")] = '\0';
    }
    return FC_FAIL(status, "%s:%lld: %s", path, (long long)lines, why);
}

static fc_status parse(stream *s, yajl_handle parser, const char *path, FILE *file, uint8_t *chunk)
{
    int64_t lines = 1;
    size_t count, all = 0;
    while ((count = fread(chunk, 1, CHUNK, file)) > 0) {
        all += count;
        if (yajl_parse(parser, chunk, count) != yajl_status_ok) {
            return complain(s, parser, path, lines, chunk, count);
        }
        for (const uint8_t *p = chunk; (p = memchr(p, '\n', count - (size_t)(p - chunk))) != NULL;
             p++) {
            lines++;
        }
    }
    if (ferror(file)) {
        return FC_FAIL(FC_NOINPUT, "%s: cannot be read: %s", path, strerror(errno));
    }
    if (all == 0) {
        return FC_FAIL(FC_DATA, "%s is empty", path);
    }
    if (yajl_complete_parse(parser) != yajl_status_ok) {
        return complain(s, parser, path, lines, (const uint8_t *)"", 0);
    }
    return FC_OK;
}

static fc_status read_values(const char *path, bool many, fci_json_handler handler, void *ctx)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: %s", path, strerror(errno));
    }
    stream s = {.handler = handler, .ctx = ctx};
    uint8_t *chunk = fc_alloc(CHUNK, 1);
    yajl_handle parser = yajl_alloc(&callbacks, NULL, &s);
    if (parser != NULL) { /* one bad byte in a gigabyte of captions is repaired by who takes them */
        yajl_config(parser, yajl_dont_validate_strings, 1);
        yajl_config(parser, yajl_allow_multiple_values, many ? 1 : 0);
    }
    fc_status status = parser == NULL ? FC_FAIL(FC_NOMEM, "no memory for yajl")
                                      : parse(&s, parser, path, file, chunk);
    if (parser != NULL) {
        yajl_free(parser);
    }
    for (int d = 0; d < FCI_JSON_DEPTH; d++) {
        fc_free(&s.key[d]);
    }
    fc_free(&s.text);
    fc_free(&chunk);
    fclose(file);
    return status;
}

fc_status fci_json_read(const char *path, fci_json_handler handler, void *ctx)
{
    FC_TRY(read_values(path, false, handler, ctx));
    return FC_OK;
}

fc_status fci_json_read_lines(const char *path, fci_json_handler handler, void *ctx)
{
    FC_TRY(read_values(path, true, handler, ctx));
    return FC_OK;
}
