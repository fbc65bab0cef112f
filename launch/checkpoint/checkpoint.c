#include "launch/checkpoint/checkpoint.h"

#include "core/log.h"
#include "core/memory.h"
#include "launch/checkpoint/checkpoint_internal.h"
#include "launch/dist.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_PREFIX "state_"
#define MODEL_PREFIX "epoch_"
#define SUFFIX ".safetensors"

fc_status fc_checkpoint_save_model(const char *folder, const fc_clip *model, int64_t epoch,
                                   fc_comm *comm)
{
    fc_status status = FC_OK;
    if (fc_comm_rank(comm) == 0) {
        char *path = fc_format("%s/" MODEL_PREFIX "%lld" SUFFIX, folder, (long long)epoch);
        char number[32];
        snprintf(number, sizeof number, "%lld", (long long)epoch);
        const char *metadata[] = {"format", "pt", "producer", "fineclip", "epoch", number, NULL};
        status = fc_clip_save(model, path, metadata);
        fc_free(&path);
    }
    return fc_dist_agree(status);
}

/* ---- States ---- */

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
    const bool readable = model->params->backend->on_host && !adamw->options.shard;
    fci_state_values values =
        fci_state_open(model, adamw->steps, readable ? adamw->m : NULL, readable ? adamw->v : NULL);
    fc_status status = readable ? FC_OK : fc_adamw_gather(adamw, values.m, values.v);
    if (status == FC_OK && fc_comm_rank(comm) == 0) {
        char *path =
            fc_format("%s/" STATE_PREFIX "%09lld" SUFFIX, folder, (long long)position->step);
        fci_state_tensors list = fci_state_list(model, &values);
        status = fci_state_write(path, &list, position);
        fci_state_list_free(&list);
        fc_free(&path);
        if (status == FC_OK) {
            status = remove_old(folder, keep);
        }
    }
    fci_state_close(&values);
    return fc_dist_agree(status);
}

/* ---- Reading ---- */

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
            bool other_version = false;
            if (fc_safetensors_open(&st, names[i]) == FC_OK &&
                fci_state_check(st, &other_version) == FC_OK) {
                snprintf(chosen, sizeof chosen, "%s", names[i]);
            } else if (other_version) {
                status = FC_DATA; /* whole, so going on from an older one would lose it */
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

/* Number N of the newest epoch_N.safetensors; -1: there is none, or no such folder. */
static long long newest_epoch(const char *folder)
{
    DIR *dir = opendir(folder);
    long long newest = -1;
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL;
         entry = readdir(dir)) {
        char *end = entry->d_name;
        if (strncmp(end, MODEL_PREFIX, strlen(MODEL_PREFIX)) == 0) {
            long long epoch = strtoll(end + strlen(MODEL_PREFIX), &end, 10);
            newest = strcmp(end, SUFFIX) == 0 && epoch > newest ? epoch : newest;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return newest;
}

fc_status fc_checkpoint_newest_model(const char *where, char **path)
{
    static const char *const below[] = {"", "/checkpoints"};
    *path = NULL;
    for (size_t i = 0; i < sizeof below / sizeof *below && *path == NULL; i++) {
        char *folder = fc_format("%s%s", where, below[i]);
        long long epoch = newest_epoch(folder);
        if (epoch >= 0) {
            *path = fc_format("%s/" MODEL_PREFIX "%lld" SUFFIX, folder, epoch);
        }
        fc_free(&folder);
    }
    return *path != NULL ? FC_OK
                         : FC_FAIL(FC_NOINPUT,
                                   "%s is a folder without " MODEL_PREFIX "N" SUFFIX
                                   ": want a file, or the output folder of a run that trained",
                                   where);
}

/* The position of the newest state whose header can be read: all states of a run agree on what
 * callers look for. What is wrong is said by whoever loads the state. */
static void peek(const char *where, bool is_folder, fc_checkpoint_position *position, bool *found)
{
    char **names = NULL;
    int count = 0;
    if (is_folder && list_folder(where, &names, &count) != FC_OK) {
        count = 0;
    }
    for (int i = 0; !*found && i < (is_folder ? count : 1); i++) {
        fc_safetensors *st = NULL;
        bool other_version;
        *found = fc_safetensors_open(&st, is_folder ? names[i] : where) == FC_OK &&
                 fci_state_check_version(st, &other_version) == FC_OK &&
                 fci_state_position(st, position) == FC_OK;
        fc_safetensors_close(&st);
    }
    fc_error_clear();
    free_names(&names, count);
}

fc_status fc_checkpoint_peek(const char *where, bool is_folder, fc_comm *comm,
                             fc_checkpoint_position *position, bool *found)
{
    *found = false;
    if (fc_comm_rank(comm) == 0) {
        peek(where, is_folder, position, found);
    }
    FC_TRY(fc_comm_broadcast(comm, position, sizeof *position, FC_COMM_U8, 0));
    return fc_comm_broadcast(comm, found, sizeof *found, FC_COMM_U8, 0);
}

/* Parameters that never train are in a state once, and are the initial model's, too. */
static void share_frozen(const fc_clip *model)
{
    const fc_params *p = model->params;
    for (int i = 0; model->initial != NULL && i < p->count; i++) {
        if (p->items[i].name != NULL && !p->items[i].trainable) {
            void *values = fc_alloc((size_t)p->items[i].count, fc_dtype_bytes(p->dtype));
            fc_param_read(p, i, values);
            fc_param_write(model->initial->params, fci_state_initial(model, p->items[i].name),
                           values);
            fc_free(&values);
        }
    }
}

static fc_status read_state(const fc_safetensors *st, fc_clip *model, fc_adamw *adamw,
                            fc_checkpoint_position *position)
{
    bool other_version;
    FC_TRY(fci_state_check(st, &other_version));
    FC_TRY(fci_state_position(st, position));
    fci_state_values values = fci_state_open(model, adamw->steps, NULL, NULL);
    fci_state_tensors list = fci_state_list(model, &values);
    fc_status status = FC_OK;
    for (int i = 0; status == FC_OK && i < list.count; i++) {
        status = fci_state_copy(st, &list.tensors[i]);
    }
    if (status == FC_OK) {
        fci_state_put(&values, model);
        fc_adamw_scatter(adamw, values.m, values.v);
        share_frozen(model);
    }
    fci_state_list_free(&list);
    fci_state_close(&values);
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

/* Tensors "PREFIX.NAME" of a state into the parameters of a model. optional: those it has. */
static fc_status read_parameters(const fc_safetensors *st, const char *prefix, fc_params *p,
                                 bool optional)
{
    fc_status status = FC_OK;
    for (int i = 0; status == FC_OK && i < p->count; i++) {
        const fc_param *item = &p->items[i];
        if (item->name == NULL) {
            continue;
        }
        char *name = fc_format("%s.%s", prefix, item->name);
        void *values = fc_alloc((size_t)item->count, fc_dtype_bytes(p->dtype));
        fc_st_tensor want = {.name = name,
                             .dtype = p->dtype == FC_F64 ? FC_ST_F64 : FC_ST_F32,
                             .ndim = item->ndim,
                             .count = item->count,
                             .data = values};
        memcpy(want.shape, item->shape, sizeof item->shape);
        if (!optional || fc_safetensors_find(st, name) != NULL) {
            status = fci_state_copy(st, &want);
            if (status == FC_OK) {
                fc_param_write(p, i, values);
            }
        }
        fc_free(&values);
        fc_free(&name);
    }
    return status;
}

/* What the run that wrote the state would have evaluated. */
static fc_status ensemble(const fc_safetensors *st, fc_clip *model)
{
    fc_checkpoint_position position;
    FC_TRY(fci_state_position(st, &position));
    if (!(position.ensemble_alpha < 1)) {
        return FC_OK;
    }
    void *own;
    FC_TRY(fc_clip_keep_initial(model));
    FC_TRY(read_parameters(st, "initial", model->initial->params, true));
    model->ensemble_alpha = position.ensemble_alpha;
    fc_clip_ensemble_begin(model, &own);
    fc_free(&own);
    return FC_OK;
}

static fc_status read_state_weights(const fc_safetensors *st, fc_clip *model)
{
    bool other_version;
    FC_TRY(fci_state_check(st, &other_version));
    FC_TRY(read_parameters(st, "model", model->params, false));
    return ensemble(st, model);
}

static fc_status read_weights(const fc_safetensors *st, fc_clip *model, double *epoch)
{
    const char *at = fc_safetensors_metadata(st, "epoch");
    *epoch = at != NULL ? strtod(at, NULL) : 0;
    fc_clip_destroy(&model->initial);
    fc_status status =
        fci_state_is(st) ? read_state_weights(st, model) : fc_clip_load(model, st->path);
    fc_clip_destroy(&model->initial);
    model->ensemble_alpha = 1;
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
