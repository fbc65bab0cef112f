#include "data/text/utf8.h"

#include "core/memory.h"

#include <string.h>

#include <unistr.h>

char *fci_utf8_repair(const char *text)
{
    const uint8_t *from = (const uint8_t *)text;
    size_t left = strlen(text), used = 0;
    if (u8_check(from, left) == NULL) {
        return NULL;
    }
    char *out = fc_alloc(3 * left + 1, 1); /* U+FFFD takes three bytes */
    while (left > 0) {
        ucs4_t c;
        int bytes = u8_mbtoucr(&c, from, left);
        if (bytes > 0) {
            memcpy(out + used, from, (size_t)bytes);
            used += (size_t)bytes;
        } else {
            memcpy(out + used, "\xef\xbf\xbd", 3);
            used += 3;
            bytes = 1;
        }
        from += bytes;
        left -= (size_t)bytes;
    }
    return out;
}
