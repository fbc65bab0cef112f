/* Turning a user's sentences into a model's tokens: the scenes' word vocabulary, or CLIP's. */
#ifndef FC_LAUNCH_WORDS_H
#define FC_LAUNCH_WORDS_H

#include "data/store/store.h"
#include "launch/trained.h"

typedef struct fc_words fc_words;

/** The vocabulary the model was trained with, as far as can be told: the scenes' where the
 * experiment trains on made-up scenes or on a store of them, else CLIP's.
 *  vocabulary  NULL: the above; "scene-words", or the path of bpe_simple_vocab_16e6.txt.gz
 *  store       where a sentence's picture comes from, which knows its tokenizer; may be NULL.
 * CLIP's vocabulary is looked for here, beside this store and beside the training store Errors
 * FC_NOINPUT no vocabulary file; FC_USAGE larger than the model's */
FC_NODISCARD fc_status fc_words_open(fc_words **out, const fc_trained *t, const char *vocabulary,
                                     const fc_store *store);
void fc_words_close(fc_words **w);

/** Ids of a text with start and end, cut to the model's context length (with a warning).
 *  ids     heap, the caller's
 *  Errors  FC_USAGE a text without words, or with words the scenes' vocabulary does not have */
FC_NODISCARD fc_status fc_words_tokenize(const fc_words *w, const char *text, int32_t **ids,
                                         int *count);
/** What one id stands for, as people write it; heap. */
char *fc_words_show(const fc_words *w, int32_t id);
/** "scene-words" or "clip-bpe". */
const char *fc_words_name(const fc_words *w);

#endif
