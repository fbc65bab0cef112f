#include "core/replace.h"

#include "core/activity.h"
#include "core/fault.h"
#include "core/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 64 << 20 }; /* bytes a call: a slow disk is no hang */

struct fc_replace {
    char *path, *partial;
    int fd;                    /* -1: closed */
    bool is_state, is_results; /* what faults can be asked for in */
};

/* ---- Faults, in tests ---- */

static bool is_due(const fc_replace *r, fc_fault_action action)
{
    return (r->is_state && fc_fault_due(action, FC_AT_checkpoint)) ||
           (r->is_results && fc_fault_due(action, FC_AT_results));
}

static fc_status fault_at_begin(const fc_replace *r)
{
    FC_TRY(r->is_state ? fc_fault_here(FC_AT_checkpoint) : FC_OK);
    return r->is_results ? fc_fault_here(FC_AT_results) : FC_OK;
}

/* The process ends with part of the content written. */
static void fault_at_write(const fc_replace *r, const char *data, size_t bytes)
{
    if (bytes >= 1024 && is_due(r, FC_FAULT_half)) {
        (void)!write(r->fd, data, bytes / 2);
        kill(getpid(), SIGKILL);
    }
}

/* As after a power cut on a file system that renames before it writes. */
static void fault_at_rename(const fc_replace *r)
{
    struct stat about;
    if (is_due(r, FC_FAULT_torn)) {
        (void)!(stat(r->partial, &about) == 0 && truncate(r->partial, about.st_size / 2) == 0 &&
                rename(r->partial, r->path) == 0);
        kill(getpid(), SIGKILL);
    }
}

/* ---- Writing ---- */

fc_status fc_replace_begin(fc_replace **out, const char *path)
{
    char *partial = fc_format("%s.partial", path);
    *out = NULL;
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        fc_status status = FC_FAIL(FC_RUNTIME, "cannot create %s: %s", partial, strerror(errno));
        fc_free(&partial);
        return status;
    }
    fc_replace *r = fc_alloc(1, sizeof *r);
    *r = (fc_replace){.path = fc_strdup(path),
                      .partial = partial,
                      .fd = fd,
                      .is_state = strstr(path, "/state_") != NULL,
                      .is_results = strstr(path, "/results.h5") != NULL};
    *out = r;
    fc_status status = fault_at_begin(r);
    if (status != FC_OK) {
        fc_replace_abandon(out);
    }
    return status;
}

fc_status fc_replace_write(fc_replace *r, const void *data, size_t bytes)
{
    const char *from = data;
    fault_at_write(r, from, bytes);
    while (bytes > 0) {
        ssize_t n = write(r->fd, from, bytes < PIECE ? bytes : PIECE);
        if (is_due(r, FC_FAULT_enospc)) {
            n = -1;
            errno = ENOSPC;
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return FC_FAIL(FC_RUNTIME, "cannot write %s: %s", r->partial, strerror(errno));
        }
        fc_activity_beat();
        from += n;
        bytes -= (size_t)n;
    }
    return FC_OK;
}

/* A rename is on disk only once its folder is. Some file systems cannot sync folders; their rename
 * is as good as it gets. */
static void sync_folder(const char *path)
{
    char *folder = fc_strdup(path), *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[slash == folder ? 1 : 0] = '\0';
    }
    int fd = open(slash != NULL ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    fc_free(&folder);
}

static fc_status finish(fc_replace *r, bool sync)
{
    if (sync && fsync(r->fd) != 0) {
        return FC_FAIL(FC_RUNTIME, "cannot write %s: %s", r->partial, strerror(errno));
    }
    int closed = close(r->fd);
    r->fd = -1;
    if (closed != 0) {
        return FC_FAIL(FC_RUNTIME, "cannot write %s: %s", r->partial, strerror(errno));
    }
    fault_at_rename(r);
    if (rename(r->partial, r->path) != 0) {
        return FC_FAIL(FC_RUNTIME, "cannot rename %s to %s: %s", r->partial, r->path,
                       strerror(errno));
    }
    if (sync) {
        sync_folder(r->path);
    }
    return FC_OK;
}

static void release(fc_replace **r)
{
    fc_free(&(*r)->path);
    fc_free(&(*r)->partial);
    fc_free(r);
}

fc_status fc_replace_commit(fc_replace **r, bool sync)
{
    fc_status status = finish(*r, sync);
    if (status != FC_OK) {
        fc_replace_abandon(r);
        return status;
    }
    release(r);
    return FC_OK;
}

void fc_replace_abandon(fc_replace **r)
{
    if (*r == NULL) {
        return;
    }
    if ((*r)->fd >= 0) {
        close((*r)->fd);
    }
    unlink((*r)->partial);
    release(r);
}
