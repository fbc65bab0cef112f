/* Decoding and encoding: golden pictures, kinds of PNG made here, damage of every kind. */
#include "core/memory.h"
#include "data/file.h"
#include "data/picture/picture.h"
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>
#include <setjmp.h>

static void golden(const char *file, const char *values)
{
    char name[64];
    fc_picture p;
    uint8_t *want = NULL;
    size_t bytes = 0;
    snprintf(name, sizeof name, "prepare/%s", file);
    FC_CHECK_OK(fc_picture_load(&p, fc_check_golden(name)));
    snprintf(name, sizeof name, "prepare/%s", values);
    FC_CHECK_OK(fci_file_read(fc_check_golden(name), &want, &bytes));
    FC_CHECK(p.width == 40 && p.height == 24 && bytes == 40 * 24 * 3);
    int worst = 0;
    for (size_t i = 0; i < bytes; i++) {
        int d = abs((int)p.rgb[i] - want[i]);
        worst = d > worst ? d : worst;
    }
    /* versions of libjpeg may differ by a level in upsampling */
    fc_check_true(worst <= 1, __FILE__, __LINE__, "%s: worst difference %d", file, worst);
    fc_picture_free(&p);
    fc_free(&want);
}

/* Write a PNG of one kind through libpng; values are `bytes_a_row` wide, big-endian where 16 bits.
 */
static bool write_png(const char *path, int colour, int bits, int width, int height, int interlace,
                      const uint8_t *values, size_t bytes_a_row)
{
    FILE *f = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    if (f == NULL || setjmp(png_jmpbuf(png)) != 0) {
        return false;
    }
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, bits, colour, interlace,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_color palette[2] = {{1, 2, 3}, {250, 100, 0}};
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 2);
        const png_byte alpha[2] = {0, 128};
        png_set_tRNS(png, info, alpha, 2, NULL);
    }
    png_write_info(png, info);
    png_bytep rows[8];
    for (int y = 0; y < height; y++) {
        rows[y] = (png_bytep)(uintptr_t)(values + (size_t)y * bytes_a_row);
    }
    png_write_image(png, rows);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(f);
    return true;
}

static void check_png(int colour, int bits, int width, int height, int interlace,
                      const uint8_t *values, size_t bytes_a_row, const uint8_t *rgb)
{
    const char *path = fc_check_temp("kind.png");
    fc_picture p;
    FC_CHECK(write_png(path, colour, bits, width, height, interlace, values, bytes_a_row));
    if (FC_CHECK_OK(fc_picture_load(&p, path))) {
        fc_check_true(p.width == width && p.height == height &&
                          memcmp(p.rgb, rgb, (size_t)(width * height * 3)) == 0,
                      __FILE__, __LINE__, "PNG of colour type %d, %d bits, interlace %d", colour,
                      bits, interlace);
        fc_picture_free(&p);
    }
}

static void png_kinds(void)
{
    const uint8_t grey_rgb[6] = {18, 18, 18, 200, 200, 200}, rgb[6] = {1, 2, 3, 250, 251, 252};
    check_png(PNG_COLOR_TYPE_GRAY, 8, 2, 1, 0, (const uint8_t[]){18, 200}, 2, grey_rgb);
    check_png(PNG_COLOR_TYPE_GRAY_ALPHA, 8, 2, 1, 0, (const uint8_t[]){18, 0, 200, 77}, 4,
              grey_rgb);
    check_png(PNG_COLOR_TYPE_GRAY, 16, 2, 1, 0, (const uint8_t[]){18, 255, 200, 0}, 4, grey_rgb);
    check_png(PNG_COLOR_TYPE_GRAY_ALPHA, 16, 2, 1, 0, (const uint8_t[]){18, 9, 1, 1, 200, 0, 0, 0},
              8, grey_rgb);
    check_png(PNG_COLOR_TYPE_RGB, 8, 2, 1, 0, rgb, 6, rgb);
    check_png(PNG_COLOR_TYPE_RGB_ALPHA, 8, 2, 1, 0, (const uint8_t[]){1, 2, 3, 0, 250, 251, 252, 9},
              8, rgb);
    check_png(PNG_COLOR_TYPE_RGB, 16, 2, 1, 0,
              (const uint8_t[]){1, 9, 2, 200, 3, 255, 250, 0, 251, 1, 252, 128}, 12, rgb);
    /* 1 bit grey: 10 -> white, black; 4 bits: f0 -> 255, 0; palette with transparency: colours stay
     */
    check_png(PNG_COLOR_TYPE_GRAY, 1, 2, 1, 0, (const uint8_t[]){0x80}, 1,
              (const uint8_t[]){255, 255, 255, 0, 0, 0});
    check_png(PNG_COLOR_TYPE_GRAY, 4, 2, 1, 0, (const uint8_t[]){0xf3}, 1,
              (const uint8_t[]){255, 255, 255, 51, 51, 51});
    check_png(PNG_COLOR_TYPE_PALETTE, 1, 2, 1, 0, (const uint8_t[]){0x40}, 1,
              (const uint8_t[]){1, 2, 3, 250, 100, 0});
    uint8_t large[5 * 7 * 3];
    for (size_t i = 0; i < sizeof large; i++) {
        large[i] = (uint8_t)(i * 37);
    }
    check_png(PNG_COLOR_TYPE_RGB, 8, 5, 7, PNG_INTERLACE_ADAM7, large, 15, large);
}

static void round_trips(void)
{
    fc_picture p = {.width = 33, .height = 17, .rgb = fc_alloc(33 * 17, 3)}, q = {0};
    for (int i = 0; i < 33 * 17; i++) {
        p.rgb[3 * i] = (uint8_t)(i % 33 * 7);
        p.rgb[3 * i + 1] = (uint8_t)(i / 33 * 15);
        p.rgb[3 * i + 2] = 90;
    }
    for (int codec = FC_CODEC_RAW; codec <= FC_CODEC_PNG; codec++) {
        uint8_t *bytes;
        size_t count;
        fc_codec sniffed, parsed = FC_CODEC_RAW;
        FC_CHECK_OK(fc_picture_encode(&p, (fc_codec)codec, 95, &bytes, &count));
        FC_CHECK_OK(fc_codec_parse(fc_codec_name((fc_codec)codec), &parsed));
        FC_CHECK_INT(parsed, codec);
        if (codec == FC_CODEC_RAW) {
            q = (fc_picture){.width = 33, .height = 17};
        } else {
            int width = 0, height = 0;
            FC_CHECK_OK(fc_codec_sniff(bytes, count, &sniffed));
            FC_CHECK_INT(sniffed, codec);
            FC_CHECK_OK(fc_picture_size((fc_codec)codec, bytes, count, &width, &height));
            FC_CHECK(width == 33 && height == 17);
            q = (fc_picture){0};
        }
        FC_CHECK_OK(fc_picture_decode(&q, (fc_codec)codec, bytes, count));
        FC_CHECK(q.width == 33 && q.height == 17);
        int worst = 0;
        for (int i = 0; i < 33 * 17 * 3; i++) {
            int d = abs((int)p.rgb[i] - q.rgb[i]);
            worst = d > worst ? d : worst;
        }
        FC_CHECK(worst <= (codec == FC_CODEC_JPEG ? 24 : 0));
        fc_picture_free(&q);
        fc_free(&bytes);
    }
    FC_CHECK_OK(fc_picture_save(&p, fc_check_temp("a.png")));
    FC_CHECK_OK(fc_picture_load(&q, fc_check_temp("a.png")));
    FC_CHECK(memcmp(p.rgb, q.rgb, 33 * 17 * 3) == 0);
    FC_CHECK_FAILS(fc_picture_save(&p, fc_check_temp("a.bmp")), FC_USAGE, ".png or .jpg");
    fc_codec none;
    FC_CHECK_FAILS(fc_codec_parse("gif", &none), FC_DATA, "gif");
    fc_picture_free(&q);
    fc_picture_free(&p);
}

/* Every prefix and many damaged copies of a file: an error or a picture, never a crash; prefixes
 * always an error. */
static void damage(const char *file)
{
    uint8_t *bytes = NULL, *copy;
    size_t count = 0;
    char name[64];
    fc_picture p = {0};
    fc_codec codec = FC_CODEC_RAW;
    snprintf(name, sizeof name, "prepare/%s", file);
    FC_CHECK_OK(fci_file_read(fc_check_golden(name), &bytes, &count));
    FC_CHECK_OK(fc_codec_sniff(bytes, count, &codec));
    copy = fc_alloc(count, 1);
    for (size_t n = 0; n + 2 < count; n += n < 64 || count < 1000 ? 1 : 97) {
        memcpy(copy, bytes, n);
        fc_status status = fc_picture_decode(&p, codec, copy, n);
        if (!fc_check_true(status == FC_DATA && p.rgb == NULL, __FILE__, __LINE__,
                           "%s cut after %zu bytes: %s", file, n, fc_status_text(status))) {
            fc_picture_free(&p);
        }
    }
    uint32_t random = 1;
    for (int i = 0; i < 300; i++) {
        memcpy(copy, bytes, count);
        for (int k = 0; k < 3; k++) {
            random = random * 1664525 + 1013904223;
            copy[(random >> 8) % count] = (uint8_t)(random >> 24);
        }
        fc_status status = fc_picture_decode(&p, codec, copy, count);
        FC_CHECK(status == FC_OK ? p.rgb != NULL : status == FC_DATA && p.rgb == NULL);
        fc_picture_free(&p);
    }
    fc_free(&copy);
    fc_free(&bytes);
}

static void refusals(void)
{
    fc_picture p = {0};
    fc_codec codec;
    FC_CHECK_FAILS(fc_codec_sniff((const uint8_t *)"GIF89a", 6, &codec), FC_DATA, "neither");
    FC_CHECK_FAILS(fc_picture_load(&p, fc_check_temp("absent.jpg")), FC_NOINPUT, "absent.jpg");
    p = (fc_picture){.width = 2, .height = 2};
    FC_CHECK_FAILS(fc_picture_decode(&p, FC_CODEC_RAW, (const uint8_t *)"abc", 3), FC_DATA,
                   "raw picture");
    /* 100000 x 100000 is refused by its header alone */
    uint8_t huge[41] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0,    0,    13, 'I',
                        'H',  'D', 'R', 0,   1,    0x86, 0xa0, 0,    1, 0x86, 0xa0, 8,  2};
    uint32_t crc = 0xffffffff;
    for (int i = 12; i < 29; i++) {
        crc ^= huge[i];
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    crc = ~crc;
    for (int i = 0; i < 4; i++) {
        huge[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
    memcpy(huge + 37, "IDAT", 4); /* the header of an empty chunk: here pixels would begin */
    FC_CHECK_FAILS(fc_picture_decode(&p, FC_CODEC_PNG, huge, sizeof huge), FC_DATA,
                   "100000 x 100000");
}

/* A header that claims more pixels than its file can hold is refused before there is memory for
 * them; a picture of one colour, which packs best, is not. */
static void claims(void)
{
    fc_picture p = {.width = 3000, .height = 2000, .rgb = fc_alloc(3000 * 2000, 3)}, q = {0};
    uint8_t *bytes = NULL;
    size_t count = 0;
    for (int codec = FC_CODEC_JPEG; codec <= FC_CODEC_PNG; codec++) {
        FC_CHECK_OK(fc_picture_encode(&p, (fc_codec)codec, 1, &bytes, &count));
        FC_CHECK(count < 3000 * 2000 / 50);
        FC_CHECK_OK(fc_picture_decode(&q, (fc_codec)codec, bytes, count));
        fc_picture_free(&q);
        fc_free(&bytes);
    }
    fc_picture_free(&p);
    FC_CHECK_OK(fci_file_read(fc_check_golden("prepare/grey.jpg"), &bytes, &count));
    for (size_t i = 0; i + 9 < count; i++) {
        if (bytes[i] == 0xff && bytes[i + 1] == 0xc0) { /* height and width of the frame */
            memcpy(bytes + i + 5, (const uint8_t[]){60, 0, 60, 0}, 4);
        }
    }
    FC_CHECK_FAILS(fc_picture_decode(&q, FC_CODEC_JPEG, bytes, count), FC_DATA,
                   "15360 x 15360 pixels cannot be in");
    fc_free(&bytes);
    q = (fc_picture){.width = 10000, .height = 10000};
    FC_CHECK_FAILS(fc_picture_decode(&q, FC_CODEC_RAW, (const uint8_t *)"abc", 3), FC_DATA,
                   "raw picture of 3 bytes");
}

int main(void)
{
    golden("grey.jpg", "grey.rgb");
    golden("cmyk.jpg", "cmyk.rgb");
    golden("progressive.jpg", "progressive.rgb");
    golden("palette.png", "palette.rgb");
    png_kinds();
    round_trips();
    damage("grey.jpg");
    damage("progressive.jpg");
    damage("palette.png");
    damage("000000069468.jpg");
    refusals();
    claims();
    return fc_check_end();
}
