/* A PNG picture, as it is and with the checksums of its chunks mended, so that mutations get past
 * them. */
#include "core/memory.h"
#include "tests/fuzz/picture.h"

#include <zlib.h>

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static void mend_checksums(uint8_t *bytes, size_t size)
{
    size_t at = 8; /* behind the signature: length, type, data, checksum */
    while (at + 12 <= size) {
        const uint8_t *p = bytes + at;
        size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (length > size - at - 12) {
            return;
        }
        put_u32(bytes + at + 8 + length, (uint32_t)crc32_z(0, bytes + at + 4, 4 + length));
        at += 12 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_picture(FC_CODEC_PNG, data, size);
    uint8_t *mended = fc_alloc(size, 1);
    if (size > 0) {
        memcpy(mended, data, size);
    }
    mend_checksums(mended, size);
    fuzz_picture(FC_CODEC_PNG, mended, size);
    fc_free(&mended);
    return 0;
}
