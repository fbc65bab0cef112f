#include "data/store.h"

static fc_status fit_stored(fc_store *s, int64_t region, int size, uint8_t *out)
{
    fc_picture crop;
    FC_TRY(fc_store_crop(s, region, &crop));
    fc_status status = fc_picture_fit(&crop, FC_FIT_SQUASH, size, out, NULL, NULL);
    fc_picture_free(&crop);
    return status;
}

static fc_status cut(const fc_store *s, int64_t region, const fc_picture *picture, int size,
                     uint8_t *out)
{
    const fc_rect from =
        fc_crop_rect(&s->boxes[4 * region], s->crop_scale, picture->width, picture->height);
    return fc_resize(picture, from, FC_BILINEAR, size, size, out);
}

fc_status fc_store_fit_crop(fc_store *s, int64_t region, int64_t image, const fc_picture *picture,
                            int size, uint8_t *out)
{
    if (s->has_crops) {
        return fit_stored(s, region, size, out);
    }
    if (picture != NULL) {
        return cut(s, region, picture, size, out);
    }
    fc_picture decoded;
    FC_TRY(fc_store_picture(s, image, &decoded));
    fc_status status = cut(s, region, &decoded, size, out);
    fc_picture_free(&decoded);
    return status;
}
