#include "launch/checkpoint.h"

#include "core/log.h"
#include "core/memory.h"
#include "core/safetensors.h"
#include "launch/dist.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#define STATE_PREFIX "state_"
#define SUFFIX ".safetensors"

fc_status fc_checkpoint_save_model(const char *folder, const fc_clip *model, int64_t epoch,
                                   fc_comm *comm)
{
    fc_status status = FC_OK;
    if (fc_comm_rank(comm) == 0) {
        char *path = fc_format("%s/epoch_%lld" SUFFIX, folder, (long long)epoch);
        char number[32];
        snprintf(number, sizeof number, "%lld", (long long)epoch);
        const char *metadata[] = {"format", "pt", "producer", "fineclip", "epoch", number, NULL};
        status = fc_clip_save(model, path, metadata);
        fc_free(&path);
    }
    return fc_dist_agree(status);
}

/* ---- States ---- */

/* The tensors of a state: parameters and moments by name, and how often each was updated. Data
 * points into the model, into m and v (params->grad_total each) and into steps. */
typedef struct state_list {
    int count;
    fc_st_tensor *tensors;
    char **names;
} state_list;

static void list_add(state_list *list, char *name, fc_st_dtype dtype, int ndim,
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

static state_list list_state(const fc_params *p, void *m, void *v, int64_t *steps)
{
    state_list list = {0};
    size_t most = 3 * (size_t)p->count + 1, bytes = fc_dtype_bytes(p->dtype);
    list.tensors = fc_alloc(most, sizeof *list.tensors);
    list.names = fc_alloc(most, sizeof *list.names);
    fc_st_dtype dtype = p->dtype == FC_F64 ? FC_ST_F64 : FC_ST_F32;
    for (int i = 0; i < p->count; i++) {
        const fc_param *item = &p->items[i];
        if (item->name == NULL) {
            continue;
        }
        list_add(&list, fc_format("model.%s", item->name), dtype, item->ndim, item->shape,
                 fc_param_data(p, i));
        if (item->trainable) {
            size_t at = (size_t)item->grad_offset * bytes;
            list_add(&list, fc_format("m.%s", item->name), dtype, item->ndim, item->shape,
                     (char *)m + at);
            list_add(&list, fc_format("v.%s", item->name), dtype, item->ndim, item->shape,
                     (char *)v + at);
        }
    }
    int64_t count = p->count;
    list_add(&list, fc_strdup("updates"), FC_ST_I64, 1, &count, steps);
    return list;
}

static void list_free(state_list *list)
{
    for (int i = 0; i < list->count; i++) {
        fc_free(&list->names[i]);
    }
    fc_free(&list->names);
    fc_free(&list->tensors);
}

static void checksum_text(int count, const fc_st_tensor *tensors, char text[16])
{
    uLong sum = crc32_z(0, NULL, 0);
    for (int i = 0; i < count; i++) {
        sum = crc32_z(sum, tensors[i].data,
                      (size_t)tensors[i].count * (size_t)fc_st_dtype_bytes(tensors[i].dtype));
    }
    snprintf(text, 16, "%08lx", sum);
}

static fc_status write_state(const char *path, const state_list *list,
                             const fc_checkpoint_position *position)
{
    char step[32], batch[32], epoch[40], seconds[40], sum[16];
    snprintf(step, sizeof step, "%lld", (long long)position->step);
    snprintf(batch, sizeof batch, "%lld", (long long)position->global_batch);
    snprintf(epoch, sizeof epoch, "%.17g", position->epoch);
    snprintf(seconds, sizeof seconds, "%.17g", position->epoch_seconds);
    checksum_text(list->count, list->tensors, sum);
    const char *metadata[] = {"format",
                              "fineclip-state",
                              "version",
                              "1",
                              "step",
                              step,
                              "global_batch",
                              batch,
                              "epoch",
                              epoch,
                              "epoch_seconds",
                              seconds,
                              "checksum",
                              sum,
                              NULL};
    return fc_safetensors_write(path, list->count, list->tensors, metadata);
}

static int by_step_descending(const void *a, const void *b)
{
    return strcmp(*(char *const *)b,
                  *(char *const *)a); /* numbers are padded: text order is step order */
}

/* Names of states in the folder, newest first; each heap. A folder that is not there has none. */
static fc_status list_folder(const char *folder, char ***names, int *count)
{
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return errno == ENOENT ? FC_OK : FC_FAIL(FC_NOINPUT, "%s: %s", folder, strerror(errno));
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        size_t length = strlen(entry->d_name), suffix = strlen(SUFFIX);
        if (strncmp(entry->d_name, STATE_PREFIX, strlen(STATE_PREFIX)) == 0 && length > suffix &&
            strcmp(entry->d_name + length - suffix, SUFFIX) == 0) {
            *names = fc_realloc(*names, (size_t)*count + 1, sizeof **names);
            (*names)[(*count)++] = fc_format("%s/%s", folder, entry->d_name);
        }
    }
    closedir(dir);
    if (*count > 0) {
        qsort(*names, (size_t)*count, sizeof **names, by_step_descending);
    }
    return FC_OK;
}

static void free_names(char ***names, int count)
{
    for (int i = 0; i < count; i++) {
        fc_free(&(*names)[i]);
    }
    fc_free(names);
}

static fc_status remove_old(const char *folder, int keep)
{
    char **names;
    int count;
    FC_TRY(list_folder(folder, &names, &count));
    for (int i = keep > 1 ? keep : 1; i < count; i++) {
        if (unlink(names[i]) != 0) {
            fc_log_warn("cannot remove the old checkpoint %s: %s", names[i], strerror(errno));
        }
    }
    free_names(&names, count);
    return FC_OK;
}

static fc_status set_aside(const char *folder, int64_t step)
{
    char **names;
    int count;
    FC_TRY(list_folder(folder, &names, &count));
    fc_status status = FC_OK;
    for (int i = 0; status == FC_OK && i < count; i++) {
        const char *name = strrchr(names[i], '/') + 1;
        if (strtoll(name + strlen(STATE_PREFIX), NULL, 10) > step) {
            char *to = fc_format("%s/abandoned_%s", folder, name);
            if (rename(names[i], to) != 0) {
                status = FC_FAIL(FC_RUNTIME, "cannot rename %s to %s: %s", names[i], to,
                                 strerror(errno));
            } else {
                fc_log_info("a checkpoint that nothing goes on from is now %s", to);
            }
            fc_free(&to);
        }
    }
    free_names(&names, count);
    return status;
}

fc_status fc_checkpoint_set_aside(const char *folder, int64_t step, fc_comm *comm)
{
    return fc_dist_agree(fc_comm_rank(comm) == 0 ? set_aside(folder, step) : FC_OK);
}

fc_status fc_checkpoint_save_state(const char *folder, const fc_clip *model, fc_adamw *adamw,
                                   fc_comm *comm, const fc_checkpoint_position *position, int keep)
{
    const fc_params *p = model->params;
    size_t bytes = fc_dtype_bytes(p->dtype);
    void *m = adamw->m, *v = adamw->v;
    bool sharded = adamw->options.shard;
    fc_status status = FC_OK;
    if (sharded) {
        m = fc_alloc((size_t)p->grad_total, bytes);
        v = fc_alloc((size_t)p->grad_total, bytes);
        status = fc_adamw_gather(adamw, m, v);
    }
    if (status == FC_OK && fc_comm_rank(comm) == 0) {
        char *path =
            fc_format("%s/" STATE_PREFIX "%09lld" SUFFIX, folder, (long long)position->step);
        state_list list = list_state(p, m, v, adamw->steps);
        status = write_state(path, &list, position);
        list_free(&list);
        fc_free(&path);
        if (status == FC_OK) {
            status = remove_old(folder, keep);
        }
    }
    if (sharded) {
        fc_free(&m);
        fc_free(&v);
    }
    return fc_dist_agree(status);
}

/* ---- Reading ---- */

static fc_status check_state(const fc_safetensors *st)
{
    const char *format = fc_safetensors_metadata(st, "format"),
               *sum = fc_safetensors_metadata(st, "checksum");
    const char *version = fc_safetensors_metadata(st, "version");
    if (format == NULL || strcmp(format, "fineclip-state") != 0 || sum == NULL || version == NULL) {
        return FC_FAIL(FC_DATA,
                       "%s: not a state of a fineclip run (a model alone goes under model.init)",
                       st->path);
    }
    if (strcmp(version, "1") != 0) {
        return FC_FAIL(FC_DATA, "%s: state of version %s; this program reads version 1", st->path,
                       version);
    }
    char found[16];
    checksum_text(st->count, st->tensors, found);
    if (strcmp(found, sum) != 0) {
        return FC_FAIL(FC_DATA, "%s: damaged: its checksum is %s, its content's is %s", st->path,
                       sum, found);
    }
    return FC_OK;
}

fc_status fc_checkpoint_newest(const char *folder, fc_comm *comm, char **path)
{
    char chosen[4096] = "";
    fc_status status = FC_OK;
    *path = NULL;
    if (fc_comm_rank(comm) == 0) {
        char **names;
        int count;
        status = list_folder(folder, &names, &count);
        for (int i = 0; status == FC_OK && i < count && chosen[0] == '\0'; i++) {
            fc_safetensors *st = NULL;
            if (fc_safetensors_open(&st, names[i]) == FC_OK && check_state(st) == FC_OK) {
                snprintf(chosen, sizeof chosen, "%s", names[i]);
            } else {
                fc_log_warn("%s%s", fc_error_message(),
                            i + 1 < count ? "; going back to the checkpoint before it" : "");
                fc_error_clear();
            }
            fc_safetensors_close(&st);
        }
        if (status == FC_OK && count > 0 && chosen[0] == '\0') {
            /* Starting anew here would lose the run without a word. */
            status = FC_FAIL(FC_DATA,
                             "%s: no state of the %d here can be read (warnings above say why); "
                             "put a whole one in its place, name one with train.resume=PATH, or "
                             "start anew with train.resume=never",
                             folder, count);
        }
        free_names(&names, count);
    }
    FC_TRY(fc_dist_agree(status));
    FC_TRY(fc_comm_broadcast(comm, chosen, sizeof chosen, FC_COMM_U8, 0));
    *path = chosen[0] != '\0' ? fc_strdup(chosen) : NULL;
    return FC_OK;
}

static fc_status copy_tensor(const fc_safetensors *st, const fc_st_tensor *want)
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

static fc_status read_state(const fc_safetensors *st, fc_clip *model, fc_adamw *adamw,
                            fc_checkpoint_position *position)
{
    FC_TRY(check_state(st));
    const fc_params *p = model->params;
    size_t bytes = fc_dtype_bytes(p->dtype);
    void *m = fc_alloc((size_t)p->grad_total, bytes), *v = fc_alloc((size_t)p->grad_total, bytes);
    state_list list = list_state(p, m, v, adamw->steps);
    fc_status status = FC_OK;
    for (int i = 0; status == FC_OK && i < list.count; i++) {
        status = copy_tensor(st, &list.tensors[i]);
    }
    if (status == FC_OK) {
        fc_adamw_scatter(adamw, m, v);
    }
    list_free(&list);
    fc_free(&m);
    fc_free(&v);
    const char *step = fc_safetensors_metadata(st, "step"),
               *batch = fc_safetensors_metadata(st, "global_batch");
    const char *epoch = fc_safetensors_metadata(st, "epoch"),
               *seconds = fc_safetensors_metadata(st, "epoch_seconds");
    if (status == FC_OK && (step == NULL || batch == NULL || epoch == NULL || seconds == NULL)) {
        return FC_FAIL(FC_DATA, "%s: the metadata lacks step, global_batch, epoch or epoch_seconds",
                       st->path);
    }
    if (status == FC_OK) {
        *position = (fc_checkpoint_position){.step = strtoll(step, NULL, 10),
                                             .global_batch = strtoll(batch, NULL, 10),
                                             .epoch = strtod(epoch, NULL),
                                             .epoch_seconds = strtod(seconds, NULL)};
    }
    return status;
}

fc_status fc_checkpoint_load_state(const char *path, fc_clip *model, fc_adamw *adamw,
                                   fc_checkpoint_position *position)
{
    fc_safetensors *st;
    FC_TRY(fc_safetensors_open(&st, path));
    fc_status status = read_state(st, model, adamw, position);
    fc_safetensors_close(&st);
    return status;
}

static fc_status read_weights(const fc_safetensors *st, fc_clip *model, double *epoch)
{
    const char *format = fc_safetensors_metadata(st, "format"),
               *at = fc_safetensors_metadata(st, "epoch");
    *epoch = at != NULL ? strtod(at, NULL) : 0;
    if (format == NULL || strcmp(format, "fineclip-state") != 0) {
        return fc_clip_load(model, st->path);
    }
    FC_TRY(check_state(st));
    const fc_params *p = model->params;
    fc_status status = FC_OK;
    for (int i = 0; status == FC_OK && i < p->count; i++) {
        const fc_param *item = &p->items[i];
        if (item->name == NULL) {
            continue;
        }
        char *name = fc_format("model.%s", item->name);
        fc_st_tensor want = {.name = name,
                             .dtype = p->dtype == FC_F64 ? FC_ST_F64 : FC_ST_F32,
                             .ndim = item->ndim,
                             .count = item->count,
                             .data = fc_param_data(p, i)};
        memcpy(want.shape, item->shape, sizeof item->shape);
        status = copy_tensor(st, &want);
        fc_free(&name);
    }
    return status;
}

fc_status fc_checkpoint_load_weights(const char *path, fc_clip *model, double *epoch)
{
    fc_safetensors *st;
    FC_TRY(fc_safetensors_open(&st, path));
    fc_status status = read_weights(st, model, epoch);
    fc_safetensors_close(&st);
    return status;
}
