/* One request to stop is remembered; a second one a moment later is the same one, a second one
 * after that ends the process at once with one message. */
#include "core/cpu/gemm.h"
#include "core/memory.h"
#include "launch/guard/signals.h"
#include "tests/check.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <omp.h>

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

/* Frames of signals never go where the stack register points: matrix products borrow it. */
static void test_stack(void)
{
    const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    stack_t own;
    FC_CHECK(sigaltstack(NULL, &own) == 0);
    FC_CHECK((own.ss_flags & SS_DISABLE) == 0 && own.ss_size >= 32768);
    for (int i = 0; i < 3; i++) {
        struct sigaction action;
        FC_CHECK(sigaction(numbers[i], NULL, &action) == 0);
        FC_CHECK((action.sa_flags & SA_ONSTACK) != 0);
    }
    int blocked = 0, threads = 1;
#pragma omp parallel reduction(+ : blocked)
    {
        sigset_t mask;
        pthread_sigmask(SIG_BLOCK, NULL, &mask);
        blocked += sigismember(&mask, SIGTERM) + sigismember(&mask, SIGUSR1);
#pragma omp single
        threads = omp_get_num_threads();
    }
    FC_CHECK_INT(blocked, 2 * (threads - 1)); /* all but the main thread */
}

/* Signals that keep arriving while matrices are multiplied leave products and heap as they are. */
static void test_storm(void)
{
    enum { N = 192 };
    float *a = fc_alloc((size_t)N * N, sizeof *a), *b = fc_alloc((size_t)N * N, sizeof *b);
    float *want = fc_alloc((size_t)N * N, sizeof *want);
    for (int i = 0; i < N * N; i++) {
        a[i] = (float)(i % 17) - 8;
        b[i] = (float)(i % 13) - 6;
    }
    fci_gemm_f32(false, false, N, N, N, 1, a, N, b, N, 0, want, N);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec often = {.it_value.tv_nsec = 20000, .it_interval.tv_nsec = 20000},
                      never = {0};
    FC_CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    FC_CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    int wrong = 0;
    for (int i = 0; i < 300; i++) {
        float *c = fc_alloc((size_t)N * N, sizeof *c);
        fci_gemm_f32(false, false, N, N, N, 1, a, N, b, N, 0, c, N);
        wrong += memcmp(c, want, (size_t)N * N * sizeof *c) != 0;
        fc_free(&c);
    }
    FC_CHECK(timer_settime(timer, 0, &never, NULL) == 0);
    FC_CHECK(timer_delete(timer) == 0);
    FC_CHECK_INT(wrong, 0);
    FC_CHECK_INT(fc_signals_pending(), SIGUSR1);
    fc_signals_clear();
    fc_free(&a);
    fc_free(&b);
    fc_free(&want);
}

int main(void)
{
    char said[4096];
    FC_CHECK_OK(fc_signals_install());
    test_stack();
    test_storm();
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
