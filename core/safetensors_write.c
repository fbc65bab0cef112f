/* Writing safetensors files: whole under another name first, so that a reader never meets half a
 * file. */
#include "core/memory.h"
#include "core/replace.h"
#include "core/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_gen.h>

enum { ALIGN = 8 };

static bool emit_text(yajl_gen json, const char *text)
{
    return yajl_gen_string(json, (const unsigned char *)text, strlen(text)) == yajl_gen_status_ok;
}

static bool emit_integers(yajl_gen json, const char *key, int count, const int64_t *values)
{
    bool ok = emit_text(json, key);
    yajl_gen_array_open(json);
    for (int i = 0; i < count; i++) {
        ok = ok && yajl_gen_integer(json, values[i]) == yajl_gen_status_ok;
    }
    yajl_gen_array_close(json);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static fc_status check_tensors(const char *path, int count, const fc_st_tensor *tensors)
{
    const char **names = fc_alloc((size_t)count, sizeof *names);
    fc_status status = FC_OK;
    for (int i = 0; i < count && status == FC_OK; i++) {
        const fc_st_tensor *t = &tensors[i];
        int64_t elements = 1;
        bool fits = t->ndim >= 0 && t->ndim <= 8;
        for (int d = 0; fits && d < t->ndim; d++) {
            fits = t->shape[d] >= 0 && !__builtin_mul_overflow(elements, t->shape[d], &elements);
        }
        if (!fits || elements != t->count || strcmp(t->name, "__metadata__") == 0) {
            status = FC_FAIL(FC_BUG, "writing %s: tensor '%s': its name, shape or count is wrong",
                             path, t->name);
        }
        names[i] = t->name;
    }
    if (status == FC_OK && count > 0) {
        qsort(names, (size_t)count, sizeof *names, by_name);
    }
    for (int i = 1; i < count && status == FC_OK; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            status = FC_FAIL(FC_BUG, "writing %s: tensor '%s' is given twice", path, names[i]);
        }
    }
    fc_free(&names);
    return status;
}

static fc_status emit_metadata(yajl_gen json, const char *path, const char *const *metadata,
                               const char *sum)
{
    emit_text(json, "__metadata__");
    yajl_gen_map_open(json);
    for (int i = 0; metadata != NULL && metadata[i] != NULL; i += 2) {
        if (!emit_text(json, metadata[i]) || !emit_text(json, metadata[i + 1])) {
            return FC_FAIL(FC_DATA, "writing %s: metadata '%s' is not UTF-8", path, metadata[i]);
        }
    }
    emit_text(json, FC_ST_SUM_KEY);
    emit_text(json, sum);
    yajl_gen_map_close(json);
    return FC_OK;
}

static fc_status emit_header(yajl_gen json, const char *path, int count,
                             const fc_st_tensor *tensors, const char *const *metadata)
{
    char sum[FC_ST_SUM_BYTES];
    fci_safetensors_sum(sum, count, tensors, metadata);
    yajl_gen_map_open(json);
    FC_TRY(emit_metadata(json, path, metadata, sum));
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        const fc_st_tensor *t = &tensors[i];
        int64_t offsets[2] = {at, at + t->count * fc_st_dtype_bytes(t->dtype)};
        bool ok = emit_text(json, t->name);
        yajl_gen_map_open(json);
        ok = ok && emit_text(json, "dtype") && emit_text(json, fc_st_dtype_name(t->dtype)) &&
             emit_integers(json, "shape", t->ndim, t->shape) &&
             emit_integers(json, "data_offsets", 2, offsets);
        yajl_gen_map_close(json);
        if (!ok) {
            return FC_FAIL(FC_DATA, "writing %s: tensor '%s': its name is not UTF-8", path,
                           t->name);
        }
        at = offsets[1];
    }
    yajl_gen_map_close(json);
    return FC_OK;
}

static fc_status write_header(fc_replace *file, const char *path, int count,
                              const fc_st_tensor *tensors, const char *const *metadata)
{
    yajl_gen json = yajl_gen_alloc(NULL);
    if (json == NULL) {
        return FC_FAIL(FC_NOMEM, "%s: no memory for the JSON writer", path);
    }
    yajl_gen_config(json, yajl_gen_validate_utf8, 1);
    fc_status status;
    const unsigned char *text;
    size_t bytes;
    FC_TRY_GOTO(status, emit_header(json, path, count, tensors, metadata), done);
    yajl_gen_get_buf(json, &text, &bytes);
    /* Spaces up to a multiple of 8 keep the tensors aligned in a mapped file. */
    uint64_t padded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    FC_TRY_GOTO(status, fc_replace_write(file, &padded, sizeof padded), done);
    FC_TRY_GOTO(status, fc_replace_write(file, text, bytes), done);
    FC_TRY_GOTO(status, fc_replace_write(file, "        ", (size_t)padded - bytes), done);
done:
    yajl_gen_free(json);
    return status;
}

static fc_status write_file(fc_replace *file, const char *path, int count,
                            const fc_st_tensor *tensors, const char *const *metadata)
{
    FC_TRY(write_header(file, path, count, tensors, metadata));
    for (int i = 0; i < count; i++) {
        const fc_st_tensor *t = &tensors[i];
        FC_TRY(fc_replace_write(file, t->data,
                                (size_t)t->count * (size_t)fc_st_dtype_bytes(t->dtype)));
    }
    return FC_OK;
}

fc_status fc_safetensors_write(const char *path, int count, const fc_st_tensor *tensors,
                               const char *const *metadata)
{
    FC_TRY(check_tensors(path, count, tensors));
    fc_replace *file;
    FC_TRY(fc_replace_begin(&file, path));
    fc_status status = write_file(file, path, count, tensors, metadata);
    if (status != FC_OK) {
        fc_replace_abandon(&file);
        return status;
    }
    FC_TRY(fc_replace_commit(&file, true));
    return FC_OK;
}
