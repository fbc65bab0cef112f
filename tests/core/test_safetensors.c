/* Safetensors: round trip, exact half-precision decoding, and headers that lie. */
#include "core/memory.h"
#include "core/safetensors.h"
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void write_raw(const char *path, uint64_t header_bytes, const char *header, size_t bytes,
                      size_t data)
{
    unlink(
        path); /* some file systems write a file out at once that was cut to nothing and filled */
    FILE *f = fopen(path, "wb");
    FC_CHECK(f != NULL);
    fwrite(&header_bytes, 8, 1, f);
    fwrite(header, 1, bytes, f);
    for (size_t i = 0; i < data; i++) {
        fputc((int)(i & 255), f);
    }
    fclose(f);
}

/* A file of this header and so many data bytes must be refused with a message that holds the path
 * and `part`. */
static void refused(int line, const char *header, size_t data, const char *part)
{
    const char *path = fc_check_temp("bad.safetensors");
    write_raw(path, strlen(header), header, strlen(header), data);
    fc_safetensors *st = NULL;
    fc_status status = fc_safetensors_open(&st, path);
    const char *message = status == FC_OK ? "" : fc_error_message();
    fc_check_true(status == FC_DATA && strstr(message, part) != NULL &&
                      strstr(message, path) != NULL && st == NULL,
                  __FILE__, line, "header %s: status %d, message '%s', want '%s'", header,
                  (int)status, message, part);
    fc_safetensors_close(&st);
}
#define REFUSED(header, data, part) refused(__LINE__, header, data, part)

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void test_round_trip(void)
{
    const char *path = fc_check_temp("a.safetensors");
    float weights[6] = {1, -2.5F, 3e-40F, INFINITY, -0.0F, 7};
    double precise[2] = {1.0 / 3, -1e300};
    int64_t whole[3] = {-1, INT64_MAX, INT64_MIN};
    uint16_t half[1] = {0x3c00};
    uint8_t odd[3] = {1, 2, 255};
    const fc_st_tensor tensors[] = {
        {"visual.w", FC_ST_F32, 2, {2, 3}, 6, weights},
        {"odd", FC_ST_U8, 1, {3}, 3, odd},
        {"precise", FC_ST_F64, 1, {2}, 2, precise},
        {"empty", FC_ST_F32, 2, {0, 4}, 0, NULL},
        {"logit_scale", FC_ST_F16, 0, {0}, 1, half},
        {"whole \"q\" \xc3\xa9", FC_ST_I64, 1, {3}, 3, whole},
    };
    const char *metadata[] = {"format", "pt", "note", "two\nlines", NULL};
    FC_CHECK_OK(fc_safetensors_write(path, 6, tensors, metadata));
    char *partial = fc_format("%s.partial", path);
    FC_CHECK(access(partial, F_OK) != 0);
    fc_free(&partial);

    fc_safetensors *st = NULL;
    FC_CHECK_OK(fc_safetensors_open(&st, path));
    if (st == NULL) {
        return;
    }
    FC_CHECK_INT(st->count, 6);
    for (int i = 0; i < 6; i++) {
        const fc_st_tensor *t = fc_safetensors_find(st, tensors[i].name);
        if (!FC_CHECK(t != NULL)) {
            continue;
        }
        FC_CHECK_STR(t->name, tensors[i].name);
        FC_CHECK_INT(t->dtype, tensors[i].dtype);
        FC_CHECK_INT(t->ndim, tensors[i].ndim);
        FC_CHECK_INT(t->count, tensors[i].count);
        FC_CHECK(memcmp(t->shape, tensors[i].shape, sizeof t->shape[0] * (size_t)t->ndim) == 0);
        FC_CHECK(t->count == 0 || memcmp(t->data, tensors[i].data,
                                         (size_t)(t->count * fc_st_dtype_bytes(t->dtype))) == 0);
    }
    FC_CHECK(fc_safetensors_find(st, "visual") == NULL);
    FC_CHECK_STR(fc_safetensors_metadata(st, "note"), "two\nlines");
    FC_CHECK_STR(fc_safetensors_metadata(st, "format"), "pt");
    FC_CHECK(fc_safetensors_metadata(st, "none") == NULL);

    float f32[6];
    double f64[6];
    const fc_st_tensor *w = fc_safetensors_find(st, "visual.w");
    FC_CHECK_OK(fc_safetensors_read_f32(w, f32));
    FC_CHECK(memcmp(f32, weights, sizeof weights) == 0);
    FC_CHECK_OK(fc_safetensors_read_f64(w, f64));
    FC_CHECK(f64[1] == -2.5 && f64[2] == (double)3e-40F && signbit(f64[4]));
    /* After 3 odd bytes this one is not aligned in memory. */
    FC_CHECK_OK(fc_safetensors_read_f64(fc_safetensors_find(st, "precise"), f64));
    FC_CHECK(f64[0] == precise[0] && f64[1] == precise[1]);
    FC_CHECK_FAILS(fc_safetensors_read_f32(fc_safetensors_find(st, "odd"), f32), FC_DATA, "'odd'");
    FC_CHECK_FAILS(fc_safetensors_read_f64(fc_safetensors_find(st, "odd"), f64), FC_DATA, "U8");
    fc_safetensors_close(&st);
    FC_CHECK(st == NULL);
}

/* What a half-precision pattern means, worked out with ldexp instead of bits. */
static double meaning(unsigned bits, int fraction_bits, int exponent_bits)
{
    unsigned fraction = bits & ((1U << fraction_bits) - 1);
    int exponent = (int)(bits >> fraction_bits & ((1U << exponent_bits) - 1));
    int top = (1 << exponent_bits) - 1, bias = top / 2;
    double sign = bits >> 15 != 0 ? -1 : 1;
    if (exponent == top) {
        return fraction != 0 ? NAN : sign * INFINITY;
    }
    double mantissa = ldexp((double)fraction, -fraction_bits) + (exponent == 0 ? 0 : 1);
    return sign * ldexp(mantissa, (exponent == 0 ? 1 : exponent) - bias);
}

static void test_every_half(void)
{
    enum { ALL = 65536 };
    const char *path = fc_check_temp("half.safetensors");
    uint16_t *bits = fc_alloc(ALL, sizeof *bits);
    float *f32 = fc_alloc(ALL, sizeof *f32);
    double *f64 = fc_alloc(ALL, sizeof *f64);
    for (int i = 0; i < ALL; i++) {
        bits[i] = (uint16_t)i;
    }
    const fc_st_tensor tensors[] = {{"half", FC_ST_F16, 1, {ALL}, ALL, bits},
                                    {"brain", FC_ST_BF16, 1, {ALL}, ALL, bits}};
    FC_CHECK_OK(fc_safetensors_write(path, 2, tensors, NULL));
    fc_safetensors *st = NULL;
    FC_CHECK_OK(fc_safetensors_open(&st, path));
    for (int which = 0; st != NULL && which < 2; which++) {
        const fc_st_tensor *t = &st->tensors[which];
        FC_CHECK_OK(fc_safetensors_read_f32(t, f32));
        FC_CHECK_OK(fc_safetensors_read_f64(t, f64));
        int wrong = 0, nans = 0;
        for (int i = 0; i < ALL; i++) {
            double want = which == 0 ? meaning((unsigned)i, 10, 5) : meaning((unsigned)i, 7, 8);
            double got = (double)f32[i];
            bool same = isnan(want)
                            ? isnan(got) && isnan(f64[i])
                            : got == want && f64[i] == want && !signbit(got) == !signbit(want);
            wrong += same ? 0 : 1;
            nans += isnan(got) ? 1 : 0;
        }
        FC_CHECK_INT(wrong, 0);
        FC_CHECK_INT(nans, which == 0 ? 2 * 1023 : 2 * 127);
    }
    fc_safetensors_close(&st);
    fc_free(&bits);
    fc_free(&f32);
    fc_free(&f64);
}

static void test_accepts(void)
{
    const char *path = fc_check_temp("good.safetensors");
    /* Padding behind the mapping, entries out of order, offsets before dtype, a scalar. */
    const char *header = "{\"b\":{\"data_offsets\":[4,12],\"dtype\":\"F32\",\"shape\":[1,2]},"
                         "\"a\":{\"shape\":[],\"dtype\":\"F32\",\"data_offsets\":[0,4]}}   ";
    write_raw(path, strlen(header), header, strlen(header), 12);
    fc_safetensors *st = NULL;
    FC_CHECK_OK(fc_safetensors_open(&st, path));
    if (st != NULL) {
        FC_CHECK_STR(st->tensors[0].name, "a");
        FC_CHECK_INT(st->tensors[0].count, 1);
        FC_CHECK_INT(((const uint8_t *)st->tensors[1].data)[0], 4);
    }
    fc_safetensors_close(&st);
    write_raw(path, 2, "{}", 2, 0);
    FC_CHECK_OK(fc_safetensors_open(&st, path));
    FC_CHECK(st != NULL && st->count == 0 && fc_safetensors_find(st, "a") == NULL);
    fc_safetensors_close(&st);
}

static void test_lying_headers(void)
{
    REFUSED("{" A "", 8, "not JSON");
    REFUSED("{" A "}x", 8, "not JSON");
    REFUSED("{" A "}{}", 8, "not JSON");
    REFUSED("{" A ",}", 8, "near tensor 'a'");
    REFUSED("{\"a\xff\":{}}", 8, "not JSON");
    REFUSED("{\"a\\u0000b\":{}}", 8, "NUL");
    REFUSED("{" A "}", 7, "'a'");
    REFUSED("{" A "}", 9, "1 bytes after the last tensor 'a'");
    REFUSED("{}", 1, "bytes after");
    REFUSED("{\"a\":1}", 0, "'a'");
    REFUSED("{\"a\":null}", 0, "'a'");
    REFUSED("{\"a\":[]}", 0, "'a'");
    REFUSED("{\"a\":\"F32\"}", 0, "'a'");
    REFUSED("{\"a\":{}}", 0, "'a': dtype, shape or data_offsets is missing");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "'a': dtype, shape");
    REFUSED("{\"a\":{\"dtype\":\"F8\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "'a': dtype is");
    REFUSED("{\"a\":{\"dtype\":5,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "'a': a number");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "negative");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "fraction");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[[2]],\"data_offsets\":[0,8]}}", 8, "list");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, "'a': a number");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[true],\"data_offsets\":[0,8]}}", 8, "true");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "not two numbers");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, "more than 2");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "reversed");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "do not fit");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8,
            "unknown key");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
            "'a': dtype, shape or data_offsets stands there twice");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8,
            "'a': more than 8 axes");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
            0, "'a': shape is too large");
    REFUSED("{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
            "'a': shape is too large");
    REFUSED("{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}",
            0, "near tensor 'a'");
    REFUSED("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
            "'b' overlaps");
    REFUSED("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", 16,
            "'b' leaves a gap");
    REFUSED("{" A ",\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 12,
            "'a' stands there twice");
    REFUSED("{\"__metadata__\":{\"k\":1}," A "}", 8, "__metadata__");
    REFUSED("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}," A "}", 8, "'k' stands there twice");
    REFUSED("{\"__metadata__\":{},\"__metadata__\":{}," A "}", 8, "__metadata__ stands");
    REFUSED("{\"__metadata__\":[]," A "}", 8, "list");

    /* Deep nesting must not cost stack. */
    enum { DEEP = 200000 };
    char *deep = fc_alloc(DEEP + 1, 1);
    memset(deep, '[', DEEP);
    memcpy(deep, "{\"a\":", 5);
    REFUSED(deep, 0, "'a'");
    fc_free(&deep);
}

static void test_lying_lengths(void)
{
    const char *path = fc_check_temp("length.safetensors");
    const char *header = "{" A "}";
    fc_safetensors *st = NULL;
    const uint64_t lengths[] = {0,    1,          strlen(header) - 1, strlen(header) + 1,
                                1000, UINT64_MAX, 100000001,          1ULL << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        write_raw(path, lengths[i], header, strlen(header), 8);
        FC_CHECK_FAILS(fc_safetensors_open(&st, path), FC_DATA, path);
    }
    /* Every cut of a good file. */
    write_raw(path, strlen(header), header, strlen(header), 8);
    FC_CHECK_OK(fc_safetensors_open(&st, path));
    fc_safetensors_close(&st);
    int wrong = 0;
    for (long cut = (long)strlen(header) + 15; cut >= 0; cut--) {
        FC_CHECK(truncate(path, cut) == 0);
        wrong += fc_safetensors_open(&st, path) == FC_DATA && st == NULL ? 0 : 1;
    }
    FC_CHECK_INT(wrong, 0);
    FC_CHECK_FAILS(fc_safetensors_open(&st, fc_check_temp("absent")), FC_NOINPUT, "absent");
    FC_CHECK_FAILS(fc_safetensors_open(&st, "/"), FC_DATA, "not a file");
}

/* Any single changed byte of a header either keeps the file readable or is refused; never a
 * crash (the sanitizers watch). */
static void test_flipped_bytes(void)
{
    const char *path = fc_check_temp("flip.safetensors");
    char header[] = "{\"__metadata__\":{\"k\":\"v\"}," A
                    ",\"b\":{\"dtype\":\"BF16\",\"shape\":[1,1],\"data_offsets\":[8,10]}}";
    size_t bytes = strlen(header);
    const char replacements[] = "\"{}[]:,0-9\\\0\xff z";
    int opened = 0, closed = 0;
    for (size_t i = 0; i < bytes; i++) {
        char keep = header[i];
        for (size_t r = 0; r < sizeof replacements - 1; r++) {
            header[i] = replacements[r];
            write_raw(path, bytes, header, bytes, 10);
            fc_safetensors *st = NULL;
            fc_status status = fc_safetensors_open(&st, path);
            opened += status == FC_OK ? 1 : 0;
            closed += status == FC_DATA ? 1 : 0;
            fc_safetensors_close(&st);
        }
        header[i] = keep;
    }
    FC_CHECK_INT(opened + closed, (int64_t)bytes * (int64_t)(sizeof replacements - 1));
    FC_CHECK(closed > opened && opened > 0);
}

static void test_write_errors(void)
{
    float value = 1;
    fc_st_tensor t[2] = {{"a", FC_ST_F32, 0, {0}, 1, &value}, {"a", FC_ST_F32, 0, {0}, 1, &value}};
    FC_CHECK_FAILS(fc_safetensors_write(fc_check_temp("w"), 2, t, NULL), FC_BUG,
                   "'a' is given twice");
    FC_CHECK_FAILS(fc_safetensors_write("/nonexistent/w", 1, t, NULL), FC_RUNTIME,
                   "/nonexistent/w");
    t[0].count = 2;
    FC_CHECK_FAILS(fc_safetensors_write(fc_check_temp("w"), 1, t, NULL), FC_BUG, "'a'");
    t[0].count = 1;
    t[0].name = "\xff\xfe";
    FC_CHECK_FAILS(fc_safetensors_write(fc_check_temp("w"), 1, t, NULL), FC_DATA, "UTF-8");
    FC_CHECK(access(fc_check_temp("w"), F_OK) != 0 &&
             access(fc_check_temp("w.partial"), F_OK) != 0);
}

int main(void)
{
    test_round_trip();
    test_every_half();
    test_accepts();
    test_lying_headers();
    test_lying_lengths();
    test_flipped_bytes();
    test_write_errors();
    return fc_check_end();
}
