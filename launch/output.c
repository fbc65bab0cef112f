#include "launch/output.h"

#include "core/log.h"
#include "core/memory.h"
#include "launch/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long a run that is just ending may still hold its folder, and how often to look. */
enum { PATIENCE_SECONDS = 4, LOOKS_A_SECOND = 10, HOLDER_BYTES = 512 };

struct fc_output {
    int fd; /* of the lock's file */
};

/* ---- The lock ---- */

static bool try_lock(int fd)
{
    const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_SETLK, &whole) == 0;
}

static bool is_taken(int reason)
{
    return reason == EACCES || reason == EAGAIN;
}

/* Who we are, for whoever comes next. Only help for people: failing to write it is no failure. */
static void sign(int fd)
{
    char host[128] = "", since[64], text[HOLDER_BYTES];
    time_t seconds = time(NULL);
    struct tm utc;
    (void)gethostname(host, sizeof host - 1);
    gmtime_r(&seconds, &utc);
    strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &utc);
    int bytes =
        snprintf(text, sizeof text, "process %ld on %s, since %s\n", (long)getpid(), host, since);
    (void)!ftruncate(fd, 0);
    (void)!pwrite(fd, text, (size_t)bytes, 0);
}

static void read_holder(int fd, char text[HOLDER_BYTES])
{
    ssize_t bytes = pread(fd, text, HOLDER_BYTES - 1, 0);
    text[bytes > 0 ? bytes : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (text[0] == '\0') {
        snprintf(text, HOLDER_BYTES, "a process that does not say its name");
    }
}

static fc_status lock(int fd, const char *folder)
{
    char holder[HOLDER_BYTES];
    for (int look = 0; !try_lock(fd); look++) {
        if (!is_taken(errno)) {
            fc_log_warn("%s cannot be locked (%s): make sure that no other run writes there",
                        folder, strerror(errno));
            break;
        }
        if (look == PATIENCE_SECONDS * LOOKS_A_SECOND) {
            read_holder(fd, holder);
            return FC_FAIL(
                FC_USAGE,
                "%s: another run writes there (%s); wait until it has ended, stop it, or "
                "choose another folder with output=FOLDER",
                folder, holder);
        }
        const struct timespec pause = {0, 1000000000 / LOOKS_A_SECOND};
        nanosleep(&pause, NULL);
    }
    sign(fd);
    return FC_OK;
}

static void close_lock(fc_output **o)
{
    if (*o != NULL && (*o)->fd >= 0) {
        close((*o)->fd);
    }
    fc_free(o);
}

fc_status fc_output_lock(fc_output **out, const char *folder)
{
    char *path = fc_format("%s/.lock", folder);
    fc_output *o = fc_alloc(1, sizeof *o);
    fc_status status = FC_OK;
    o->fd = -1;
    FC_TRY_GOTO(status, fc_folder_make(folder), done);
    o->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (o->fd < 0) {
        status = FC_FAIL(FC_RUNTIME, "cannot write to %s (%s: %s)", folder, path, strerror(errno));
        goto done;
    }
    status = lock(o->fd, folder);
done:
    fc_free(&path);
    *out = o;
    if (status != FC_OK) {
        close_lock(out);
    }
    return status;
}

/* What the lock says of us is no longer true. */
void fc_output_release(fc_output **o)
{
    if (*o != NULL) {
        (void)!ftruncate((*o)->fd, 0);
    }
    close_lock(o);
}

/* ---- What a killed run left half written ---- */

static bool has_ends(const char *name, const char *begin, const char *end)
{
    size_t length = strlen(name), first = strlen(begin), last = strlen(end);
    return length >= first + last && strncmp(name, begin, first) == 0 &&
           strcmp(name + length - last, end) == 0;
}

/* Only names of our own: the lock says that nobody is writing these. */
static bool is_leftover(const char *name)
{
    return has_ends(name, "results", ".h5.partial") ||
           has_ends(name, "state_", ".safetensors.partial") ||
           has_ends(name, "epoch_", ".safetensors.partial");
}

void fc_output_clean(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (!is_leftover(entry->d_name)) {
            continue;
        }
        char *path = fc_format("%s/%s", folder, entry->d_name);
        if (unlink(path) == 0) {
            fc_log_info("removed %s, which an earlier run did not finish writing", path);
        } else {
            fc_log_warn("cannot remove %s: %s", path, strerror(errno));
        }
        fc_free(&path);
    }
    if (dir != NULL) {
        closedir(dir);
    }
}
