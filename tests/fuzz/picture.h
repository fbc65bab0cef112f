/* What the program does with a picture's bytes, for the picture targets. */
#ifndef FC_TESTS_FUZZ_PICTURE_H
#define FC_TESTS_FUZZ_PICTURE_H

#include "data/picture/picture.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { FUZZ_SIDE = 16 };

static inline void fuzz_picture(fc_codec codec, const uint8_t *data, size_t size)
{
    int width = 0, height = 0;
    fc_codec sniffed;
    (void)fuzz_ok(fc_codec_sniff(data, size, &sniffed));
    bool sized = fuzz_ok(fc_picture_size(codec, data, size, &width, &height));
    fc_picture p = {.width = width, .height = height};
    if (!fuzz_ok(fc_picture_decode(&p, codec, data, size))) {
        FUZZ_CHECK(p.rgb == NULL);
        return;
    }
    FUZZ_CHECK(sized && width == p.width && height == p.height);
    static const fc_fit fits[] = {FC_FIT_SQUASH, FC_FIT_CENTER_CROP, FC_FIT_LONGEST};
    uint8_t out[FUZZ_SIDE * FUZZ_SIDE * 3];
    for (int i = 0; i < 3; i++) {
        (void)fuzz_ok(fc_picture_fit(&p, fits[i], FUZZ_SIDE, out, NULL, NULL));
    }
    fc_picture_free(&p);
}

#endif
