#include "launch/words.h"

#include "core/log.h"
#include "core/memory.h"
#include "core/paths.h"
#include "data/text/tokenizer.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct fc_words {
    fc_tokenizer *clip; /* NULL: the scenes' words */
    int context, vocab; /* of the model */
};

static const char FILE_NAME[] = "bpe_simple_vocab_16e6.txt.gz";
static const char SCENE_WORDS[] = "scene-words";
enum { UNKNOWN = 1 }; /* the scenes' id of a word they do not have */

static bool has_scene_words(const fc_store *s)
{
    return s != NULL && s->tokenizer != NULL && strcmp(s->tokenizer, SCENE_WORDS) == 0;
}

static bool wants_scene_words(const fc_trained *t, const fc_store *store)
{
    const fc_source *train = &t->config->data.train;
    if (store != NULL && store->tokenizer != NULL) {
        return has_scene_words(store);
    }
    if (train->synthetic || train->path == NULL || !fc_path_is_file(train->path)) {
        return train->synthetic;
    }
    fc_store *s = NULL;
    bool yes = false;
    if (fc_store_open(&s, train->path) == FC_OK) {
        yes = has_scene_words(s);
    } else {
        fc_error_clear(); /* what trained the model need not be there any more */
    }
    fc_store_close(&s);
    return yes;
}

static char *beside(const char *path)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    return slash == NULL ? fc_strdup(FILE_NAME)
                         : fc_format("%.*s/%s", (int)(slash - path), path, FILE_NAME);
}

/* Heap; the first place that has the file, else its bare name. */
static char *find_vocabulary(const fc_trained *t, const fc_store *store)
{
    const char *near[] = {NULL, store != NULL ? store->path : NULL, t->config->data.train.path};
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        char *path = beside(near[i]);
        if (fc_path_is_file(path)) {
            return path;
        }
        fc_free(&path);
    }
    return fc_strdup(FILE_NAME);
}

static fc_status open_clip(fc_words *w, const fc_trained *t, const char *vocabulary,
                           const fc_store *store)
{
    char *path = vocabulary != NULL ? fc_strdup(vocabulary) : find_vocabulary(t, store);
    fc_status status = fc_tokenizer_create(&w->clip, path);
    fc_free(&path);
    if (status == FC_NOINPUT && vocabulary == NULL) {
        char *what = fc_strdup(fc_error_message());
        status = FC_FAIL(FC_NOINPUT, "%s; name it with vocabulary=FILE", what);
        fc_free(&what);
    }
    FC_TRY(status);
    if (fc_tokenizer_vocab_size(w->clip) > w->vocab) {
        return FC_FAIL(FC_USAGE,
                       "CLIP's vocabulary has %d ids, the model's text tower %d: it was trained "
                       "with another one (vocabulary=scene-words for made-up scenes)",
                       fc_tokenizer_vocab_size(w->clip), w->vocab);
    }
    return FC_OK;
}

fc_status fc_words_open(fc_words **out, const fc_trained *t, const char *vocabulary,
                        const fc_store *store)
{
    const fc_model_config *c = &t->model->config;
    fc_words *w = fc_alloc(1, sizeof *w);
    w->context = c->text.context_length;
    w->vocab = c->text.vocab_size;
    const bool scenes =
        vocabulary != NULL ? strcmp(vocabulary, SCENE_WORDS) == 0 : wants_scene_words(t, store);
    fc_status status = FC_OK;
    if (!scenes) {
        status = open_clip(w, t, vocabulary, store);
    } else if (fc_scene_vocab_size() > w->vocab) {
        status = FC_FAIL(FC_USAGE, "the scenes' vocabulary has %d ids, the model's text tower %d",
                         fc_scene_vocab_size(), w->vocab);
    }
    if (status != FC_OK) {
        fc_words_close(&w);
    }
    *out = w;
    return status;
}

void fc_words_close(fc_words **w)
{
    if (*w != NULL) {
        fc_tokenizer_destroy(&(*w)->clip);
        fc_free(w);
    }
}

/* Words of `text` that the scenes do not have, parted by commas; "" if there are none. */
static void list_unknown(const char *text, char *list, size_t bytes)
{
    char word[64];
    list[0] = '\0';
    while (*text != '\0') {
        size_t n = 0;
        for (; isalpha((unsigned char)*text) || *text == '-'; text++) {
            if (n + 1 < sizeof word) {
                word[n++] = *text;
            }
        }
        word[n] = '\0';
        int32_t ids[3];
        if (n > 0 && fc_scene_tokenize(word, 3, ids) == 3 && ids[1] == UNKNOWN) {
            const size_t used = strlen(list);
            snprintf(list + used, bytes - used, "%s%s", used > 0 ? ", " : "", word);
        }
        text += n == 0 ? 1 : 0;
    }
}

fc_status fc_words_tokenize(const fc_words *w, const char *text, int32_t **ids, int *count)
{
    bool cut = false;
    *ids = fc_alloc((size_t)w->context + 1, sizeof **ids);
    if (w->clip != NULL) {
        *count = fc_tokenize(w->clip, text, w->context, *ids, &cut);
    } else {
        char unknown[256];
        *count = fc_scene_tokenize(text, w->context + 1, *ids);
        cut = *count > w->context;
        list_unknown(text, unknown, sizeof unknown);
        if (unknown[0] != '\0') {
            fc_free(ids);
            return FC_FAIL(FC_USAGE,
                           "\"%s\": the made-up scenes this model was trained on have no word for "
                           "%s; theirs are like \"a small striped red star above a green ring\"",
                           text, unknown);
        }
        if (cut) {
            *count = fc_scene_tokenize(text, w->context, *ids);
        }
    }
    if (*count <= 2) {
        fc_free(ids);
        return FC_FAIL(FC_USAGE, "\"%s\": there is no word in it", text);
    }
    if (cut) {
        fc_log_warn("\"%.60s...\" is longer than the %d tokens of the model: its end is left out",
                    text, w->context);
    }
    return FC_OK;
}

char *fc_words_show(const fc_words *w, int32_t id)
{
    return w->clip != NULL ? fc_detokenize(w->clip, &id, 1) : fc_strdup(fc_scene_word(id));
}

const char *fc_words_name(const fc_words *w)
{
    return w->clip != NULL ? "clip-bpe" : SCENE_WORDS;
}
