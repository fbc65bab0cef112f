#include "core/fatal.h"

#include "core/activity.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <stdatomic.h>

static struct {
    char run_dir[1024];
    char place[256];
    void (*abort_job)(int);
    void (*farewell)(int);
    volatile int exit_status;
    bool guarded; /* exit() is a failure */
} state;

void fc_fatal_set_run_dir(const char *dir)
{
    snprintf(state.run_dir, sizeof state.run_dir, "%s", dir == NULL ? "" : dir);
}

void fc_fatal_set_place(const char *place)
{
    snprintf(state.place, sizeof state.place, "%s", place);
}

const char *fc_fatal_place(void)
{
    return state.place;
}

void fc_fatal_set_farewell(void (*farewell)(int exit_status))
{
    state.farewell = farewell;
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

static size_t headline(char *text, size_t bytes, int rank, const char *place, const char *what,
                       const char *details)
{
    int n;
    if (fc_log_size() > 1) {
        n = snprintf(text, bytes, "fineclip: error: rank %d/%d (%s): %s\n%s", rank, fc_log_size(),
                     place, what, details);
    } else {
        n = snprintf(text, bytes, "fineclip: error: %s\n%s", what, details);
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

static void end_now(int signal_number)
{
    (void)signal_number;
    _exit(state.exit_status);
}

/* MPI_Abort may wait for a host that no longer answers, and this rank's other threads may hold what
 * it needs: the process ends a little later all the same. */
static void abort_within_seconds(int exit_status)
{
    struct sigaction action = {.sa_handler = end_now, .sa_flags = SA_ONSTACK};
    sigset_t alarm_only;
    state.exit_status = exit_status;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    sigaction(SIGALRM, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    alarm(2);
    state.abort_job(exit_status);
}

/* Of this process's threads that fail at once, the first to come here ends it; the others wait for
 * that. A thread that comes back has failed while it was ending the process. */
static void become_the_ender(int exit_status)
{
    static _Atomic int ender;
    int none = 0, me = (int)syscall(SYS_gettid);
    if (atomic_compare_exchange_strong(&ender, &none, me)) {
        return;
    }
    if (ender != me) {
        sleep(8);
    }
    _exit(exit_status);
}

/* What ends the process once the message is out. */
typedef enum ending {
    END_BY_MPI,
    END_ALONE,
    END_AFTER_LAUNCHER, /* which saw a killed rank's status, the job's, and may be slow to say so */
} ending;

static void say_and_end(int rank, const char *place, fc_status status, const char *what,
                        const char *details, ending how)
{
    char text[4096];
    int leave = fc_status_exit(status);
    become_the_ender(leave);
    size_t bytes = headline(text, sizeof text, rank, place,
                            what[0] != '\0' ? what : fc_status_text(status), details);
    if (win_the_message(text, bytes)) {
        write_all(STDERR_FILENO, text, bytes);
    }
    if (how == END_AFTER_LAUNCHER) {
        sleep(1);
    }
    if (state.farewell != NULL) {
        state.farewell(leave);
    }
    if (how == END_BY_MPI && state.abort_job != NULL) {
        abort_within_seconds(leave);
    }
    _exit(leave);
}

void fc_fatal(fc_status status)
{
    /* The trace is for us: users get it only for bugs and system failures. */
    bool ours = status == FC_BUG || status == FC_RUNTIME;
    say_and_end(fc_log_rank(), state.place, status, fc_error_message(),
                ours ? fc_error_trace() : "", END_BY_MPI);
    _exit(fc_status_exit(status));
}

void fc_fatal_nompi(fc_status status, const char *what)
{
    say_and_end(fc_log_rank(), state.place, status, what, "", END_ALONE);
    _exit(fc_status_exit(status));
}

void fc_fatal_about(int rank, const char *place, fc_status status, const char *what,
                    const char *details)
{
    say_and_end(rank, place, status, what, details, END_AFTER_LAUNCHER);
    _exit(fc_status_exit(status));
}

void fc_fatal_follow(int exit_status)
{
    /* What the rank that speaks has written is on its way through the launcher, which may end that
     * way with the first rank that goes. */
    usleep(300000);
    _exit(exit_status);
}

static void on_exit_unasked(void)
{
    if (state.guarded) {
        char what[128];
        fc_activity a = fc_activity_now();
        snprintf(what, sizeof what,
                 "step %" PRId64 ": a library ended the process (exit) during %s", a.step,
                 a.now != NULL ? a.now : "no step");
        fc_fatal_nompi(FC_BUG, what);
    }
}

void fc_fatal_guard_exit(bool on)
{
    static bool registered;
    if (!registered) {
        registered = atexit(on_exit_unasked) == 0;
    }
    state.guarded = on;
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
