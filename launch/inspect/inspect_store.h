/* What the parts of `fineclip inspect STORE` share. */
#ifndef FC_LAUNCH_INSPECT_STORE_H
#define FC_LAUNCH_INSPECT_STORE_H

#include "data/store/store.h"

/** The most frequent captions of pictures and regions, and the first ones, on stdout. */
FC_NODISCARD fc_status fci_inspect_captions(fc_store *s);
/** What the store's maker counted and noted: attributes of /summary and those of / that the format
 * does not know, on stdout. */
FC_NODISCARD fc_status fci_inspect_notes(fc_store *s);
/** The recipe a store was made by, where it keeps that, on stdout. */
FC_NODISCARD fc_status fci_inspect_recipe(fc_store *s);
/** "label       text", broken between words so that it stays within the screen. */
void fci_inspect_line(const char *label, const char *text);

#endif
