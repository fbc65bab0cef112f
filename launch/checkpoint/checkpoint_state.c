/* What is in a state file: tensors, position, and how both are checked. */
#include "core/memory.h"
#include "launch/checkpoint/checkpoint_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_FORMAT "fineclip-state"
#define STATE_VERSION "2" /* 1 had neither loss_... nor skipped_batches, ranks, seed, images */

/* ---- Position: metadata of the file, one line a field ---- */

#define POSITION_MAP(INTEGER, REAL)                                                                \
    INTEGER("step", step)                                                                          \
    INTEGER("skipped_batches", skipped_batches)                                                    \
    INTEGER("global_batch", global_batch)                                                          \
    INTEGER("ranks", ranks)                                                                        \
    INTEGER("seed", seed)                                                                          \
    INTEGER("images", images)                                                                      \
    REAL("epoch", epoch)                                                                           \
    REAL("epoch_seconds", epoch_seconds)                                                           \
    INTEGER("epoch_end_due", epoch_end_due)                                                        \
    REAL("ensemble_alpha", ensemble_alpha)                                                         \
    INTEGER("loss_count", watch.count)                                                             \
    INTEGER("loss_bad_in_row", watch.bad_in_row)                                                   \
    REAL("loss_mean", watch.mean)                                                                  \
    REAL("loss_variance", watch.variance)

enum { POSITION_FIELDS = 14, HEAD_FIELDS = 2, NUMBER_BYTES = 40 };

fc_status fci_state_write(const char *path, const fci_state_tensors *list,
                          const fc_checkpoint_position *position)
{
    char number[POSITION_FIELDS][NUMBER_BYTES];
    const char *metadata[2 * (HEAD_FIELDS + POSITION_FIELDS) + 1] = {"format", STATE_FORMAT,
                                                                     "version", STATE_VERSION};
    int n = 0;
#define INTEGER(key, field)                                                                        \
    snprintf(number[n], NUMBER_BYTES, "%" PRId64, position->field);                                \
    metadata[2 * (HEAD_FIELDS + n)] = key;                                                         \
    metadata[2 * (HEAD_FIELDS + n) + 1] = number[n];                                               \
    n++;
#define REAL(key, field)                                                                           \
    snprintf(number[n], NUMBER_BYTES, "%.17g", position->field);                                   \
    metadata[2 * (HEAD_FIELDS + n)] = key;                                                         \
    metadata[2 * (HEAD_FIELDS + n) + 1] = number[n];                                               \
    n++;
    POSITION_MAP(INTEGER, REAL)
#undef INTEGER
#undef REAL
    FC_ASSERT(n == POSITION_FIELDS);
    return fc_safetensors_write(path, list->count, list->tensors, metadata);
}

static fc_status get_text(const fc_safetensors *st, const char *key, const char **out)
{
    *out = fc_safetensors_metadata(st, key);
    return *out != NULL ? FC_OK : FC_FAIL(FC_DATA, "%s: the metadata lacks %s", st->path, key);
}

static fc_status not_a_number(const fc_safetensors *st, const char *key, const char *text)
{
    return FC_FAIL(FC_DATA, "%s: %s in the metadata is \"%s\", want a number", st->path, key, text);
}

static fc_status get_integer(const fc_safetensors *st, const char *key, int64_t *out)
{
    const char *text;
    char *end;
    FC_TRY(get_text(st, key, &text));
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' ? FC_OK : not_a_number(st, key, text);
}

static fc_status get_real(const fc_safetensors *st, const char *key, double *out)
{
    const char *text;
    char *end;
    FC_TRY(get_text(st, key, &text));
    *out = strtod(text, &end);
    bool number = end != text && *end == '\0' && isfinite(*out);
    return number ? FC_OK : not_a_number(st, key, text);
}

fc_status fci_state_position(const fc_safetensors *st, fc_checkpoint_position *position)
{
#define INTEGER(key, field) FC_TRY(get_integer(st, key, &position->field));
#define REAL(key, field) FC_TRY(get_real(st, key, &position->field));
    POSITION_MAP(INTEGER, REAL)
#undef INTEGER
#undef REAL
    const int64_t most = (int64_t)1 << 53; /* far from where sums overflow */
    if (position->step < 0 || position->step > most || position->skipped_batches < 0 ||
        position->skipped_batches > most || position->global_batch < 1 ||
        position->global_batch > most || position->ranks < 1 || position->epoch < 0 ||
        position->epoch_seconds < 0 || position->watch.count < 0 ||
        position->watch.bad_in_row < 0) {
        return FC_FAIL(FC_DATA, "%s: a number in the metadata is out of range", st->path);
    }
    return FC_OK;
}

/* ---- Checks ---- */

bool fci_state_is(const fc_safetensors *st)
{
    const char *format = fc_safetensors_metadata(st, "format");
    return format != NULL && strcmp(format, STATE_FORMAT) == 0;
}

fc_status fci_state_check_version(const fc_safetensors *st, bool *other_version)
{
    const char *version = fc_safetensors_metadata(st, "version");
    *other_version = false;
    if (!fci_state_is(st) || version == NULL) {
        return FC_FAIL(FC_DATA,
                       "%s: not a state of a fineclip run (a model alone goes under model.init)",
                       st->path);
    }
    *other_version = strcmp(version, STATE_VERSION) != 0;
    if (*other_version) {
        return FC_FAIL(FC_DATA,
                       "%s: state of version %s; this program goes on from version " STATE_VERSION
                       " alone: go on with the program that wrote it, or start anew with "
                       "train.resume=never",
                       st->path, version);
    }
    return FC_OK;
}

fc_status fci_state_check(const fc_safetensors *st, bool *other_version)
{
    FC_TRY(fci_state_check_version(st, other_version));
    const char *sum;
    FC_TRY(get_text(st, FC_ST_SUM_KEY, &sum));
    return fc_safetensors_verify(st);
}

/* ---- Tensors ---- */

static void list_add(fci_state_tensors *list, char *name, fc_st_dtype dtype, int ndim,
                     const int64_t *shape, void *data)
{
    fc_st_tensor *t = &list->tensors[list->count];
    *t = (fc_st_tensor){.name = name, .dtype = dtype, .ndim = ndim, .count = 1, .data = data};
    for (int i = 0; i < ndim; i++) {
        t->shape[i] = shape[i];
        t->count *= shape[i];
    }
    list->names[list->count++] = name;
}

int fci_state_initial(const fc_clip *model, const char *name)
{
    int i = fc_params_find(model->initial->params, name);
    FC_ASSERT(i >= 0);
    return i;
}

/* Where the process can read the set's values it can write them. */
static void *values_of(const fc_clip *model, void **owned)
{
    return model == NULL ? NULL : (void *)(uintptr_t)fc_params_on_host(model->params, owned);
}

fci_state_values fci_state_open(const fc_clip *model, int64_t *steps, void *m, void *v)
{
    fci_state_values values = {.m = m, .v = v, .steps = steps};
    const size_t count = (size_t)model->params->grad_total;
    const size_t bytes = fc_dtype_bytes(model->params->dtype);
    values.model = values_of(model, &values.owned[0]);
    values.initial = values_of(model->initial, &values.owned[1]);
    if (m == NULL) {
        values.m = values.owned[2] = fc_alloc(count, bytes);
    }
    if (v == NULL) {
        values.v = values.owned[3] = fc_alloc(count, bytes);
    }
    return values;
}

void fci_state_put(const fci_state_values *values, fc_clip *model)
{
    if (values->owned[0] != NULL) {
        fc_params_write(model->params, values->model);
    }
    if (values->owned[1] != NULL) {
        fc_params_write(model->initial->params, values->initial);
    }
}

void fci_state_close(fci_state_values *values)
{
    for (size_t i = 0; i < sizeof values->owned / sizeof *values->owned; i++) {
        fc_free(&values->owned[i]);
    }
}

fci_state_tensors fci_state_list(const fc_clip *model, const fci_state_values *values)
{
    const fc_params *p = model->params;
    fci_state_tensors list = {0};
    size_t most = 4 * (size_t)p->count + 1, bytes = fc_dtype_bytes(p->dtype);
    list.tensors = fc_alloc(most, sizeof *list.tensors);
    list.names = fc_alloc(most, sizeof *list.names);
    fc_st_dtype dtype = p->dtype == FC_F64 ? FC_ST_F64 : FC_ST_F32;
    for (int i = 0; i < p->count; i++) {
        const fc_param *item = &p->items[i];
        if (item->name == NULL) {
            continue;
        }
        list_add(&list, fc_format("model.%s", item->name), dtype, item->ndim, item->shape,
                 (char *)values->model + (size_t)item->offset * bytes);
        if (item->trainable) {
            size_t at = (size_t)item->grad_offset * bytes;
            list_add(&list, fc_format("m.%s", item->name), dtype, item->ndim, item->shape,
                     (char *)values->m + at);
            list_add(&list, fc_format("v.%s", item->name), dtype, item->ndim, item->shape,
                     (char *)values->v + at);
        }
        if (item->trainable && values->initial != NULL) {
            const fc_params *initial = model->initial->params;
            size_t at = (size_t)initial->items[fci_state_initial(model, item->name)].offset * bytes;
            list_add(&list, fc_format("initial.%s", item->name), dtype, item->ndim, item->shape,
                     (char *)values->initial + at);
        }
    }
    int64_t count = p->count;
    list_add(&list, fc_strdup("updates"), FC_ST_I64, 1, &count, values->steps);
    return list;
}

void fci_state_list_free(fci_state_tensors *list)
{
    for (int i = 0; i < list->count; i++) {
        fc_free(&list->names[i]);
    }
    fc_free(&list->names);
    fc_free(&list->tensors);
}

fc_status fci_state_copy(const fc_safetensors *st, const fc_st_tensor *want)
{
    const fc_st_tensor *have = fc_safetensors_find(st, want->name);
    bool same = have != NULL && have->ndim == want->ndim && have->count == want->count;
    for (int i = 0; same && i < want->ndim; i++) {
        same = have->shape[i] == want->shape[i];
    }
    if (!same) {
        return FC_FAIL(
            FC_DATA,
            "%s: %s is %s; the state is of another model or of other frozen parts: use another "
            "output folder, or train.resume: never",
            st->path, want->name, have == NULL ? "missing" : "of another shape");
    }
    if (have->dtype == want->dtype) {
        memcpy((void *)(uintptr_t)want->data, have->data,
               (size_t)want->count * (size_t)fc_st_dtype_bytes(want->dtype));
        return FC_OK;
    }
    if (want->dtype == FC_ST_F64) {
        return fc_safetensors_read_f64(have, (double *)(uintptr_t)want->data);
    }
    if (want->dtype == FC_ST_F32) {
        return fc_safetensors_read_f32(have, (float *)(uintptr_t)want->data);
    }
    return FC_FAIL(FC_DATA, "%s: %s has another type", st->path, want->name);
}
