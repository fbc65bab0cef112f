/* CLIP's byte-pair encoding (METHOD.md section 2b). */
#ifndef FC_DATA_TOKENIZER_H
#define FC_DATA_TOKENIZER_H

#include "core/status.h"

#include <stdint.h>

typedef struct fc_tokenizer fc_tokenizer;

/** Read bpe_simple_vocab_16e6.txt.gz (or the unpacked text). FC_NOINPUT says in one line where to
 * get it. */
FC_NODISCARD fc_status fc_tokenizer_create(fc_tokenizer **out, const char *path);
void fc_tokenizer_destroy(fc_tokenizer **t);

/** Ids of a UTF-8 text with start and end ids; at most max ids (>= 2), the last then set to the end
 * id. Bytes that are not UTF-8 become U+FFFD. *cut (may be NULL): true where ids were left out;
 * those of a word's bytes beyond 16384 always are.
 * Returns the count. Safe to call from several threads on one tokenizer. */
int fc_tokenize(const fc_tokenizer *t, const char *text, int max, int32_t *ids, bool *cut);
/** 49408 for CLIP's vocabulary. */
int fc_tokenizer_vocab_size(const fc_tokenizer *t);
/** Text of ids (without start and end ids), heap, for display. */
char *fc_detokenize(const fc_tokenizer *t, const int32_t *ids, int count);

#endif
