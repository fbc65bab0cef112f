/* The state of a run: a sound one of a tiny model, changed by a script of edits, with the length of
 * its header and its checksum made to fit, so that they do not stop the rest from being read. An
 * edit: first byte below 128: an entry of the metadata (by number) gets another value (length,
 * text); else: at an offset (two bytes) some bytes go (one byte) and others come (length, bytes).
 */
#include "core/memory.h"
#include "core/safetensors.h"
#include "launch/checkpoint/checkpoint.h"
#include "launch/dist.h"
#include "tests/fuzz/fuzz.h"
#include "tests/models/fixture.h"

#include <unistd.h>

enum { LENGTH_BYTES = 8, MOST_EDITS = 8 };

/* A file being changed. */
typedef struct image {
    uint8_t *bytes;
    size_t size;
} image;

static struct {
    fc_clip *model;
    fc_adamw *adamw;
    image sound;
} base;

static void prepare(void)
{
    const fc_model_config config = fx_tiny_config(FC_VISION_VIT, 1);
    const fc_adamw_options options = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
    const fc_checkpoint_position position = {
        .step = 12, .global_batch = 8, .ranks = 2, .seed = 1, .images = 100, .epoch = 0.96};
    FUZZ_CHECK(fuzz_ok(fc_clip_create(&base.model, &config, config.vision.image_size, FC_F32, 0)));
    fc_clip_init(base.model, 1);
    base.adamw = fc_adamw_create(base.model->params, fc_dist_comm(), &options);
    char *folder = fc_strdup(fc_check_temp("")), *path = NULL;
    FUZZ_CHECK(fuzz_ok(
        fc_checkpoint_save_state(folder, base.model, base.adamw, fc_dist_comm(), &position, 1)));
    FUZZ_CHECK(fuzz_ok(fc_checkpoint_newest(folder, fc_dist_comm(), &path)) && path != NULL);
    FILE *f = fopen(path, "rb");
    FUZZ_CHECK(f != NULL && fseek(f, 0, SEEK_END) == 0);
    base.sound.size = (size_t)ftell(f);
    base.sound.bytes = fc_alloc(base.sound.size, 1);
    rewind(f);
    FUZZ_CHECK(fread(base.sound.bytes, 1, base.sound.size, f) == base.sound.size);
    fclose(f);
    fc_free(&folder);
    fc_free(&path);
}

/* Bytes [at, at + gone) become `count` bytes of `from`. */
static void put(image *file, size_t at, size_t gone, const uint8_t *from, size_t count)
{
    at = at < file->size ? at : file->size;
    gone = gone < file->size - at ? gone : file->size - at;
    uint8_t *bytes = fc_alloc(file->size - gone + count, 1);
    memcpy(bytes, file->bytes, at);
    memcpy(bytes + at, from, count);
    memcpy(bytes + at + count, file->bytes + at + gone, file->size - at - gone);
    fc_free(&file->bytes);
    file->bytes = bytes;
    file->size = file->size - gone + count;
}

/* The value of entry `number` of the metadata, which stands first in the header. */
static void find_value(const image *file, int number, size_t *at, size_t *length)
{
    const char *text = (const char *)file->bytes;
    size_t i = LENGTH_BYTES;
    for (int quotes = 2 + 4 * number + 3; i < file->size && quotes > 0; i++) {
        quotes -= text[i] == '"';
    }
    *at = i;
    while (i < file->size && text[i] != '"') {
        i++;
    }
    *length = i - *at;
}

static void edit(image *file, fuzz_input *in)
{
    uint8_t kind = fuzz_u8(in), fresh[255];
    size_t at, gone;
    if (kind < 128) {
        find_value(file, kind % 16, &at, &gone);
    } else {
        at = fuzz_u16(in);
        gone = fuzz_u8(in);
    }
    size_t count = fuzz_u8(in);
    count = count < in->left ? count : in->left;
    for (size_t i = 0; i < count; i++) {
        fresh[i] = fuzz_u8(in);
    }
    put(file, at, gone, fresh, count);
}

/* The length of the header covers what edits added to it or took. */
static void mend_length(image *file)
{
    uint64_t header;
    memcpy(&header, base.sound.bytes, LENGTH_BYTES);
    header += file->size - base.sound.size;
    if (file->size >= LENGTH_BYTES) {
        memcpy(file->bytes, &header, LENGTH_BYTES);
    }
}

static void mend_checksum(image *file, const char *path)
{
    static const char key[] = "\"" FC_ST_SUM_KEY "\":\"";
    fc_safetensors *st;
    if (!fuzz_ok(fc_safetensors_open(&st, path))) {
        return;
    }
    char sum[FC_ST_SUM_BYTES];
    fci_safetensors_sum(sum, st->count, st->tensors, (const char *const *)st->metadata);
    fc_safetensors_close(&st);
    uint8_t *found = memmem(file->bytes, file->size, key, strlen(key));
    if (found != NULL) {
        size_t at = (size_t)(found - file->bytes) + strlen(key);
        put(file, at, strlen(sum), (const uint8_t *)sum, strlen(sum));
        (void)fuzz_file(0, file->bytes, file->size);
    }
}

static void check(const fc_checkpoint_position *p)
{
    const int64_t most = INT64_MAX / 4; /* sums of two must not overflow */
    FUZZ_CHECK(p->step >= 0 && p->step < most);
    FUZZ_CHECK(p->skipped_batches >= 0 && p->skipped_batches < most);
    FUZZ_CHECK(p->global_batch >= 1 && p->global_batch < most);
    FUZZ_CHECK(p->ranks >= 1);
    FUZZ_CHECK(isfinite(p->epoch) && p->epoch >= 0);
    FUZZ_CHECK(isfinite(p->epoch_seconds) && p->epoch_seconds >= 0);
    FUZZ_CHECK(p->watch.count >= 0 && p->watch.bad_in_row >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (base.model == NULL) {
        prepare();
    }
    fuzz_input in = {data, size};
    image file = {fc_alloc(base.sound.size, 1), base.sound.size};
    memcpy(file.bytes, base.sound.bytes, file.size);
    for (int i = 0; i < MOST_EDITS && in.left > 0; i++) {
        edit(&file, &in);
    }
    mend_length(&file);
    const char *path = fuzz_file(0, file.bytes, file.size);
    mend_checksum(&file, path);
    fc_checkpoint_position position;
    double epoch;
    bool fine = fuzz_ok(fc_checkpoint_load_state(path, base.model, base.adamw, &position));
    FUZZ_CHECK(fine || size > 0); /* the sound file is sound */
    if (fine) {
        check(&position);
    }
    (void)fuzz_ok(fc_checkpoint_load_weights(path, base.model, &epoch));
    fc_free(&file.bytes);
    return 0;
}
