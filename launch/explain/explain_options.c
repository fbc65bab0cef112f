/* explain's own keys on the command line. */
#include "core/memory.h"
#include "launch/explain/explain_parts.h"
#include "launch/verb_keys.h"

#include <string.h>

static const char *const keys[] = {"image",      "text",   "phrase",  "phrase_as",  "layers",
                                   "vocabulary", "folder", "regions", "image_size", NULL};

static void add_word(fc_explain_options *o, fci_explain_kind kind, const char *value)
{
    o->word = fc_realloc(o->word, (size_t)o->words + 1, sizeof *o->word);
    o->word[o->words++] = (fci_explain_word){kind, value};
}

static fc_status take(void *ctx, const char *key, const char *value)
{
    static const char *const layers[] = {"last", "all", NULL};
    static const char *const targets[] = {"text", "token", NULL};
    fc_explain_options *o = ctx;
    int choice;
    if (value[0] == '\0' && strcmp(key, "phrase") != 0) {
        return FC_FAIL(FC_USAGE, "%s= has no value", key);
    }
    if (strcmp(key, "image") == 0) {
        add_word(o, FCI_IMAGE, value);
    } else if (strcmp(key, "text") == 0) {
        add_word(o, FCI_TEXT, value);
    } else if (strcmp(key, "phrase") == 0) {
        add_word(o, FCI_PHRASE, value);
    } else if (strcmp(key, "layers") == 0) {
        FC_TRY(fc_verb_key_choice(key, value, layers, &choice));
        o->all_layers = choice == 1;
    } else if (strcmp(key, "phrase_as") == 0) {
        FC_TRY(fc_verb_key_choice(key, value, targets, &choice));
        o->phrase_as = (fc_phrase_as)choice;
    } else if (strcmp(key, "image_size") == 0) {
        FC_TRY(fc_verb_key_int(key, value, 1, 4096, &o->image_size));
    } else if (strcmp(key, "vocabulary") == 0) {
        o->vocabulary = value;
    } else if (strcmp(key, "folder") == 0) {
        o->folder = value;
    } else {
        o->regions = value;
    }
    return FC_OK;
}

fc_status fc_explain_options_take(fc_explain_options *out, fc_cli *cli)
{
    *out = (fc_explain_options){0};
    FC_TRY(fc_verb_keys_take(cli, keys, take, out));
    bool image = false;
    for (int i = 0; i < out->words; i++) {
        image = image || out->word[i].kind == FCI_IMAGE;
    }
    if (!image && out->words > 0) {
        return FC_FAIL(FC_USAGE, "%s=%s: there is no image= to look for it in",
                       out->word[0].kind == FCI_TEXT ? "text" : "phrase", out->word[0].value);
    }
    if (!image && out->regions == NULL) {
        return FC_FAIL(
            FC_USAGE,
            "nothing to explain: name a picture (image=FILE, STORE.h5:INDEX or eval:INDEX) "
            "or a store (regions=eval); fineclip explain --help");
    }
    return FC_OK;
}

void fc_explain_options_free(fc_explain_options *o)
{
    fc_free(&o->word);
}
