/* Tree -> text, through libyaml's emitter. Comments and anchors are gone; parsing the text gives
 * the same tree. */
#include "core/memory.h"
#include "core/yaml_node.h"

#include <string.h>

#include <yaml.h>

typedef struct {
    char *text;
    size_t bytes, capacity;
} sink;

static int take(void *ctx, unsigned char *bytes, size_t count)
{
    sink *s = ctx;
    if (s->bytes + count + 1 > s->capacity) {
        s->capacity = 2 * (s->bytes + count + 1);
        s->text = fc_realloc(s->text, s->capacity, 1);
    }
    memcpy(s->text + s->bytes, bytes, count);
    s->bytes += count;
    s->text[s->bytes] = '\0';
    return 1;
}

static bool emit_text(yaml_emitter_t *emitter, const char *text, bool plain)
{
    yaml_event_t event;
    return yaml_scalar_event_initialize(
               &event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1,
               plain ? YAML_PLAIN_SCALAR_STYLE : YAML_SINGLE_QUOTED_SCALAR_STYLE) &&
           yaml_emitter_emit(emitter, &event);
}

/* libyaml makes a scalar of nothing else. */
bool fci_yaml_is_utf8(const char *text)
{
    yaml_event_t event;
    bool good = yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
                                             (int)strlen(text), 1, 1, YAML_ANY_SCALAR_STYLE) != 0;
    if (good) {
        yaml_event_delete(&event);
    }
    return good;
}

static bool emit_node(yaml_emitter_t *emitter, const fc_yaml *node)
{
    yaml_event_t event;
    bool ok = true;
    switch (node->kind) {
    case FC_YAML_NULL:
        return emit_text(emitter, "null", true);
    case FC_YAML_SCALAR:
        return emit_text(emitter, node->text, node->plain);
    case FC_YAML_SEQUENCE:
        ok =
            yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_FLOW_SEQUENCE_STYLE) &&
            yaml_emitter_emit(emitter, &event);
        break;
    case FC_YAML_MAPPING:
        ok = yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE) &&
             yaml_emitter_emit(emitter, &event);
        break;
    }
    for (int i = 0; ok && i < node->count; i++) {
        if (node->kind == FC_YAML_MAPPING) {
            ok = emit_text(emitter, node->children[i]->key, true);
        }
        ok = ok && emit_node(emitter, node->children[i]);
    }
    ok = ok && (node->kind == FC_YAML_MAPPING ? yaml_mapping_end_event_initialize(&event)
                                              : yaml_sequence_end_event_initialize(&event));
    return ok && yaml_emitter_emit(emitter, &event);
}

static bool emit_document(yaml_emitter_t *emitter, const fc_yaml *root)
{
    yaml_event_t event;
    return yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
           yaml_emitter_emit(emitter, &event) &&
           yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) &&
           yaml_emitter_emit(emitter, &event) && emit_node(emitter, root) &&
           yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(emitter, &event) &&
           yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(emitter, &event);
}

fc_status fc_yaml_emit(const fc_yaml *root, char **out)
{
    yaml_emitter_t emitter;
    *out = NULL;
    if (!yaml_emitter_initialize(&emitter)) {
        return FC_FAIL(FC_NOMEM, "no memory to write YAML");
    }
    sink s = {.text = fc_alloc(1, 1), .capacity = 1};
    yaml_emitter_set_output(&emitter, take, &s);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1); /* no folding */
    fc_status status = FC_OK;
    if (!emit_document(&emitter, root)) {
        status = FC_FAIL(FC_BUG, "cannot write YAML: %s",
                         emitter.problem != NULL ? emitter.problem : "no memory");
        fc_free(&s.text);
    }
    yaml_emitter_delete(&emitter);
    *out = s.text;
    return status;
}
