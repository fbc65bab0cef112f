/* JPEG through libjpeg. Its errors come back through longjmp: everything that lives across one sits
 * in a struct. */
#include "core/memory.h"
#include "data/picture/codec.h"

#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>
#include <setjmp.h>

enum { MOST_SCANS = 256 };

typedef struct jpeg_errors {
    struct jpeg_error_mgr base; /* first: libjpeg hands back a pointer to it */
    jmp_buf back;
    const char *ours; /* an error libjpeg has no message for; NULL: its own */
} jpeg_errors;

static void on_error(j_common_ptr any)
{
    longjmp(((jpeg_errors *)any->err)->back, 1);
}

/* libjpeg goes on after damage and makes up pixels. Warnings about markers only (level -1 too)
 * leave pixels alone. */
static void on_message(j_common_ptr any, int level)
{
    if (level >= 0) {
        return;
    }
    switch (any->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_NOT_SEQUENTIAL:
        on_error(any);
        break;
    default:
        break;
    }
}

static struct jpeg_error_mgr *errors_init(jpeg_errors *e)
{
    jpeg_std_error(&e->base);
    e->base.error_exit = on_error;
    e->base.emit_message = on_message;
    e->ours = NULL;
    return &e->base;
}

static fc_status failed(j_common_ptr any)
{
    char text[JMSG_LENGTH_MAX];
    const char *ours = ((jpeg_errors *)any->err)->ours;
    any->err->format_message(any, text);
    return FC_FAIL(FC_DATA, "JPEG: %s", ours != NULL ? ours : text);
}

typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    jpeg_errors errors;
    struct jpeg_progress_mgr progress;
    size_t count;
    uint8_t *row; /* (width, 4) of a CMYK picture */
} reader;

/* Each scan of a progressive picture goes over all of it, however few bytes it has. */
static void on_progress(j_common_ptr any)
{
    if (((j_decompress_ptr)any)->input_scan_number > MOST_SCANS) {
        ((jpeg_errors *)any->err)->ours = "more than 256 scans";
        on_error(any);
    }
}

/* A block of 8 x 8 values takes a bit at least, and where components are sampled most differently 8
 * blocks stand for 32 x 32 pixels: no memory for pixels that cannot be in the file. Up to 4 million
 * are believed, since arithmetic coding, which nobody uses, can go below a bit. */
static fc_status check_claim(const reader *r)
{
    const int64_t believed = (int64_t)1 << 22, pixels_a_byte = 1024;
    int64_t pixels = (int64_t)r->jpeg.image_width * (int64_t)r->jpeg.image_height;
    if (pixels > believed && pixels / pixels_a_byte > (int64_t)r->count) {
        return FC_FAIL(FC_DATA, "JPEG: %u x %u pixels cannot be in %zu bytes", r->jpeg.image_width,
                       r->jpeg.image_height, r->count);
    }
    return FC_OK;
}

/* PIL's reading of CMYK JPEGs: values are stored inverted (Adobe's habit), black is multiplied in
 * with rounding. */
static void cmyk_to_rgb(const uint8_t *cmyk, int width, uint8_t *rgb)
{
    for (int x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        int light = cmyk[3];
        for (int c = 0; c < 3; c++) {
            int product = (255 - cmyk[c]) * light + 128;
            int v = light - (((product >> 8) + product) >> 8);
            rgb[c] = (uint8_t)(v < 0 ? 0 : v);
        }
    }
}

/* Memory for the picture, or, where the caller has it, that it is the right one. */
static fc_status make_room(const reader *r, fc_picture *out)
{
    int64_t width = r->jpeg.image_width, height = r->jpeg.image_height;
    if (out->rgb == NULL) {
        return fci_picture_alloc(out, width, height);
    }
    bool fits = width == out->width && height == out->height;
    out->width = (int)width;
    out->height = (int)height;
    return fits ? FC_OK : FC_FAIL(FC_DATA, "JPEG: of another size");
}

static fc_status read_rows(reader *r, fc_picture *out)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    bool cmyk = jpeg->num_components == 4;
    jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    FC_TRY(check_claim(r));
    FC_TRY(make_room(r, out));
    if (cmyk) {
        FC_TRY(fc_try_alloc((void **)&r->row, (size_t)out->width, 4, "picture row"));
    }
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to = out->rgb + (size_t)jpeg->output_scanline * (size_t)out->width * 3;
        JSAMPROW row = cmyk ? r->row : to;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (cmyk) {
            cmyk_to_rgb(r->row, out->width, to);
        }
    }
    return FC_OK;
}

/* With out NULL only the size is read. */
static fc_status decode(reader *r, const uint8_t *bytes, size_t count, fc_picture *out, int *width,
                        int *height)
{
    r->jpeg.err = errors_init(&r->errors);
    if (setjmp(r->errors.back) != 0) {
        return failed((j_common_ptr)&r->jpeg);
    }
    jpeg_create_decompress(&r->jpeg);
    r->progress.progress_monitor = on_progress;
    r->jpeg.progress = &r->progress;
    r->count = count;
    jpeg_mem_src(&r->jpeg, bytes, count);
    jpeg_read_header(&r->jpeg, TRUE);
    if (out == NULL) {
        *width = (int)r->jpeg.image_width;
        *height = (int)r->jpeg.image_height;
        return FC_OK;
    }
    FC_TRY(read_rows(r, out));
    return FC_OK;
}

fc_status fci_jpeg_decode_into(fc_picture *out, const uint8_t *bytes, size_t count)
{
    reader r = {0};
    fc_status status = decode(&r, bytes, count, out, NULL, NULL);
    jpeg_destroy_decompress(&r.jpeg);
    fc_free(&r.row);
    FC_TRY(status);
    return FC_OK;
}

fc_status fci_jpeg_decode(fc_picture *out, const uint8_t *bytes, size_t count)
{
    out->rgb = NULL;
    return fci_jpeg_decode_into(out, bytes, count);
}

fc_status fci_jpeg_size(const uint8_t *bytes, size_t count, int *width, int *height)
{
    reader r = {0};
    fc_status status = decode(&r, bytes, count, NULL, width, height);
    jpeg_destroy_decompress(&r.jpeg);
    FC_TRY(status);
    return FC_OK;
}

typedef struct writer {
    struct jpeg_compress_struct jpeg;
    jpeg_errors errors;
    struct jpeg_destination_mgr
        target; /* libjpeg's own memory target leaks when an error ends it */
    fci_bytes out;
} writer;

static void more_room(j_compress_ptr jpeg)
{
    writer *w = jpeg->client_data;
    fci_bytes_reserve(&w->out, 1 << 15);
    w->target.next_output_byte = w->out.data + w->out.count;
    w->target.free_in_buffer = w->out.room - w->out.count;
}

static boolean full(j_compress_ptr jpeg)
{
    writer *w = jpeg->client_data;
    w->out.count =
        w->out.room; /* libjpeg's contract: the whole buffer counts, whatever free_in_buffer says */
    more_room(jpeg);
    return TRUE;
}

static void finished(j_compress_ptr jpeg)
{
    writer *w = jpeg->client_data;
    w->out.count = w->out.room - w->target.free_in_buffer;
}

static fc_status encode(writer *w, const fc_picture *p, int quality)
{
    struct jpeg_compress_struct *jpeg = &w->jpeg;
    jpeg->err = errors_init(&w->errors);
    if (setjmp(w->errors.back) != 0) {
        return failed((j_common_ptr)jpeg);
    }
    jpeg_create_compress(jpeg);
    w->target = (struct jpeg_destination_mgr){
        .init_destination = more_room, .empty_output_buffer = full, .term_destination = finished};
    jpeg->client_data = w;
    jpeg->dest = &w->target;
    jpeg->image_width = (JDIMENSION)p->width;
    jpeg->image_height = (JDIMENSION)p->height;
    jpeg->input_components = 3;
    jpeg->in_color_space = JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, quality, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        JSAMPROW row = p->rgb + (size_t)jpeg->next_scanline * (size_t)p->width * 3;
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
    return FC_OK;
}

fc_status fci_jpeg_encode(const fc_picture *p, int quality, uint8_t **bytes, size_t *count)
{
    writer w = {0};
    fc_status status = encode(&w, p, quality);
    jpeg_destroy_compress(&w.jpeg);
    if (status != FC_OK) {
        fc_free(&w.out.data);
    }
    *bytes = w.out.data;
    *count = status == FC_OK ? w.out.count : 0;
    FC_TRY(status);
    return FC_OK;
}
