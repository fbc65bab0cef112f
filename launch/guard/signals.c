#include "launch/guard/signals.h"

#include "core/crash.h"
#include "core/fatal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include <omp.h>

/* A second SIGINT or SIGTERM means "at once", but timeout(1) and launchers send the first one
 * twice within moments: to the process and to its group. */
enum { PATIENCE_NS = 500000000 };

static volatile sig_atomic_t pending;
static volatile sig_atomic_t asked; /* 1: SIGINT or SIGTERM arrived at `asked_at` */
static struct timespec asked_at;    /* handlers alone touch it, and they block each other */

/* Only async-signal-safe calls here: clock_gettime, and fc_fatal_nompi, which formats into a local
 * buffer (glibc's snprintf of strings and ints takes no lock and no memory) and write()s it. */
static void on_signal(int number)
{
    int keep_errno = errno;
    if (pending == 0) {
        pending = number;
    }
    if (number != SIGUSR1) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (asked == 0) {
            asked = 1;
            asked_at = now;
        } else if ((long long)(now.tv_sec - asked_at.tv_sec) * 1000000000 +
                       (now.tv_nsec - asked_at.tv_nsec) >
                   PATIENCE_NS) {
            fc_fatal_nompi(FC_INTERRUPTED, "a second signal: stopped at once, nothing was saved "
                                           "since the last checkpoint");
        }
    }
    errno = keep_errno;
}

/* A signal's frame on a stack that a matrix product borrows would run over heap (core/crash.h). So
 * the main thread takes signals on a stack of their own, and the threads of its team, which compute
 * as well, take none. */
static fc_status keep_off_stacks(const sigset_t *ours)
{
    FC_TRY(fc_crash_thread(NULL));
    int refused = 0;
#pragma omp parallel reduction(+ : refused)
    {
        refused += omp_get_thread_num() > 0 && pthread_sigmask(SIG_BLOCK, ours, NULL) != 0;
    }
    return refused == 0 ? FC_OK : FC_FAIL(FC_RUNTIME, "cannot block signals in worker threads");
}

fc_status fc_signals_install(void)
{
    const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    /* RESTART: no system call of a library fails because of us. */
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < 3; i++) {
        sigaddset(&action.sa_mask, numbers[i]);
    }
    FC_TRY(keep_off_stacks(&action.sa_mask));
    for (int i = 0; i < 3; i++) {
        if (sigaction(numbers[i], &action, NULL) != 0) {
            return FC_FAIL(FC_RUNTIME, "cannot handle %s: %s", fc_signals_name(numbers[i]),
                           strerror(errno));
        }
    }
    return FC_OK;
}

int fc_signals_pending(void)
{
    return pending;
}

void fc_signals_ask(int signal_number)
{
    if (pending == 0) {
        pending = signal_number;
    }
}

const char *fc_signals_name(int signal_number)
{
    return signal_number == SIGTERM   ? "SIGTERM"
           : signal_number == SIGINT  ? "SIGINT"
           : signal_number == SIGUSR1 ? "SIGUSR1"
                                      : "a signal";
}

void fc_signals_leave(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
}

void fc_signals_clear(void)
{
    pending = 0;
    asked = 0;
}
