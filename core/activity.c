#include "core/activity.h"

#include "core/clock.h"

#include <stddef.h>

#include <stdatomic.h>

static struct {
    _Atomic int64_t step, beats;
    _Atomic(const char *) now, before;
    _Atomic double since;
    atomic_bool waiting;
} state;

const char *volatile fci_activity_kernel, *volatile fci_activity_scope;

void fc_activity_step(int64_t step)
{
    state.step = step;
    fc_activity_beat();
}

void fc_activity_beat(void)
{
    state.beats++;
}

static const char *begin(const char *what, bool waiting)
{
    const char *around = state.now;
    state.since = fc_clock_seconds();
    state.now = what;
    state.waiting = waiting;
    return around;
}

const char *fc_activity_begin(const char *what)
{
    return begin(what, false);
}

const char *fc_activity_wait(const char *collective)
{
    return begin(collective, true);
}

void fc_activity_end(const char *around)
{
    state.before = state.now;
    state.now = around;
    state.waiting = false;
    state.since = fc_clock_seconds();
}

fc_activity fc_activity_now(void)
{
    return (fc_activity){.step = state.step,
                         .beats = state.beats,
                         .now = state.now,
                         .before = state.before,
                         .since = state.since,
                         .waiting = state.waiting};
}
