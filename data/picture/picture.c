#include "data/picture/picture.h"

#include "core/memory.h"
#include "data/file.h"
#include "data/picture/codec.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const codec_names[] = {
    [FC_CODEC_RAW] = "raw", [FC_CODEC_JPEG] = "jpeg", [FC_CODEC_PNG] = "png"};

void fc_picture_free(fc_picture *p)
{
    fc_free(&p->rgb);
    p->width = 0;
    p->height = 0;
}

fc_status fc_codec_parse(const char *word, fc_codec *out)
{
    for (int i = FC_CODEC_RAW; i <= FC_CODEC_PNG; i++) {
        if (strcmp(word, codec_names[i]) == 0) {
            *out = (fc_codec)i;
            return FC_OK;
        }
    }
    return FC_FAIL(FC_DATA, "unknown picture codec \"%s\" (known: raw, jpeg, png)", word);
}

const char *fc_codec_name(fc_codec codec)
{
    return codec_names[codec];
}

fc_status fci_picture_check_size(int64_t width, int64_t height)
{
    const int64_t most = (int64_t)1 << 28;
    if (width < 1 || height < 1 || width > most || height > most || width * height > most) {
        return FC_FAIL(FC_DATA, "picture of %lld x %lld pixels (at least 1, at most 2^28 in all)",
                       (long long)width, (long long)height);
    }
    return FC_OK;
}

fc_status fci_picture_alloc(fc_picture *p, int64_t width, int64_t height)
{
    FC_TRY(fci_picture_check_size(width, height));
    FC_TRY(fc_try_room((void **)&p->rgb, (size_t)(width * height), 3, "picture"));
    p->width = (int)width;
    p->height = (int)height;
    return FC_OK;
}

static fc_status raw_decode(fc_picture *out, const uint8_t *bytes, size_t count)
{
    int width = out->width, height = out->height;
    size_t want = width > 0 && height > 0 ? (size_t)width * (size_t)height * 3 : count;
    if (count != want) {
        return FC_FAIL(FC_DATA, "raw picture of %zu bytes, %d x %d x 3 = %zu are needed", count,
                       height, width, want);
    }
    FC_TRY(fci_picture_alloc(out, width, height));
    memcpy(out->rgb, bytes, want);
    return FC_OK;
}

fc_status fc_picture_decode(fc_picture *out, fc_codec codec, const uint8_t *bytes, size_t count)
{
    out->rgb = NULL;
    fc_status status = FC_OK;
    switch (codec) {
    case FC_CODEC_RAW:
        FC_TRY_GOTO(status, raw_decode(out, bytes, count), done);
        break;
    case FC_CODEC_JPEG:
        FC_TRY_GOTO(status, fci_jpeg_decode(out, bytes, count), done);
        break;
    case FC_CODEC_PNG:
        FC_TRY_GOTO(status, fci_png_decode(out, bytes, count), done);
        break;
    }
done:
    if (status != FC_OK) {
        fc_picture_free(out);
    }
    return status;
}

fc_status fc_picture_decode_into(fc_picture *out, fc_codec codec, const uint8_t *bytes,
                                 size_t count)
{
    if (codec == FC_CODEC_JPEG) {
        FC_TRY(fci_jpeg_decode_into(out, bytes, count));
        return FC_OK;
    }
    fc_picture read = {.width = out->width, .height = out->height};
    FC_TRY(fc_picture_decode(&read, codec, bytes, count));
    bool fits = read.width == out->width && read.height == out->height;
    if (fits) {
        memcpy(out->rgb, read.rgb, 3 * (size_t)read.width * (size_t)read.height);
    }
    out->width = read.width;
    out->height = read.height;
    fc_picture_free(&read);
    return fits ? FC_OK : FC_FAIL(FC_DATA, "picture of another size");
}

fc_status fc_codec_sniff(const uint8_t *bytes, size_t count, fc_codec *out)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (count >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff) {
        *out = FC_CODEC_JPEG;
    } else if (count >= sizeof png && memcmp(bytes, png, sizeof png) == 0) {
        *out = FC_CODEC_PNG;
    } else {
        return FC_FAIL(FC_DATA, "neither JPEG nor PNG");
    }
    return FC_OK;
}

fc_status fc_picture_size(fc_codec codec, const uint8_t *bytes, size_t count, int *width,
                          int *height)
{
    switch (codec) {
    case FC_CODEC_RAW:
        break;
    case FC_CODEC_JPEG:
        FC_TRY(fci_jpeg_size(bytes, count, width, height));
        return FC_OK;
    case FC_CODEC_PNG:
        FC_TRY(fci_png_size(bytes, count, width, height));
        return FC_OK;
    }
    return FC_FAIL(FC_DATA, "raw pictures do not say their size");
}

fc_status fc_picture_encode(const fc_picture *p, fc_codec codec, int quality, uint8_t **bytes,
                            size_t *count)
{
    *bytes = NULL;
    *count = 0;
    switch (codec) {
    case FC_CODEC_RAW:
        break;
    case FC_CODEC_JPEG:
        FC_TRY(fci_jpeg_encode(p, quality, bytes, count));
        return FC_OK;
    case FC_CODEC_PNG:
        FC_TRY(fci_png_encode(p, bytes, count));
        return FC_OK;
    }
    size_t size = (size_t)p->width * (size_t)p->height * 3;
    FC_TRY(fc_try_alloc((void **)bytes, size, 1, "picture"));
    memcpy(*bytes, p->rgb, size);
    *count = size;
    return FC_OK;
}

fc_status fc_picture_load(fc_picture *out, const char *path)
{
    *out = (fc_picture){0};
    uint8_t *bytes;
    size_t count;
    FC_TRY(fci_file_read(path, &bytes, &count));
    fc_codec codec = FC_CODEC_RAW;
    fc_status status = fc_codec_sniff(bytes, count, &codec);
    if (status == FC_OK) {
        status = fc_picture_decode(out, codec, bytes, count);
    }
    fc_free(&bytes);
    if (status != FC_OK) {
        char inner[512];
        snprintf(inner, sizeof inner, "%s", fc_error_message());
        return FC_FAIL(status, "%s: %s", path, inner);
    }
    return FC_OK;
}

static bool has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    return n > k && strcasecmp(path + n - k, suffix) == 0;
}

fc_status fc_picture_save(const fc_picture *p, const char *path)
{
    fc_codec codec = FC_CODEC_PNG;
    if (has_suffix(path, ".jpg") || has_suffix(path, ".jpeg")) {
        codec = FC_CODEC_JPEG;
    } else if (!has_suffix(path, ".png")) {
        return FC_FAIL(FC_USAGE, "%s: a picture's file name ends with .png or .jpg", path);
    }
    uint8_t *bytes;
    size_t count;
    FC_TRY(fc_picture_encode(p, codec, 95, &bytes, &count));
    fc_status status = fci_file_write(path, bytes, count);
    fc_free(&bytes);
    FC_TRY(status);
    return FC_OK;
}
