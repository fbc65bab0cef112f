/* Text -> tree, over libyaml's events. Aliases are written out, so the limits of yaml_node.h count
 * what they become. */
#include "core/memory.h"
#include "core/yaml_node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

typedef struct {
    char *name;
    const fc_yaml *node; /* of the tree being read */
} anchor;

typedef struct {
    yaml_parser_t parser;
    yaml_event_t event; /* the one looked at */
    bool have_event;
    fci_yaml_name *name;
    const char *text;
    size_t text_bytes;
    bool lines;
    int nodes;    /* made so far */
    size_t bytes; /* of scalars so far */
    anchor *anchors;
    int anchor_count;
} reader;

/* "NAME:LINE: " or "NAME: " of a place in the text, static per call through `buffer`. */
static const char *place(const reader *r, size_t line, char buffer[512])
{
    if (r->lines) {
        snprintf(buffer, 512, "%s:%zu", r->name->text, line + 1);
    } else {
        snprintf(buffer, 512, "%s", r->name->text);
    }
    return buffer;
}

static fc_status syntax_error(const reader *r)
{
    const yaml_parser_t *p = &r->parser;
    char where[512];
    if (p->error == YAML_MEMORY_ERROR) {
        return FC_FAIL(FC_NOMEM, "%s: no memory to read it", r->name->text);
    }
    if (p->error == YAML_READER_ERROR) {
        return FC_FAIL(FC_USAGE, "%s: %s at byte %zu; the text must be UTF-8", r->name->text,
                       p->problem, p->problem_offset);
    }
    size_t at = p->problem_mark.index;
    bool tab = at < r->text_bytes && r->text[at] == '\t';
    return FC_FAIL(FC_USAGE, "%s: column %zu: %s%s%s%s", place(r, p->problem_mark.line, where),
                   p->problem_mark.column + 1, p->problem, p->context != NULL ? ", " : "",
                   p->context != NULL ? p->context : "",
                   tab ? " (a tab stands there; indent with blanks)" : "");
}

/* Look at the next event; it stays until `advance`. */
static fc_status peek(reader *r)
{
    if (!r->have_event) {
        if (!yaml_parser_parse(&r->parser, &r->event)) {
            return syntax_error(r);
        }
        r->have_event = true;
    }
    return FC_OK;
}

static void advance(reader *r)
{
    yaml_event_delete(&r->event);
    r->have_event = false;
}

static fc_status fail_at(const reader *r, size_t line, const char *what, const char *detail)
{
    char where[512];
    return FC_FAIL(FC_USAGE, "%s: %s%s", place(r, line, where), what, detail);
}

static fc_status spend(reader *r, size_t line, int depth, size_t bytes)
{
    r->bytes += bytes;
    if (++r->nodes > FCI_YAML_NODES || r->bytes > FCI_YAML_TEXT_BYTES) {
        return fail_at(r, line, "too large once its aliases are written out", "");
    }
    if (depth > FCI_YAML_DEPTH) {
        return fail_at(r, line, "nested too deeply", "");
    }
    return FC_OK;
}

static fc_yaml *make(const reader *r, fc_yaml_kind kind, size_t line)
{
    return fci_yaml_node(kind, r->name, r->lines ? (int)line + 1 : 0);
}

/* Plain strings and structure need no tag; other types have no meaning here. */
static bool tag_fits(const yaml_char_t *tag, const char *standard)
{
    return tag == NULL || strcmp((const char *)tag, "!") == 0 ||
           strcmp((const char *)tag, standard) == 0;
}

static bool is_null(const char *text)
{
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static fc_status read_scalar(reader *r, fc_yaml **out, int depth)
{
    const char *text = (const char *)r->event.data.scalar.value;
    const yaml_char_t *tag = r->event.data.scalar.tag;
    size_t bytes = r->event.data.scalar.length, line = r->event.start_mark.line;
    FC_TRY(spend(r, line, depth, bytes));
    if (!tag_fits(tag, YAML_STR_TAG)) {
        return fail_at(r, line, "tags have no meaning here: ", (const char *)tag);
    }
    if (strlen(text) != bytes) {
        return fail_at(r, line, "a text holds a zero byte", "");
    }
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && tag == NULL;
    *out = make(r, plain && is_null(text) ? FC_YAML_NULL : FC_YAML_SCALAR, line);
    (*out)->plain = plain;
    if ((*out)->kind == FC_YAML_SCALAR) {
        (*out)->text = fc_strdup(text);
    }
    return FC_OK;
}

static fc_status copy_counted(reader *r, fc_yaml **out, const fc_yaml *node, size_t line, int depth)
{
    size_t bytes = node->text != NULL ? strlen(node->text) : 0;
    bytes += node->key != NULL ? strlen(node->key) : 0;
    FC_TRY(spend(r, line, depth, bytes));
    *out = fci_yaml_node(node->kind, node->file, node->line);
    (*out)->plain = node->plain;
    (*out)->text = node->text != NULL ? fc_strdup(node->text) : NULL;
    for (int i = 0; i < node->count; i++) {
        fc_yaml *child = NULL;
        fc_status status = copy_counted(r, &child, node->children[i], line, depth + 1);
        if (child != NULL) {
            fci_yaml_attach(*out, node->children[i]->key, child);
        }
        FC_TRY(status);
    }
    return FC_OK;
}

static fc_status read_alias(reader *r, fc_yaml **out, int depth)
{
    const char *name = (const char *)r->event.data.alias.anchor;
    size_t line = r->event.start_mark.line;
    for (int i = r->anchor_count - 1; i >= 0; i--) {
        if (strcmp(r->anchors[i].name, name) == 0) {
            FC_TRY(copy_counted(r, out, r->anchors[i].node, line, depth));
            (*out)->line = r->lines ? (int)line + 1 : 0;
            return FC_OK;
        }
    }
    return fail_at(r, line, "no anchor above is called ", name);
}

static fc_status read_node(reader *r, fc_yaml **out, int depth);

static fc_status read_sequence(reader *r, fc_yaml *sequence, int depth)
{
    for (;;) {
        FC_TRY(peek(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT) {
            return FC_OK;
        }
        fc_yaml *item = NULL;
        fc_status status = read_node(r, &item, depth + 1);
        if (item != NULL) {
            fci_yaml_attach(sequence, NULL, item);
        }
        FC_TRY(status);
    }
}

static fc_status read_pair(reader *r, fc_yaml *mapping, const char *key, size_t line, int depth)
{
    const fc_yaml *twin = fci_yaml_find(mapping, key);
    if (twin != NULL) {
        char where[512];
        return FC_FAIL(FC_USAGE, "%s: %s: this key already stands in line %d",
                       place(r, line, where), key, twin->line);
    }
    if (strcmp(key, "<<") == 0) {
        return fail_at(r, line, "merge keys (<<) are not read; use base: or write the keys out",
                       "");
    }
    fc_yaml *value = NULL;
    fc_status status = FC_OK;
    FC_TRY_GOTO(status, peek(r), out);
    FC_TRY_GOTO(status, read_node(r, &value, depth + 1), out);
    value->line = r->lines ? (int)line + 1 : 0;
out:
    if (value != NULL) {
        fci_yaml_attach(mapping, key, value);
    }
    return status;
}

static fc_status read_mapping(reader *r, fc_yaml *mapping, int depth)
{
    for (;;) {
        FC_TRY(peek(r));
        size_t line = r->event.start_mark.line;
        if (r->event.type == YAML_MAPPING_END_EVENT) {
            return FC_OK;
        }
        if (r->event.type != YAML_SCALAR_EVENT || r->event.data.scalar.length == 0 ||
            strlen((const char *)r->event.data.scalar.value) != r->event.data.scalar.length) {
            return fail_at(r, line, "a key must be a plain word", "");
        }
        char *key = fc_strdup((const char *)r->event.data.scalar.value);
        advance(r);
        fc_status status = read_pair(r, mapping, key, line, depth);
        fc_free(&key);
        FC_TRY(status);
    }
}

static void keep_anchor(reader *r, char *name, const fc_yaml *node)
{
    r->anchors = fc_realloc(r->anchors, (size_t)r->anchor_count + 1, sizeof *r->anchors);
    r->anchors[r->anchor_count++] = (anchor){.name = name, .node = node};
}

/* The node whose first event is being looked at. *out may be set on failure, too: the caller frees
 * it. */
static fc_status read_node(reader *r, fc_yaml **out, int depth)
{
    const yaml_event_t *e = &r->event;
    size_t line = e->start_mark.line;
    const yaml_char_t *name = NULL;
    const yaml_char_t *tag = NULL;
    fc_yaml_kind kind = FC_YAML_SCALAR;
    if (e->type == YAML_ALIAS_EVENT) {
        FC_TRY(read_alias(r, out, depth));
        advance(r);
        return FC_OK;
    }
    if (e->type == YAML_SCALAR_EVENT) {
        name = e->data.scalar.anchor;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        kind = FC_YAML_SEQUENCE;
        name = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else {
        kind = FC_YAML_MAPPING;
        name = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    char *anchored = name != NULL ? fc_strdup((const char *)name) : NULL;
    fc_status status = FC_OK;
    if (kind == FC_YAML_SCALAR) {
        FC_TRY_GOTO(status, read_scalar(r, out, depth), out);
    } else {
        FC_TRY_GOTO(status, spend(r, line, depth, 0), out);
        if (!tag_fits(tag, kind == FC_YAML_MAPPING ? YAML_MAP_TAG : YAML_SEQ_TAG)) {
            status = fail_at(r, line, "tags have no meaning here: ", (const char *)tag);
            goto out;
        }
        *out = make(r, kind, line);
        advance(r);
        FC_TRY_GOTO(status,
                    kind == FC_YAML_MAPPING ? read_mapping(r, *out, depth)
                                            : read_sequence(r, *out, depth),
                    out);
    }
    advance(r);
    if (anchored != NULL) {
        keep_anchor(r, anchored, *out);
        anchored = NULL;
    }
out:
    fc_free(&anchored);
    return status;
}

/* Stream start, at most one document, stream end. */
static fc_status read_document(reader *r, fc_yaml **out)
{
    FC_TRY(peek(r));
    advance(r);
    FC_TRY(peek(r));
    if (r->event.type == YAML_STREAM_END_EVENT) {
        *out = make(r, FC_YAML_NULL, 0);
        return FC_OK;
    }
    advance(r);
    FC_TRY(peek(r));
    FC_TRY(read_node(r, out, 1));
    FC_TRY(peek(r));
    advance(r);
    FC_TRY(peek(r));
    if (r->event.type != YAML_STREAM_END_EVENT) {
        return fail_at(r, r->event.start_mark.line, "a second document begins; one is wanted", "");
    }
    return FC_OK;
}

fc_status fci_yaml_read(fc_yaml **out, const char *text, size_t bytes, const char *name, bool lines)
{
    *out = NULL;
    reader r = {.text = text, .text_bytes = bytes, .lines = lines};
    if (bytes > FCI_YAML_FILE_BYTES) {
        return FC_FAIL(FC_USAGE, "%s: %zu bytes are too many for a YAML file", name, bytes);
    }
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        r.text += 3; /* byte order mark */
        r.text_bytes -= 3;
    }
    if (!yaml_parser_initialize(&r.parser)) {
        return FC_FAIL(FC_NOMEM, "%s: no memory to read it", name);
    }
    r.name = fci_yaml_name_create(name);
    /* libyaml would take UTF-16 and then count bytes differently from us. */
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, r.text_bytes);
    fc_status status = read_document(&r, out);
    if (status != FC_OK) {
        fc_yaml_destroy(out);
    }
    if (r.have_event) {
        yaml_event_delete(&r.event);
    }
    for (int i = 0; i < r.anchor_count; i++) {
        fc_free(&r.anchors[i].name);
    }
    fc_free(&r.anchors);
    fci_yaml_name_release(r.name);
    yaml_parser_delete(&r.parser);
    return status;
}

fc_status fc_yaml_parse(fc_yaml **out, const char *text, size_t bytes, const char *name)
{
    FC_TRY(fci_yaml_read(out, text, bytes, name, true));
    if ((*out)->kind != FC_YAML_MAPPING) {
        fc_status status =
            FC_FAIL(FC_USAGE, "%s:%d: %s; lines of \"key: value\" are wanted", name, (*out)->line,
                    (*out)->kind == FC_YAML_NULL ? "nothing in it" : "not a mapping");
        fc_yaml_destroy(out);
        return status;
    }
    return FC_OK;
}

fc_status fc_yaml_load(fc_yaml **out, const char *path)
{
    *out = NULL;
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: cannot open: %s", path, strerror(errno));
    }
    /* Read to one byte past the limit rather than ask for the size: a pipe has none. */
    size_t capacity = 1 << 14, bytes = 0, got;
    char *text = fc_alloc(capacity, 1);
    while ((got = fread(text + bytes, 1, capacity - bytes, f)) > 0) {
        bytes += got;
        if (bytes > FCI_YAML_FILE_BYTES) {
            break;
        }
        if (bytes == capacity) {
            capacity *= 2;
            text = fc_realloc(text, capacity, 1);
        }
    }
    fc_status status = FC_OK;
    if (ferror(f)) {
        status = FC_FAIL(FC_NOINPUT, "%s: cannot read: %s", path, strerror(errno));
    }
    fclose(f);
    if (status == FC_OK) {
        status = fc_yaml_parse(out, text, bytes, path);
    }
    fc_free(&text);
    return status;
}
