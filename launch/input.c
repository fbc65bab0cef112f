#include "launch/input.h"

#include "core/memory.h"

#include <string.h>

struct fc_input {
    const fc_backend *backend;
    int slots;
    size_t picture;         /* bytes */
    int64_t pictures;       /* room of a slot, crops among them */
    uint8_t **pinned, **at; /* (slots) */
};

/* Pictures that a slot has room for, crops among them. */
static int64_t pictures_of(const fc_loader_options *o)
{
    int64_t regions = (int64_t)o->grid_split * o->grid_split;
    regions = regions > o->max_boxes ? regions : o->max_boxes;
    return o->count * (1 + (o->need_crops ? regions : 0));
}

static size_t picture_bytes(const fc_loader_options *o)
{
    return 3 * (size_t)o->image_size * (size_t)o->image_size;
}

int64_t fc_input_bytes(const fc_backend *backend, const fc_loader_options *o)
{
    return backend->lanes == NULL ? 0 : (o->depth + 1) * pictures_of(o) * (int64_t)picture_bytes(o);
}

fc_input *fc_input_create(const fc_backend *backend, const fc_loader_options *o)
{
    if (backend->lanes == NULL) {
        return NULL;
    }
    fc_input *in = fc_alloc(1, sizeof *in);
    *in = (fc_input){.backend = backend,
                     .slots = o->depth + 1,
                     .picture = picture_bytes(o),
                     .pictures = pictures_of(o)};
    FC_ASSERT(in->slots <= FC_LANES);
    in->pinned = fc_alloc((size_t)in->slots, sizeof *in->pinned);
    in->at = fc_alloc((size_t)in->slots, sizeof *in->at);
    for (int i = 0; i < in->slots; i++) {
        in->pinned[i] = backend->lanes->alloc((size_t)in->pictures * in->picture);
        in->at[i] = backend->alloc((size_t)in->pictures * in->picture);
    }
    backend->synchronize(); /* new memory is filled by the other stream */
    return in;
}

void fc_input_destroy(fc_input **input)
{
    fc_input *in = *input;
    if (in == NULL) {
        return;
    }
    for (int i = 0; i < in->slots; i++) {
        in->backend->lanes->free(in->pinned[i]);
        in->backend->free(in->at[i]);
    }
    fc_free(&in->pinned);
    fc_free(&in->at);
    fc_free(input);
}

void fc_input_ready(void *input, int slot, fc_batch *b)
{
    fc_input *in = input;
    const int64_t crops = b->crops != NULL ? b->regions : 0;
    b->device_pictures = b->device_crops = NULL;
    if (b->images + crops > in->pictures) {
        return;
    }
    const size_t first = (size_t)b->images * in->picture, rest = (size_t)crops * in->picture;
    uint8_t *pinned = in->pinned[slot];
    if (first > 0) {
        memcpy(pinned, b->pictures, first);
    }
    if (rest > 0) {
        memcpy(pinned + first, b->crops, rest);
    }
    in->backend->lanes->start(slot, in->at[slot], pinned, first + rest);
    b->lane = slot;
    b->device_pictures = in->at[slot];
    b->device_crops = in->at[slot] + first;
}

void fc_input_again(fc_input *in, const fc_batch *b)
{
    const int64_t crops = b->crops != NULL ? b->regions : 0;
    in->backend->lanes->start(b->lane, in->at[b->lane], in->pinned[b->lane],
                              (size_t)(b->images + crops) * in->picture);
}
