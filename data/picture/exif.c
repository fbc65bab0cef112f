#include "data/picture/exif.h"

#include <stdbool.h>
#include <string.h>

typedef struct tiff {
    const uint8_t *at;
    size_t count;
    bool little;
} tiff;

static uint32_t number(const tiff *t, size_t at, int bytes)
{
    uint32_t value = 0;
    if (at > t->count || t->count - at < (size_t)bytes) {
        return 0;
    }
    for (int i = 0; i < bytes; i++) {
        value |= (uint32_t)t->at[at + (size_t)i] << 8 * (t->little ? i : bytes - 1 - i);
    }
    return value;
}

/* Tag 0x0112 of the first directory. */
static int orientation(const uint8_t *bytes, size_t count)
{
    tiff t = {bytes, count, count >= 2 && bytes[0] == 'I'};
    size_t directory = number(&t, 4, 4);
    uint32_t entries = number(&t, directory, 2);
    for (uint32_t i = 0; i < entries; i++) {
        size_t entry = directory + 2 + 12 * (size_t)i;
        if (number(&t, entry, 2) == 0x0112) {
            uint32_t value = number(&t, entry + 8, 2);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    }
    return 1;
}

int fci_exif_orientation(const uint8_t *jpeg, size_t count)
{
    enum { APP1 = 0xe1, START_OF_SCAN = 0xda };
    size_t at = 2;
    while (at + 4 <= count && jpeg[at] == 0xff) {
        int marker = jpeg[at + 1];
        size_t bytes = (size_t)jpeg[at + 2] << 8 | jpeg[at + 3];
        if (marker == START_OF_SCAN || bytes < 2 || bytes > count - at - 2) {
            break;
        }
        if (marker == APP1 && bytes > 8 && memcmp(jpeg + at + 4, "Exif\0", 6) == 0) {
            return orientation(jpeg + at + 10, bytes - 8);
        }
        at += 2 + bytes;
    }
    return 1;
}
