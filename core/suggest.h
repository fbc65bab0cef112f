/* "did you mean ...?": the nearest of a list of words. */
#ifndef FC_CORE_SUGGEST_H
#define FC_CORE_SUGGEST_H

/** Edits (insert, delete, replace, swap neighbours) that turn a into b, letter case ignored; words
 * longer than 127 bytes compare as far away. */
int fc_edit_distance(const char *a, const char *b);
/** The word of a NULL-terminated list nearest to `word`, or NULL when none is near (a third of its
 * letters at most may differ). */
const char *fc_suggest(const char *word, const char *const *words);

#endif
