#include "launch/explain/explain_request.h"

#include "core/memory.h"
#include "core/paths.h"
#include "launch/explain/explain_parts.h"
#include "launch/words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS_OF_A_SENTENCE = 8 };

/* ---- Pictures ---- */

bool fci_explain_split(const char *given, char **store, int64_t *index)
{
    const char *colon = strrchr(given, ':');
    if (colon == NULL || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        fc_path_is_file(given)) {
        return false;
    }
    *store = fc_format("%.*s", (int)(colon - given), given);
    *index = strtoll(colon + 1, NULL, 10);
    return true;
}

const char *fci_explain_own_store(const char *store)
{
    return strcmp(store, "eval") == 0 ? "eval" : strcmp(store, "train") == 0 ? "train" : NULL;
}

static fc_status load_from_store(fc_explain_picture *p, fc_store *s, int64_t index)
{
    if (index >= s->images) {
        return FC_FAIL(FC_USAGE, "image=%s: the store has pictures 0 to %lld", p->source,
                       (long long)s->images - 1);
    }
    return fc_store_picture(s, index, &p->picture);
}

/* ---- Texts ---- */

static fc_explain_text *add_text(fc_explain_picture *p)
{
    p->text = fc_realloc(p->text, (size_t)p->texts + 1, sizeof *p->text);
    p->text[p->texts] = (fc_explain_text){.sentence = -1};
    return &p->text[p->texts++];
}

static void show_tokens(fc_explain_text *x, const fc_words *w)
{
    x->shown = fc_alloc((size_t)x->count, sizeof *x->shown);
    for (int i = 0; i < x->count; i++) {
        x->shown[i] = fc_words_show(w, x->ids[i]);
    }
}

static fc_status tokenize(fc_explain_text *x, const fc_words *w, const char *text)
{
    x->text = fc_strdup(text);
    FC_TRY(fc_words_tokenize(w, text, &x->ids, &x->count));
    show_tokens(x, w);
    return FC_OK;
}

/* The tokens of a phrase, without start and end, among its sentence's. */
static fc_status find_phrase(fc_explain_text *x, const fc_explain_text *sentence)
{
    const int n = x->count - 2;
    for (int at = 1; at + n < sentence->count; at++) {
        if (memcmp(sentence->ids + at, x->ids + 1, (size_t)n * sizeof *x->ids) == 0) {
            x->first = at;
            x->length = n;
            return FC_OK;
        }
    }
    return FC_FAIL(FC_USAGE,
                   "phrase=%s: not in its sentence, \"%s\", as phrase_as=token wants it; "
                   "phrase_as=text takes it as a text of its own",
                   x->text, sentence->text);
}

static fc_status add_phrase(fc_explain_picture *p, const fc_words *w, const char *text,
                            int sentence, fc_phrase_as as)
{
    fc_explain_text *x = add_text(p);
    x->phrase = true;
    x->sentence = sentence;
    FC_TRY(tokenize(x, w, text));
    if (as == FC_PHRASE_AS_TEXT) {
        return FC_OK;
    }
    if (sentence < 0) {
        return FC_FAIL(FC_USAGE, "phrase=%s: phrase_as=token wants a text= before it", text);
    }
    return find_phrase(x, &p->text[sentence]);
}

static bool says_little(const char *word)
{
    static const char *const words[] = {
        "a",    "an",   "and",  "another", "are",   "as",    "at",   "be",   "by",   "for",
        "from", "has",  "have", "he",      "her",   "his",   "in",   "into", "is",   "it",
        "its",  "near", "next", "of",      "on",    "one",   "or",   "out",  "over", "she",
        "some", "than", "that", "the",     "their", "there", "they", "this", "to",   "under",
        "up",   "was",  "we",   "were",    "which", "while", "who",  "with", "you"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], word) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_letter(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '\'' || ((unsigned char)c & 0x80) != 0;
}

/* A sentence's own words as phrases, but for those that name nothing. */
static fc_status add_own_words(fc_explain_picture *p, const fc_words *w, int sentence,
                               fc_phrase_as as)
{
    const int first = p->texts;
    const char *at = p->text[sentence].text;
    while (*at != '\0' && p->texts - first < MOST_WORDS_OF_A_SENTENCE) {
        size_t n = 0;
        char word[64];
        for (; is_letter(*at); at++) {
            if (n + 1 < sizeof word) {
                word[n++] = (char)tolower((unsigned char)*at);
            }
        }
        word[n] = '\0';
        bool wanted = n > 0 && !says_little(word);
        for (int i = first; i < p->texts; i++) {
            wanted = wanted && strcmp(p->text[i].text, word) != 0;
        }
        if (wanted) {
            FC_TRY(add_phrase(p, w, word, sentence, as));
        }
        at += n == 0 ? 1 : 0;
    }
    return FC_OK;
}

/* The first caption of a store's picture, from its tokens where the store keeps no sentences. */
static fc_status add_own_caption(fc_explain_picture *p, const fc_trained *t, const fc_words *w,
                                 fc_store *s, int64_t index)
{
    const int64_t caption = (int64_t)s->caption_of[index];
    const fc_model_config *c = &t->model->config;
    fc_explain_text *x = add_text(p);
    x->ids = fc_alloc((size_t)c->text.context_length, sizeof *x->ids);
    FC_TRY(fc_store_tokens(s, FC_CAPTION_TOKENS, caption, c->text.vocab_size,
                           c->text.context_length, x->ids, &x->count));
    show_tokens(x, w);
    FC_TRY(fc_store_text(s, "captions/text", caption, &x->text));
    if (x->text == NULL) {
        x->text = fc_strdup("");
        for (int i = 1; i + 1 < x->count; i++) {
            char *longer = fc_format("%s%s%s", x->text, i > 1 ? " " : "", x->shown[i]);
            fc_free(&x->text);
            x->text = longer;
        }
    }
    return FC_OK;
}

/* ---- One picture's part of the command line ---- */

typedef struct part {
    const fci_explain_word *word; /* texts and phrases */
    int words;
} part;

static bool has_captions(const fc_store *s, int64_t index)
{
    return s != NULL && s->caption_of != NULL && s->caption_of[index] < s->caption_of[index + 1];
}

/* One text or phrase after the other. *sentence: the text that phrases belong to; *alone: that has
 * no phrases yet. */
static fc_status add_part(fc_explain_picture *p, const fc_words *w, part given, fc_phrase_as as,
                          int *sentence, bool *alone)
{
    for (int i = 0; i < given.words; i++) {
        const char *value = given.word[i].value;
        if (given.word[i].kind == FCI_TEXT) {
            if (*alone) {
                FC_TRY(add_own_words(p, w, *sentence, as));
            }
            *sentence = p->texts;
            *alone = true;
            FC_TRY(tokenize(add_text(p), w, value));
        } else {
            *alone = false;
            if (value[0] != '\0') { /* "phrase=": none */
                FC_TRY(add_phrase(p, w, value, *sentence, as));
            }
        }
    }
    return FC_OK;
}

static bool has_sentence(part p)
{
    for (int i = 0; i < p.words; i++) {
        if (p.word[i].kind == FCI_TEXT) {
            return true;
        }
    }
    return false;
}

static fc_status fill_texts(fc_explain_picture *p, const fc_trained *t, const fc_explain_options *o,
                            fc_store *s, int64_t index, part common, part own)
{
    int sentence = -1;
    bool alone = false;
    fc_words *w;
    FC_TRY(fc_words_open(&w, t, o->vocabulary, s));
    fc_status status;
    if (!has_sentence(common) && !has_sentence(own) && has_captions(s, index)) {
        FC_TRY_GOTO(status, add_own_caption(p, t, w, s, index), done);
        sentence = 0;
        alone = true;
    }
    FC_TRY_GOTO(status, add_part(p, w, common, o->phrase_as, &sentence, &alone), done);
    FC_TRY_GOTO(status, add_part(p, w, own, o->phrase_as, &sentence, &alone), done);
    if (alone) {
        FC_TRY_GOTO(status, add_own_words(p, w, sentence, o->phrase_as), done);
    }
    if (p->texts == 0) {
        status = FC_FAIL(FC_USAGE, "image=%s: nothing to look for; add text=\"...\" behind it",
                         p->source);
    }
done:
    fc_words_close(&w);
    return status;
}

/* The named store's picture; one of the experiment's stores is open on all ranks already. */
static fc_status fill_from_store(fc_explain_picture *p, fc_trained *t, const fc_explain_options *o,
                                 const char *store, int64_t index, part common, part own)
{
    const char *ours = fci_explain_own_store(store);
    fc_store *s = NULL, *opened = NULL;
    fc_status status =
        ours != NULL ? fc_trained_store(t, ours, "image", &s) : fc_store_open(&opened, store);
    s = ours != NULL ? s : opened;
    if (status == FC_OK) {
        status = load_from_store(p, s, index);
    }
    if (status == FC_OK) {
        status = fill_texts(p, t, o, s, index, common, own);
    }
    fc_store_close(&opened);
    return status;
}

static fc_status fill_picture(fc_explain_picture *p, fc_trained *t, const fc_explain_options *o,
                              const char *given, part common, part own)
{
    char *store;
    int64_t index = 0;
    p->source = fc_strdup(given);
    if (!fci_explain_split(given, &store, &index)) {
        FC_TRY(fc_picture_load(&p->picture, given));
        return fill_texts(p, t, o, NULL, 0, common, own);
    }
    fc_status status = fill_from_store(p, t, o, store, index, common, own);
    fc_free(&store);
    return status;
}

static int next_image(const fc_explain_options *o, int from)
{
    while (from < o->words && o->word[from].kind != FCI_IMAGE) {
        from++;
    }
    return from;
}

fc_status fc_explain_request_make(fc_explain_request *out, fc_trained *t,
                                  const fc_explain_options *o)
{
    *out = (fc_explain_request){0};
    int at = next_image(o, 0);
    const part common = {o->word, at};
    while (at < o->words) {
        const int end = next_image(o, at + 1);
        out->picture = fc_realloc(out->picture, (size_t)out->pictures + 1, sizeof *out->picture);
        fc_explain_picture *p = &out->picture[out->pictures++];
        *p = (fc_explain_picture){0};
        FC_TRY(fill_picture(p, t, o, o->word[at].value, common,
                            (part){o->word + at + 1, end - at - 1}));
        at = end;
    }
    return FC_OK;
}

static void free_text(fc_explain_text *x)
{
    for (int i = 0; x->shown != NULL && i < x->count; i++) {
        fc_free(&x->shown[i]);
    }
    fc_free(&x->shown);
    fc_free(&x->ids);
    fc_free(&x->text);
}

void fc_explain_request_free(fc_explain_request *r)
{
    for (int i = 0; i < r->pictures; i++) {
        fc_explain_picture *p = &r->picture[i];
        for (int k = 0; k < p->texts; k++) {
            free_text(&p->text[k]);
        }
        fc_free(&p->text);
        fc_free(&p->source);
        fc_picture_free(&p->picture);
    }
    fc_free(&r->picture);
}
