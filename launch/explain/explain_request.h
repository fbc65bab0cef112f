/* What a command line asks `explain` for: pictures, sentences, phrases, and how. */
#ifndef FC_LAUNCH_EXPLAIN_REQUEST_H
#define FC_LAUNCH_EXPLAIN_REQUEST_H

#include "launch/trained.h"

typedef enum { FC_PHRASE_AS_TEXT, FC_PHRASE_AS_TOKEN } fc_phrase_as;

/* The arguments as given. */
typedef struct fc_explain_options {
    struct fci_explain_word *word; /* image=, text=, phrase= in their order; heap */
    int words;
    bool all_layers;
    fc_phrase_as phrase_as;
    int64_t image_size;                        /* 0: the experiment's */
    const char *vocabulary, *folder, *regions; /* NULL: not given */
} fc_explain_options;

/** Take explain's own keys out of `cli`. FC_USAGE: a value that is none of a key's; nothing to
 * explain. */
FC_NODISCARD fc_status fc_explain_options_take(fc_explain_options *out, fc_cli *cli);
void fc_explain_options_free(fc_explain_options *o);

typedef struct fc_explain_text {
    char *text;
    int sentence; /* the text it is a phrase of; -1: a sentence, or a phrase alone */
    bool phrase;
    int32_t *ids; /* with start and end */
    char **shown; /* (count) what each id stands for */
    int count;
    int first, length; /* FC_PHRASE_AS_TOKEN: its tokens among the sentence's; else length 0 */
} fc_explain_text;

typedef struct fc_explain_picture {
    char *source; /* as given */
    fc_picture picture;
    fc_explain_text *text;
    int texts;
} fc_explain_picture;

typedef struct fc_explain_request {
    fc_explain_picture *picture;
    int pictures;
} fc_explain_request;

/** Load the pictures and tokenise their texts. Texts and phrases that follow an image are that
 * image's, those before the first image every one's; a phrase is of the sentence before it. A
 * store's picture without a text takes its first caption; a sentence without phrases its own words.
 *  Errors FC_NOINPUT, FC_DATA as reading pictures and stores; FC_USAGE an image without a text, a
 *         phrase that its sentence does not have where that is wanted, words the vocabulary lacks
 */
FC_NODISCARD fc_status fc_explain_request_make(fc_explain_request *out, fc_trained *t,
                                               const fc_explain_options *options);
void fc_explain_request_free(fc_explain_request *r);

#endif
