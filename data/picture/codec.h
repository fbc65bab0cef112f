/* Between picture.c and the codecs it calls. */
#ifndef FC_DATA_CODEC_H
#define FC_DATA_CODEC_H

#include "data/picture/picture.h"
#include "data/prepare/pack.h"

#include <stddef.h>

/** FC_DATA over 2^28 pixels or without any. */
FC_NODISCARD fc_status fci_picture_check_size(int64_t width, int64_t height);
/** Sets width and height and allocates rgb; FC_DATA over 2^28 pixels or without any. */
FC_NODISCARD fc_status fci_picture_alloc(fc_picture *p, int64_t width, int64_t height);

/* Decoders may leave out->rgb set when they fail: fc_picture_decode frees it. */
FC_NODISCARD fc_status fci_jpeg_decode(fc_picture *out, const uint8_t *bytes, size_t count);
/** Into the caller's memory, which holds out->width x out->height pixels. Where the picture is of
 * another size, FC_DATA, and out has the size it has. */
FC_NODISCARD fc_status fci_jpeg_decode_into(fc_picture *out, const uint8_t *bytes, size_t count);
FC_NODISCARD fc_status fci_jpeg_size(const uint8_t *bytes, size_t count, int *width, int *height);
FC_NODISCARD fc_status fci_jpeg_encode(const fc_picture *p, int quality, uint8_t **bytes,
                                       size_t *count);
FC_NODISCARD fc_status fci_png_decode(fc_picture *out, const uint8_t *bytes, size_t count);
FC_NODISCARD fc_status fci_png_size(const uint8_t *bytes, size_t count, int *width, int *height);
FC_NODISCARD fc_status fci_png_encode(const fc_picture *p, uint8_t **bytes, size_t *count);

#endif
