/* Pictures in memory: decode and encode JPEG and PNG, PIL-like resize, crops. Rows first, RGB, 8
 * bits. */
#ifndef FC_DATA_PICTURE_H
#define FC_DATA_PICTURE_H

#include "core/status.h"

#include <stdint.h>

typedef enum { FC_CODEC_RAW, FC_CODEC_JPEG, FC_CODEC_PNG } fc_codec;

/* (height, width, 3) u8. */
typedef struct fc_picture {
    int width, height;
    uint8_t *rgb; /* heap, owned */
} fc_picture;

void fc_picture_free(fc_picture *p);
/** "raw" | "jpeg" | "png"; FC_DATA on another word. */
FC_NODISCARD fc_status fc_codec_parse(const char *word, fc_codec *out);
const char *fc_codec_name(fc_codec codec);

/** Decode bytes of a known codec into RGB. Grey, palette, alpha (dropped), 16 bits and CMYK JPEG
 * become 8-bit RGB as PIL's convert("RGB") does. raw needs width and height set in *out beforehand;
 * for the others they are set from the file. JPEG: libjpeg's defaults (slow integer DCT, fancy
 * upsampling), truncated or corrupt data is FC_DATA. Pictures over 2^28 pixels, and of more than so
 * many bytes can hold, are FC_DATA before anything is allocated. */
FC_NODISCARD fc_status fc_picture_decode(fc_picture *out, fc_codec codec, const uint8_t *bytes,
                                         size_t count);
/** As fc_picture_decode, into the caller's memory out->rgb, which holds out->width x out->height
 * pixels. Where the picture is of another size, FC_DATA, and out has the size it has. */
FC_NODISCARD fc_status fc_picture_decode_into(fc_picture *out, fc_codec codec, const uint8_t *bytes,
                                              size_t count);
/** Codec by the file's first bytes (JPEG or PNG); FC_DATA otherwise. */
FC_NODISCARD fc_status fc_codec_sniff(const uint8_t *bytes, size_t count, fc_codec *out);
/** Width and height without decoding. */
FC_NODISCARD fc_status fc_picture_size(fc_codec codec, const uint8_t *bytes, size_t count,
                                       int *width, int *height);
/** Encode; *bytes is heap, owned by the caller. quality 1..100 for JPEG (4:2:0 as PIL's default),
 * ignored otherwise. */
FC_NODISCARD fc_status fc_picture_encode(const fc_picture *p, fc_codec codec, int quality,
                                         uint8_t **bytes, size_t *count);
/** Read and decode a file / write one by its suffix (.png, .jpg). */
FC_NODISCARD fc_status fc_picture_load(fc_picture *out, const char *path);
FC_NODISCARD fc_status fc_picture_save(const fc_picture *p, const char *path);

typedef enum { FC_BILINEAR, FC_BICUBIC } fc_filter; /* bicubic: a = -0.5 */

/** Whole-pixel rectangle [x0, x1) x [y0, y1). */
typedef struct fc_rect {
    int x0, y0, x1, y1;
} fc_rect;

/** Resize the part `from` of `in` to (height, width, 3) at `out` (caller's memory) as PIL does:
 * anti-aliased, horizontal pass first, 8 bits between the passes (METHOD.md section 2). The filter
 * sees nothing outside `from`. Cost: width*from_h*taps + width*height*taps; scratch: heap, at most
 * 2 taps + 4 rows of width * 3 bytes. Errors: FC_BUG where `from` is empty or outside the picture.
 */
FC_NODISCARD fc_status fc_resize(const fc_picture *in, fc_rect from, fc_filter filter, int width,
                                 int height, uint8_t *out);

/** The rectangle of a region's crop: the box (x0 y0 x1 y1 in pixels) grown `scale` times about its
 * centre, cut at the border, rounded to whole pixels (nearest, half to even), at least 1x1.
 * METHOD.md section 2. */
fc_rect fc_crop_rect(const float box[4], double scale, int width, int height);

/** Size of a width x height picture whose longest side becomes `size` with the aspect kept (each
 * side at least 1). */
void fc_picture_longest(int width, int height, int size, int *new_width, int *new_height);

/** The three ways a whole picture becomes S x S (out: (S,S,3) u8). squash: aspect not kept,
 * bilinear. center_crop: CLIP's protocol, short side to S, bicubic, centre crop. longest: longest
 * side to S keeping the aspect (bilinear), the rest black at right and bottom (COMPARED.md A2);
 * *scale_x, *scale_y (may be NULL): stored pixels -> fraction of S, so that box x maps to x *
 * scale_x. */
typedef enum { FC_FIT_SQUASH, FC_FIT_CENTER_CROP, FC_FIT_LONGEST } fc_fit;
FC_NODISCARD fc_status fc_picture_fit(const fc_picture *in, fc_fit fit, int size, uint8_t *out,
                                      double *scale_x, double *scale_y);

#endif
