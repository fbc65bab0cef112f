/* Text from outside is what somebody else's program wrote. */
#ifndef FC_DATA_UTF8_H
#define FC_DATA_UTF8_H

/** NULL where the text is UTF-8; else a copy (heap) with U+FFFD in the place of each byte that is
 * not. */
char *fci_utf8_repair(const char *text);

#endif
