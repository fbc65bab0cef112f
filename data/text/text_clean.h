/* What CLIP does to a text before it is split into tokens (METHOD.md section 2b). */
#ifndef FC_DATA_TEXT_CLEAN_H
#define FC_DATA_TEXT_CLEAN_H

/** UTF-8 repaired (bad bytes become U+FFFD), HTML-unescaped twice, runs of white space to one
 * blank, trimmed, lower case. Heap. */
char *fci_text_clean(const char *text);
/** HTML character references of UTF-8 text resolved once, exactly as Python's html.unescape. Heap.
 */
char *fci_html_unescape(const char *text);

#endif
