#include "core/fatal.h"

#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    char run_dir[1024];
    char place[256];
    void (*abort_job)(int);
} state;

void fc_fatal_set_run_dir(const char *dir)
{
    snprintf(state.run_dir, sizeof state.run_dir, "%s", dir == NULL ? "" : dir);
}

void fc_fatal_set_place(const char *place)
{
    snprintf(state.place, sizeof state.place, "%s", place);
}

void fc_fatal_set_abort(void (*abort_job)(int exit_status))
{
    state.abort_job = abort_job;
}

static void write_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, text, bytes);
        if (n < 0 && errno != EINTR) {
            return;
        }
        if (n > 0) {
            text += n;
            bytes -= (size_t)n;
        }
    }
}

static size_t headline(char *text, size_t bytes, const char *what, const char *trace)
{
    int n;
    if (fc_log_size() > 1) {
        n = snprintf(text, bytes, "fineclip: error: rank %d/%d (%s): %s\n%s", fc_log_rank(),
                     fc_log_size(), state.place, what, trace);
    } else {
        n = snprintf(text, bytes, "fineclip: error: %s\n%s", what, trace);
    }
    return n < 0 ? 0 : (size_t)n < bytes ? (size_t)n : bytes - 1;
}

/* One rank of a failing job prints: the one that creates <run_dir>/FAILED. Without a file, rank 0
 * at once and the others after 3 s, in case rank 0 is not failing. The losers keep silent and end
 * with the job. */
static bool win_the_message(const char *text, size_t bytes)
{
    if (fc_log_size() == 1) {
        return true;
    }
    if (state.run_dir[0] != '\0') {
        char path[1100];
        snprintf(path, sizeof path, "%s/FAILED", state.run_dir);
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd >= 0) {
            write_all(fd, text, bytes);
            close(fd);
            return true;
        }
        if (errno == EEXIST) {
            sleep(5);
            return false;
        }
    }
    if (fc_log_rank() != 0 && sleep(3) > 0) {
        return false; /* woken by the launcher's signal: rank 0 has spoken and ends the job */
    }
    return true;
}

static void say_and_end(fc_status status, const char *what, const char *trace, bool mpi)
{
    char text[4096];
    /* The trace is for us: users get it only for bugs and system failures. */
    bool ours = status == FC_BUG || status == FC_RUNTIME;
    size_t bytes = headline(text, sizeof text, what[0] != '\0' ? what : fc_status_text(status),
                            ours ? trace : "");
    if (win_the_message(text, bytes)) {
        write_all(STDERR_FILENO, text, bytes);
    }
    if (mpi && state.abort_job != NULL) {
        state.abort_job(fc_status_exit(status));
    }
    _exit(fc_status_exit(status));
}

void fc_fatal(fc_status status)
{
    say_and_end(status, fc_error_message(), fc_error_trace(), true);
    _exit(fc_status_exit(status));
}

void fc_fatal_nompi(fc_status status, const char *what)
{
    say_and_end(status, what, "", false);
    _exit(fc_status_exit(status));
}

int fc_fatal_report(fc_status status)
{
    if (fc_log_rank() == 0) {
        const char *kind = status == FC_INTERRUPTED ? "" : "error: ";
        const char *what =
            fc_error_message()[0] != '\0' ? fc_error_message() : fc_status_text(status);
        bool ours = status == FC_BUG || status == FC_RUNTIME;
        fprintf(stderr, "fineclip: %s%s\n%s", kind, what, ours ? fc_error_trace() : "");
    }
    return fc_status_exit(status);
}
