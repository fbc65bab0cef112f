/* Every rank tells rank 0 a few times a timeout what it does; rank 0 tells the others the same of
 * all, so that any of them can say what went on when rank 0 is the one that is gone.
 *
 * A rank hangs when nothing gets on there for the timeout and it does not wait for others, or when
 * nothing was heard of it for that long. A rank that waits in a collective only hangs when all do:
 * others may evaluate or write. Times are taken on the clock of whoever judges. */
#include "launch/guard/watchdog.h"

#include "core/activity.h"
#include "core/clock.h"
#include "core/crash.h"
#include "core/fatal.h"
#include "core/log.h"
#include "core/memory.h"
#include "launch/guard/signals.h"
#include "launch/guard/watchdog_link.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <poll.h>
#include <stdatomic.h>

/* Work without a name (starting, reading weights) is not a step: it has at least this long. */
#define UNNAMED_SECONDS 60.0

typedef struct seen {
    fci_message last;
    double heard, beat; /* clock: last message, last beat that was new */
    bool done;
} seen;

static struct {
    bool running;
    atomic_bool stop;
    pthread_t thread;
    fci_link *link; /* NULL: alone */
    int rank, size;
    double timeout, period;
    seen *ranks; /* (size) */
    int told_signal;
    int wake; /* readable: stop at once */
} dog;

/* ---- What the ranks do ---- */

static fci_message own_status(void)
{
    fc_activity a = fc_activity_now();
    fci_message m = {.kind = FCI_STATUS,
                     .rank = dog.rank,
                     .waiting = a.waiting,
                     .step = a.step,
                     .beats = a.beats};
    m.doing = a.now != NULL ? fc_clock_seconds() - a.since : 0;
    snprintf(m.now, sizeof m.now, "%s", a.now != NULL ? a.now : "");
    snprintf(m.before, sizeof m.before, "%s", a.before != NULL ? a.before : "");
    snprintf(m.place, sizeof m.place, "%s", fc_fatal_place());
    return m;
}

/* Keep what a rank says of itself, or rank 0 of it. */
static void note(const fci_message *m, double now)
{
    seen *s = &dog.ranks[m->rank];
    bool first_hand = m->rank == dog.rank || dog.rank == 0 || m->rank == 0;
    if (first_hand) {
        s->heard = now;
        if (m->beats != s->last.beats || s->last.kind == 0) {
            s->beat = now;
        }
    } else {
        s->heard = now - m->silent;
        s->beat = now - m->still;
    }
    char place[FCI_PLACE_BYTES];
    memcpy(place, m->place[0] != '\0' ? m->place : s->last.place, sizeof place);
    s->last = *m;
    memcpy(s->last.place, place, sizeof place);
}

static double still(int r, double now)
{
    return now - dog.ranks[r].beat;
}

/* What others say of a rank comes through rank 0 and tells nothing of its own reports. */
static bool is_second_hand(int r)
{
    return dog.rank != 0 && r != 0 && r != dog.rank;
}

/* No longer reports as often as it should. */
static bool is_silent(int r, double now)
{
    return r != dog.rank && !is_second_hand(r) && now - dog.ranks[r].heard > 5 * dog.period + 0.5;
}

/* A rank's watchdog reports whatever its other threads do: only of one that reports can it be said
 * that it has no operation to name yet. */
static double limit(int r, double now)
{
    bool unnamed = dog.ranks[r].last.now[0] == '\0' && !is_silent(r, now);
    return unnamed ? fmax(dog.timeout, UNNAMED_SECONDS) : dog.timeout;
}

/* ---- Saying so ---- */

static bool same_doing(int a, int b, double now)
{
    const seen *x = &dog.ranks[a], *y = &dog.ranks[b];
    return x->done == y->done && is_silent(a, now) == is_silent(b, now) &&
           x->last.step == y->last.step && strcmp(x->last.now, y->last.now) == 0 &&
           strcmp(x->last.before, y->last.before) == 0;
}

static void describe(int r, double now, char *text, size_t bytes)
{
    const fci_message *m = &dog.ranks[r].last;
    size_t used = (size_t)snprintf(text, bytes, "step %" PRId64 ", ", m->step);
    if (dog.ranks[r].done) {
        used += (size_t)snprintf(text + used, bytes - used, "done");
    } else if (m->now[0] == '\0') {
        used += (size_t)snprintf(text + used, bytes - used, "between operations");
    } else {
        used += (size_t)snprintf(text + used, bytes - used, "in %s for %.1f s", m->now,
                                 m->doing + now - dog.ranks[r].heard);
    }
    if (m->before[0] != '\0' && used < bytes) {
        used += (size_t)snprintf(text + used, bytes - used, ", last finished %s", m->before);
    }
    if ((is_silent(r, now) || is_second_hand(r)) && used < bytes) {
        snprintf(text + used, bytes - used, "; %s %.1f s%s",
                 is_second_hand(r) ? "as rank 0 told" : "not heard of for",
                 now - dog.ranks[r].heard, is_second_hand(r) ? " ago" : "");
    }
}

/* Ranks that do the same share a line. */
static void list_ranks(double now, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (int r = 0; r < dog.size && used + 200 < bytes; r++) {
        bool told = false;
        for (int before = 0; before < r && !told; before++) {
            told = same_doing(before, r, now);
        }
        if (told) {
            continue;
        }
        char doing[256];
        describe(r, now, doing, sizeof doing);
        used += (size_t)snprintf(text + used, bytes - used, "  rank %d", r);
        int others = 0;
        for (int other = r + 1; other < dog.size; other++) {
            if (same_doing(r, other, now) && others++ < 8) {
                used += (size_t)snprintf(text + used, bytes - used, ",%d", other);
            }
        }
        used += (size_t)snprintf(text + used, bytes - used, "%s: %s\n", others > 8 ? ",..." : "",
                                 doing);
    }
}

/* Rank 0 sits beside the launcher: when the link between them is down, what it says is seen and
 * what others say may not be. They give it that long to say it first. */
#define FIRST_WORD_SECONDS 2

static void give_up(int r, const char *what)
{
    if (dog.rank != 0 && r == 0) {
        sleep(FIRST_WORD_SECONDS);
    }
    char details[3500] = "", place[FCI_PLACE_BYTES + 1];
    if (dog.size > 1 && dog.link != NULL) {
        list_ranks(fc_clock_seconds(), details, sizeof details);
    }
    snprintf(place, sizeof place, "%s", dog.ranks[r].last.place);
    fc_fatal_about(r, place, FC_RUNTIME, what, details);
}

static void give_up_hung(int r, double now)
{
    char what[512];
    const fci_message *m = &dog.ranks[r].last;
    if (is_silent(r, now)) {
        snprintf(what, sizeof what,
                 "step %" PRId64 ": no sign of life for %.1f s (run.step_timeout: %g): the process "
                 "is stopped, or its host or the link to it is down; it was in %s",
                 m->step, now - dog.ranks[r].heard, dog.timeout,
                 m->now[0] != '\0' ? m->now : "no operation");
    } else {
        snprintf(what, sizeof what,
                 "step %" PRId64 ": nothing gets on for %.1f s (run.step_timeout: %g), in %s%s",
                 m->step, still(r, now), dog.timeout, m->now[0] != '\0' ? m->now : "no operation",
                 m->waiting ? ", and all other ranks wait as well" : "");
    }
    give_up(r, what);
}

/* ---- Judging ---- */

static bool hangs(int r, double now)
{
    const seen *s = &dog.ranks[r];
    if (s->done || still(r, now) <= limit(r, now)) {
        return false;
    }
    return !s->last.waiting || now - s->heard > limit(r, now);
}

static void judge_all(double now)
{
    int first = -1, silent = -1;
    bool all = true;
    for (int r = 0; r < dog.size; r++) {
        if (dog.ranks[r].done || (r > 0 && dog.ranks[r].last.kind == 0)) {
            continue; /* or never connected */
        }
        all = all && still(r, now) > limit(r, now);
        first = first < 0 ? r : first;
        silent = silent < 0 && is_silent(r, now) ? r : silent;
        if (hangs(r, now)) {
            give_up_hung(r, now);
        }
    }
    if (all && first >= 0) {
        give_up_hung(silent >= 0 ? silent : first, now);
    }
}

/* Rank 0 judges for all; the others judge rank 0, a little later than it would itself. */
static void judge(double now)
{
    if (dog.rank == 0) {
        judge_all(now);
        return;
    }
    bool alone = dog.link == NULL;
    if (still(dog.rank, now) > limit(dog.rank, now) + (alone ? 0 : 5) &&
        (alone || !dog.ranks[dog.rank].last.waiting)) {
        give_up_hung(dog.rank, now);
    }
    if (!alone && !dog.ranks[0].done && now - dog.ranks[0].heard > dog.timeout + 2 * dog.period) {
        give_up_hung(0, now);
    }
}

/* ---- Hearing ---- */

static void lost(const fci_message *m)
{
    char what[512];
    const fci_message *last = &dog.ranks[m->rank].last;
    int asked = fc_signals_pending();
    if (m->number != 0) {
        snprintf(what, sizeof what, "step %" PRId64 ": the connection to it failed: %s", last->step,
                 strerror(m->number));
    } else {
        snprintf(what, sizeof what,
                 "step %" PRId64 ": gone without a word (last heard of %.1f s before, in %s): %s",
                 last->step, fc_clock_seconds() - dog.ranks[m->rank].heard,
                 last->now[0] != '\0' ? last->now : "no operation",
                 asked != 0 ? "killed before the step was finished, though a signal had asked it "
                              "to save and leave"
                            : "killed (for lack of memory? see the system's log), or ended by a "
                              "library");
    }
    give_up(m->rank, what);
}

static void hear(void *ctx, const fci_message *m)
{
    (void)ctx;
    switch (m->kind) {
    case FCI_HELLO: {
        fci_message me = own_status();
        note(m, fc_clock_seconds());
        fci_link_send(dog.link, m->rank, &me);
        break;
    }
    case FCI_STATUS:
        note(m, fc_clock_seconds());
        break;
    case FCI_STOP:
        fc_signals_ask(m->number);
        break;
    case FCI_END:
        if (dog.rank == 0) {
            fci_link_shout(dog.link, m);
        }
        fc_fatal_follow(m->number);
    case FCI_BYE:
        dog.ranks[m->rank].done = true;
        break;
    case FCI_LOST:
        if (!dog.ranks[m->rank].done) {
            lost(m);
        }
        break;
    default:
        break;
    }
}

/* ---- Telling ---- */

static void tell(double now)
{
    fci_message m = own_status();
    note(&m, now);
    if (dog.link == NULL) {
        return;
    }
    int signal_number = fc_signals_pending();
    if (signal_number != 0 && dog.told_signal == 0) {
        dog.told_signal = signal_number;
        fci_message stop = {.kind = FCI_STOP, .rank = dog.rank, .number = signal_number};
        for (int r = 0; r < (dog.rank == 0 ? dog.size : 1); r++) {
            fci_link_send(dog.link, r, &stop);
        }
    }
    if (dog.rank > 0) {
        fci_link_send(dog.link, 0, &m);
        return;
    }
    /* Of all to the first few: one of them speaks when rank 0 cannot. */
    enum { FEW = 4 };
    for (int to = 1; to < dog.size; to++) {
        fci_link_send(dog.link, to, &m);
        for (int r = 1; to <= FEW && r < dog.size; r++) {
            fci_message other = dog.ranks[r].last;
            if (r != to && other.kind != 0) {
                other.kind = FCI_STATUS;
                other.doing += now - dog.ranks[r].heard;
                other.silent = now - dog.ranks[r].heard;
                other.still = still(r, now);
                fci_link_send(dog.link, to, &other);
            }
        }
    }
}

static void rest(void)
{
    if (dog.link != NULL) {
        fci_link_wait(dog.link, dog.period, dog.wake, hear, NULL);
    } else {
        struct pollfd p = {.fd = dog.wake, .events = POLLIN};
        (void)poll(&p, 1, (int)(1000 * dog.period));
    }
}

static void *watch(void *arg)
{
    (void)arg;
    FC_IGNORE(fc_crash_thread("watchdog thread"));
    double before = fc_clock_seconds();
    tell(before);
    while (rest(), !dog.stop) {
        double now = fc_clock_seconds(), gap = now - before - dog.period;
        /* This process was stopped (a suspended job) or its machine was: that time is nobody's. */
        if (gap > 5 * dog.period + 1) {
            for (int r = 0; r < dog.size; r++) {
                dog.ranks[r].heard += gap;
                dog.ranks[r].beat += gap;
            }
        }
        before = now;
        tell(now);
        judge(now);
    }
    return NULL;
}

/* ---- Starting and stopping ---- */

static void farewell(int exit_status)
{
    fci_message m = {.kind = FCI_END, .rank = dog.rank, .number = exit_status};
    if (dog.link != NULL) {
        fci_link_shout(dog.link, &m);
    }
}

static fc_status start_thread(fci_link *link)
{
    dog.link = link;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&dog.thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        return FC_FAIL(FC_RUNTIME, "cannot start the watchdog: %s", strerror(error));
    }
    dog.running = true;
    return FC_OK;
}

fc_status fc_watchdog_start(fc_comm *comm, double step_timeout)
{
    fc_watchdog_stop();
    dog.rank = fc_comm_rank(comm);
    dog.size = fc_comm_size(comm);
    dog.timeout = step_timeout;
    dog.period = fmin(fmax(step_timeout / 20, 0.02), 1);
    dog.stop = false;
    dog.wake = eventfd(0, EFD_CLOEXEC);
    if (dog.wake < 0) {
        return FC_FAIL(FC_RUNTIME, "cannot start the watchdog: %s", strerror(errno));
    }
    dog.told_signal = 0;
    dog.ranks = fc_alloc((size_t)dog.size, sizeof *dog.ranks);
    for (int r = 0; r < dog.size; r++) {
        dog.ranks[r].heard = dog.ranks[r].beat = fc_clock_seconds();
        dog.ranks[r].last.rank = r;
    }
    fci_link *link;
    int64_t missing;
    FC_TRY(fci_link_open(&link, comm, fc_fatal_place(), start_thread, &missing));
    if (missing > 0) {
        fc_log_warn(
            "%lld ranks cannot open a connection to rank 0 beside MPI's (a firewall?): each "
            "of them is watched by itself alone",
            (long long)missing);
    }
    if (!dog.running) {
        FC_TRY(start_thread(link));
    }
    fc_fatal_set_farewell(farewell);
    return FC_OK;
}

void fc_watchdog_stop(void)
{
    if (!dog.running) {
        return;
    }
    dog.stop = true;
    (void)eventfd_write(dog.wake, 1);
    pthread_join(dog.thread, NULL);
    dog.running = false;
    close(dog.wake);
    fc_fatal_set_farewell(NULL);
    if (dog.link != NULL) {
        fci_message bye = {.kind = FCI_BYE, .rank = dog.rank};
        fci_link_shout(dog.link, &bye);
        fci_link_close(&dog.link);
    }
    fc_free(&dog.ranks);
}
