/* One request to stop is remembered; a second one a moment later is the same one, a second one
 * after that ends the process at once with one message. */
#include "launch/signals.h"
#include "tests/check.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void wait_seconds(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&t, &t) != 0) {
    }
}

/* The child raises the signals with a pause between them; returns its exit status and what it
 * wrote to stderr. */
static int child(const int *signals, int count, double pause, char *said, size_t bytes)
{
    int ends[2];
    FC_CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        for (int i = 0; i < count; i++) {
            if (i > 0) {
                wait_seconds(pause);
            }
            raise(signals[i]);
        }
        _exit(fc_signals_pending());
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n; (n = read(ends[0], said + used, bytes - 1 - used)) > 0;) {
        used += (size_t)n;
    }
    said[used] = '\0';
    close(ends[0]);
    int status = -1;
    FC_CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void)
{
    char said[4096];
    FC_CHECK_OK(fc_signals_install());
    FC_CHECK_INT(fc_signals_pending(), 0);
    FC_CHECK_INT(child((int[]){SIGUSR1}, 1, 0, said, sizeof said), SIGUSR1);
    FC_CHECK_INT(child((int[]){SIGTERM, SIGTERM}, 2, 0.02, said, sizeof said), SIGTERM);
    FC_CHECK_STR(said, "");
    FC_CHECK_INT(child((int[]){SIGUSR1, SIGTERM}, 2, 0.7, said, sizeof said), SIGUSR1);
    FC_CHECK_STR(said, "");
    FC_CHECK_INT(child((int[]){SIGTERM, SIGUSR1}, 2, 0.7, said, sizeof said), SIGTERM);
    FC_CHECK_INT(child((int[]){SIGINT, SIGTERM}, 2, 0.7, said, sizeof said), 75);
    FC_CHECK(strstr(said, "fineclip: error: a second signal") == said);
    raise(SIGINT);
    FC_CHECK_INT(fc_signals_pending(), SIGINT);
    FC_CHECK_STR(fc_signals_name(fc_signals_pending()), "SIGINT");
    fc_signals_clear();
    FC_CHECK_INT(fc_signals_pending(), 0);
    return fc_check_end();
}
