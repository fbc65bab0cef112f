/* Safetensors. First byte: odd: a file of which the length of the header is made to fit, so that
 * mutations of the header reach its reader; the next two bytes are then the bytes of data. */
#include "core/memory.h"
#include "core/safetensors.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* (8 + count) bytes: length of the header, then the rest of the input. */
static uint8_t *with_length(fuzz_input *in, size_t *size)
{
    size_t data = fuzz_u16(in), count = in->left;
    uint64_t header = count - (data < count ? data : count);
    uint8_t *file = fc_alloc(8 + count, 1);
    memcpy(file, &header, 8);
    if (count > 0) {
        memcpy(file + 8, in->at, count);
    }
    *size = 8 + count;
    return file;
}

static void read_all(const fc_safetensors *st)
{
    for (int i = 0; i < st->count; i++) {
        const fc_st_tensor *t = &st->tensors[i];
        FUZZ_CHECK(fc_safetensors_find(st, t->name) != NULL);
        FUZZ_CHECK((size_t)t->count * (size_t)fc_st_dtype_bytes(t->dtype) <= st->map_bytes);
        float *f32 = fc_alloc((size_t)t->count, sizeof *f32);
        double *f64 = fc_alloc((size_t)t->count, sizeof *f64);
        (void)fuzz_ok(fc_safetensors_read_f32(t, f32));
        (void)fuzz_ok(fc_safetensors_read_f64(t, f64));
        fc_free(&f32);
        fc_free(&f64);
    }
    (void)fc_safetensors_metadata(st, "format");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    const char *path;
    if (fuzz_u8(&in) % 2 != 0) {
        size_t bytes;
        uint8_t *file = with_length(&in, &bytes);
        path = fuzz_file(0, file, bytes);
        fc_free(&file);
    } else {
        path = fuzz_file(0, in.at, in.left);
    }
    fc_safetensors *st = NULL;
    if (fuzz_ok(fc_safetensors_open(&st, path))) {
        read_all(st);
        fc_safetensors_close(&st);
        (void)fuzz_inspect(fci_inspect_weights, path);
    }
    FUZZ_CHECK(st == NULL);
    return 0;
}
