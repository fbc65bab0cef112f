#include "data/prepare/plan.h"

#include "core/memory.h"
#include "data/prepare/plan_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void fci_plan_image_pack(fci_bytes *out, const fci_plan_image *image)
{
    fci_pack_i64(out, image->id);
    fci_pack_text(out, image->name);
    fci_pack_text(out, image->file);
    fci_pack_i64(out, image->offset);
    fci_pack_i64(out, image->bytes);
    fci_pack_text(out, image->mask);
    fci_pack_i64(out, image->width);
    fci_pack_i64(out, image->height);
    fci_pack_i64(out, image->captions);
    for (int i = 0; i < image->captions; i++) {
        fci_pack_text(out, image->caption[i]);
    }
    fci_pack_i64(out, image->regions);
    for (int i = 0; i < image->regions; i++) {
        const fci_plan_region *r = &image->region[i];
        fci_pack(out, r->box, sizeof r->box);
        fci_pack_i64(out, r->segment);
        fci_pack_i64(out, r->category);
        fci_pack_real(out, r->score);
        fci_pack_text(out, r->caption);
    }
}

fc_status fci_plan_image_unpack(fci_plan_image *out, fci_unpack *from)
{
    out->id = fci_unpack_i64(from);
    out->name = fci_unpack_text(from);
    out->file = fci_unpack_text(from);
    out->offset = fci_unpack_i64(from);
    out->bytes = fci_unpack_i64(from);
    out->mask = fci_unpack_text(from);
    out->width = (int)fci_unpack_i64(from);
    out->height = (int)fci_unpack_i64(from);
    out->captions = fci_unpack_count(from, sizeof(int64_t));
    if (out->captions > out->caption_room) {
        out->caption_room = 2 * out->captions;
        out->caption = fc_realloc(out->caption, (size_t)out->caption_room, sizeof *out->caption);
    }
    for (int i = 0; i < out->captions; i++) {
        out->caption[i] = fci_unpack_text(from);
    }
    out->regions = fci_unpack_count(from, 8 * sizeof(int64_t));
    if (out->regions > out->region_room) {
        out->region_room = 2 * out->regions;
        out->region = fc_realloc(out->region, (size_t)out->region_room, sizeof *out->region);
    }
    for (int i = 0; i < out->regions; i++) {
        fci_plan_region *r = &out->region[i];
        const void *box = fci_unpack_raw(from, sizeof r->box);
        if (box != NULL) {
            memcpy(r->box, box, sizeof r->box);
        }
        r->segment = fci_unpack_i64(from);
        r->category = fci_unpack_i64(from);
        r->score = fci_unpack_real(from);
        r->caption = fci_unpack_text(from);
    }
    return from->bad || out->name == NULL || out->file == NULL
               ? FC_FAIL(FC_DATA, "a picture of the plan is damaged")
               : FC_OK;
}

void fci_plan_image_free(fci_plan_image *image)
{
    fc_free(&image->caption);
    fc_free(&image->region);
}

static fc_status read_at(const fci_plan *p, void *to, size_t bytes, uint64_t at)
{
    uint8_t *out = to;
    while (bytes > 0) {
        ssize_t n = pread(p->fd, out, bytes, (off_t)at);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return FC_FAIL(FC_RUNTIME, "%s cannot be read: %s", p->path,
                           n < 0 ? strerror(errno) : "it is too short");
        }
        n = n < 0 ? 0 : n;
        out += n;
        bytes -= (size_t)n;
        at += (uint64_t)n;
    }
    return FC_OK;
}

static fc_status read_head(fci_plan *p, const fci_plan_tail *tail)
{
    fci_bytes head = {0};
    fci_bytes_reserve(&head, tail->head_bytes);
    fc_status status = read_at(p, head.data, tail->head_bytes, tail->head_at);
    fci_unpack u = {head.data, tail->head_bytes, status != FC_OK};
    p->images = fci_unpack_i64(&u);
    p->has_scores = fci_unpack_i64(&u) != 0;
    const void *counts = fci_unpack_raw(&u, sizeof p->counts);
    if (counts != NULL) {
        memcpy(&p->counts, counts, sizeof p->counts);
    }
    int categories = fci_unpack_count(&u, 3 * sizeof(int64_t));
    p->category = fc_alloc((size_t)categories, sizeof *p->category);
    for (; p->categories < categories && !u.bad; p->categories++) {
        fci_plan_category *c = &p->category[p->categories];
        c->id = fci_unpack_i64(&u);
        const char *name = fci_unpack_text(&u);
        c->name = fc_strdup(name == NULL ? "" : name);
        c->isthing = fci_unpack_i64(&u) != 0;
    }
    fc_free(&head.data);
    FC_TRY(status);
    return u.bad ? FC_FAIL(FC_DATA, "%s is damaged: remove it", p->path) : FC_OK;
}

fc_status fci_plan_open(fci_plan *out, const char *path, const uint8_t *fingerprint, bool *same)
{
    *out = (fci_plan){.fd = open(path, O_RDONLY | O_CLOEXEC)};
    *same = false;
    if (out->fd < 0) {
        return FC_OK;
    }
    out->path = fc_strdup(path);
    fci_plan_tail tail;
    off_t size = lseek(out->fd, 0, SEEK_END);
    fc_status status = FC_OK;
    if (size >= (off_t)sizeof tail) {
        status = read_at(out, &tail, sizeof tail, (uint64_t)size - sizeof tail);
        *same = status == FC_OK && tail.magic == FCI_PLAN_MAGIC &&
                memcmp(tail.fingerprint, fingerprint, FC_HASH_BYTES) == 0;
    }
    if (*same) {
        out->offsets_at = tail.offsets_at;
        status = read_head(out, &tail);
    }
    if (status != FC_OK || !*same) {
        fci_plan_close(out);
    }
    FC_TRY(status);
    return FC_OK;
}

void fci_plan_close(fci_plan *plan)
{
    for (int64_t i = 0; i < plan->categories; i++) {
        fc_free(&plan->category[i].name);
    }
    fc_free(&plan->category);
    if (plan->path != NULL) {
        close(plan->fd);
    }
    fc_free(&plan->path);
    *plan = (fci_plan){.fd = -1};
}

fc_status fci_plan_read(const fci_plan *plan, int64_t first, int64_t count, fci_bytes *bytes)
{
    uint64_t span[2];
    for (int i = 0; i < 2; i++) {
        uint64_t item = (uint64_t)(i == 0 ? first : first + count);
        FC_TRY(read_at(plan, &span[i], sizeof span[i], plan->offsets_at + item * sizeof span[i]));
    }
    if (span[1] < span[0]) {
        return FC_FAIL(FC_DATA, "%s is damaged: remove it", plan->path);
    }
    bytes->count = 0;
    fci_bytes_reserve(bytes, span[1] - span[0]);
    bytes->count = span[1] - span[0];
    FC_TRY(read_at(plan, bytes->data, bytes->count, span[0]));
    return FC_OK;
}
