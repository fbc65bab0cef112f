/* A JPEG picture: size, decoding, and the ways it becomes a training picture. */
#include "tests/fuzz/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_picture(FC_CODEC_JPEG, data, size);
    return 0;
}
