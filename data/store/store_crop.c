#include "data/store/store_files.h"

static fc_status fit_stored(fc_store *s, int64_t region, int size, fc_store_scratch *scratch,
                            uint8_t *out)
{
    if (s->crop_width[region] == size && s->crop_height[region] == size) {
        return fci_store_crop_into(s, region, scratch, out);
    }
    fc_picture crop;
    FC_TRY(fci_store_crop_borrow(s, region, scratch, &crop));
    return fc_picture_fit(&crop, FC_FIT_SQUASH, size, out, NULL, NULL);
}

static fc_status cut(const fc_store *s, int64_t region, const fc_picture *picture, int size,
                     uint8_t *out)
{
    const fc_rect from =
        fc_crop_rect(&s->boxes[4 * region], s->crop_scale, picture->width, picture->height);
    return fc_resize(picture, from, FC_BILINEAR, size, size, out);
}

fc_status fc_store_fit_crop(fc_store *s, int64_t region, int64_t image, const fc_picture *picture,
                            int size, fc_store_scratch *scratch, uint8_t *out)
{
    if (s->has_crops) {
        return fit_stored(s, region, size, scratch, out);
    }
    if (picture != NULL) {
        return cut(s, region, picture, size, out);
    }
    fc_picture decoded;
    FC_TRY(fc_store_picture_borrow(s, image, scratch, &decoded));
    return cut(s, region, &decoded, size, out);
}
