/* PNG through libpng. Its errors come back through longjmp: everything that lives across one sits
 * in a struct. 16-bit values keep their high byte, also in grey pictures (PIL's convert("RGB") cuts
 * those off at 255 instead, which turns most of them white); gamma and colour profiles are ignored
 * as PIL does. */
#include "core/memory.h"
#include "data/picture/codec.h"

#include <stdio.h>
#include <string.h>

#include <png.h>
#include <setjmp.h>

typedef struct png_work {
    png_structp png;
    png_infop info;
    char message[256];
    const uint8_t *in; /* reading: what is left */
    size_t left;
    fci_bytes out; /* writing */
    png_bytep *rows;
} png_work;

static void on_error(png_structp png, png_const_charp text)
{
    png_work *w = png_get_error_ptr(png);
    snprintf(w->message, sizeof w->message, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep to, size_t count)
{
    png_work *w = png_get_io_ptr(png);
    if (count > w->left) {
        png_error(png, "the file ends too early");
    }
    memcpy(to, w->in, count);
    w->in += count;
    w->left -= count;
}

static void write_bytes(png_structp png, png_bytep from, size_t count)
{
    png_work *w = png_get_io_ptr(png);
    fci_bytes_reserve(&w->out, count);
    memcpy(w->out.data + w->out.count, from, count);
    w->out.count += count;
}

static void flush_bytes(png_structp png)
{
    (void)png;
}

static fc_status set_rows(png_work *w, uint8_t *rgb, size_t width, size_t height)
{
    FC_TRY(fc_try_alloc((void **)&w->rows, height, sizeof *w->rows, "picture rows"));
    for (size_t y = 0; y < height; y++) {
        w->rows[y] = rgb + y * width * 3;
    }
    return FC_OK;
}

/* Deflate packs at most 1032 bytes into one: no memory for pixels that cannot be in the file. */
static fc_status check_claim(const png_work *w, size_t count)
{
    const double most_packed = 1032, head = 1024;
    png_uint_32 width = png_get_image_width(w->png, w->info),
                height = png_get_image_height(w->png, w->info);
    double row = 1.0 + (double)png_get_rowbytes(w->png, w->info);
    if (row * height > most_packed * ((double)count + head)) {
        return FC_FAIL(FC_DATA, "PNG: %u x %u pixels cannot be in %zu bytes", width, height, count);
    }
    return FC_OK;
}

static fc_status read_image(png_work *w, fc_picture *out)
{
    size_t count = w->left;
    png_read_info(w->png, w->info);
    FC_TRY(check_claim(w, count));
    FC_TRY(fci_picture_alloc(out, png_get_image_width(w->png, w->info),
                             png_get_image_height(w->png, w->info)));
    int colour = png_get_color_type(w->png, w->info);
    if (png_get_bit_depth(w->png, w->info) == 16) {
        png_set_strip_16(w->png);
    }
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_set_palette_to_rgb(w->png);
    }
    if ((colour & PNG_COLOR_MASK_COLOR) == 0) {
        png_set_expand_gray_1_2_4_to_8(w->png);
        png_set_gray_to_rgb(w->png);
    }
    png_set_strip_alpha(w->png);
    png_set_interlace_handling(w->png);
    png_read_update_info(w->png, w->info);
    size_t row = png_get_rowbytes(w->png, w->info);
    if (row != (size_t)out->width * 3) {
        return FC_FAIL(FC_BUG, "PNG: rows of %zu bytes for %d pixels", row, out->width);
    }
    FC_TRY(set_rows(w, out->rgb, (size_t)out->width, (size_t)out->height));
    png_read_image(w->png, w->rows);
    png_read_end(w->png, NULL);
    return FC_OK;
}

static fc_status decode(png_work *w, fc_picture *out)
{
    w->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, w, on_error, on_warning);
    w->info = w->png == NULL ? NULL : png_create_info_struct(w->png);
    if (w->info == NULL) {
        return FC_FAIL(FC_NOMEM, "no memory for libpng");
    }
    if (setjmp(png_jmpbuf(w->png)) != 0) {
        return FC_FAIL(FC_DATA, "PNG: %s", w->message);
    }
    png_set_read_fn(w->png, w, read_bytes);
    /* Nothing but pixels is wanted: texts, profiles and the like are passed over, whatever length
     * they claim, without memory for them. */
    png_set_keep_unknown_chunks(w->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    FC_TRY(read_image(w, out));
    return FC_OK;
}

fc_status fci_png_decode(fc_picture *out, const uint8_t *bytes, size_t count)
{
    png_work w = {.in = bytes, .left = count};
    int width, height;
    /* libpng lets chunks it does not know stand before the header, which must be first. */
    FC_TRY(fci_png_size(bytes, count, &width, &height));
    fc_status status = decode(&w, out);
    png_destroy_read_struct(&w.png, &w.info, NULL);
    fc_free(&w.rows);
    FC_TRY(status);
    return FC_OK;
}

static int64_t big_endian(const uint8_t *p)
{
    return (int64_t)p[0] << 24 | (int64_t)p[1] << 16 | (int64_t)p[2] << 8 | (int64_t)p[3];
}

fc_status fci_png_size(const uint8_t *bytes, size_t count, int *width, int *height)
{
    fc_codec codec;
    FC_TRY(fc_codec_sniff(bytes, count, &codec));
    /* signature 8, chunk length 4, "IHDR", width 4, height 4 */
    if (codec != FC_CODEC_PNG || count < 24 || memcmp(bytes + 12, "IHDR", 4) != 0) {
        return FC_FAIL(FC_DATA, "PNG: no header");
    }
    int64_t w = big_endian(bytes + 16), h = big_endian(bytes + 20);
    if (w < 1 || h < 1 || w > INT32_MAX || h > INT32_MAX) {
        return FC_FAIL(FC_DATA, "PNG: picture of %lld x %lld pixels", (long long)w, (long long)h);
    }
    *width = (int)w;
    *height = (int)h;
    return FC_OK;
}

static fc_status encode(png_work *w, const fc_picture *p)
{
    w->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, w, on_error, on_warning);
    w->info = w->png == NULL ? NULL : png_create_info_struct(w->png);
    if (w->info == NULL) {
        return FC_FAIL(FC_NOMEM, "no memory for libpng");
    }
    FC_TRY(set_rows(w, p->rgb, (size_t)p->width, (size_t)p->height));
    if (setjmp(png_jmpbuf(w->png)) != 0) {
        return FC_FAIL(FC_DATA, "PNG: %s", w->message);
    }
    png_set_write_fn(w->png, w, write_bytes, flush_bytes);
    png_set_IHDR(w->png, w->info, (png_uint_32)p->width, (png_uint_32)p->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    png_write_image(w->png, w->rows);
    png_write_end(w->png, NULL);
    return FC_OK;
}

fc_status fci_png_encode(const fc_picture *p, uint8_t **bytes, size_t *count)
{
    png_work w = {0};
    fc_status status = encode(&w, p);
    png_destroy_write_struct(&w.png, &w.info);
    fc_free(&w.rows);
    if (status != FC_OK) {
        fc_free(&w.out.data);
    }
    *bytes = w.out.data;
    *count = status == FC_OK ? w.out.count : 0;
    FC_TRY(status);
    return FC_OK;
}
