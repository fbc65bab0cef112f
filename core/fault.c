#include "core/fault.h"

#include "core/memory.h"
#include "core/suggest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <stdatomic.h>

enum { MOST = 16, ANY = -1 };

typedef struct fault {
    fc_fault_action action;
    fc_fault_place place;
    int64_t step; /* or ANY */
    atomic_bool done;
} fault;

static fault faults[MOST];
static int count;
static _Atomic int64_t step_now;
static _Thread_local int64_t thread_step = -1;
static _Atomic int64_t bad_image = -1;
bool fci_fault_armed;

static const char *const action_name[] = {
#define XX(name, place) #name,
    FC_FAULT_ACTION_MAP(XX)
#undef XX
};
static const fc_fault_place usual_place[] = {
#define XX(name, place) FC_AT_##place,
    FC_FAULT_ACTION_MAP(XX)
#undef XX
};
static const char *const place_name[] = {
#define XX(name) #name,
    FC_FAULT_PLACE_MAP(XX)
#undef XX
};

/* ---- Reading FINECLIP_FAULT ---- */

static fc_status wrong(const char *what, const char *word, const char *const *names, int n)
{
    char known[512] = "";
    for (int i = 0; i < n; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    return FC_FAIL(FC_USAGE, "FINECLIP_FAULT: '%s' is no %s; known: %s", word, what, known);
}

static fc_status parse_number(const char *text, const char *what, int64_t *out)
{
    char *end;
    *out = strcmp(text, "*") == 0 ? ANY : strtoll(text, &end, 10);
    if (*out != ANY && (end == text || *end != '\0' || *out < 0)) {
        return FC_FAIL(FC_USAGE, "FINECLIP_FAULT: '%s' is no %s; want RANK:STEP:ACTION[@PLACE]",
                       text, what);
    }
    return FC_OK;
}

static int find(const char *word, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(word, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* What only a certain place knows how to do happens there alone; results are a file as well. */
static bool fits(fc_fault_action action, fc_fault_place place)
{
    fc_fault_place usual = usual_place[action];
    if (usual == FC_AT_step) {
        return place != FC_AT_features && place != FC_AT_picture;
    }
    return place == usual || (usual == FC_AT_checkpoint && place == FC_AT_results);
}

static fc_status parse_one(char *text, int rank)
{
    enum { ACTIONS = sizeof action_name / sizeof *action_name };
    enum { PLACES = sizeof place_name / sizeof *place_name };
    char *step = strchr(text, ':'), *action = step != NULL ? strchr(step + 1, ':') : NULL;
    if (action == NULL) {
        return FC_FAIL(FC_USAGE, "FINECLIP_FAULT: '%s'; want RANK:STEP:ACTION[@PLACE]", text);
    }
    *step++ = *action++ = '\0';
    char *place = strchr(action, '@');
    if (place != NULL) {
        *place++ = '\0';
    }
    int64_t on;
    fault f = {0};
    FC_TRY(parse_number(text, "rank", &on));
    FC_TRY(parse_number(step, "step", &f.step));
    int at = find(action, action_name, ACTIONS);
    if (at < 0) {
        return wrong("action", action, action_name, ACTIONS);
    }
    f.action = (fc_fault_action)at;
    at = place != NULL ? find(place, place_name, PLACES) : (int)usual_place[f.action];
    if (at < 0) {
        return wrong("place", place, place_name, PLACES);
    }
    f.place = (fc_fault_place)at;
    if (!fits(f.action, f.place)) {
        return FC_FAIL(FC_USAGE, "FINECLIP_FAULT: %s cannot happen at %s", action, place);
    }
    if (on != ANY && on != rank) {
        return FC_OK;
    }
    if (count == MOST) {
        return FC_FAIL(FC_USAGE, "FINECLIP_FAULT: more than %d faults", MOST);
    }
    faults[count++] = f;
    return FC_OK;
}

fc_status fc_fault_load(const char *text, int rank)
{
    count = 0;
    bad_image = -1;
    char *copy = fc_strdup(text != NULL ? text : ""), *rest = copy;
    fc_status status = FC_OK;
    for (char *one; status == FC_OK && (one = strsep(&rest, ",")) != NULL;) {
        status = *one != '\0' ? parse_one(one, rank) : FC_OK;
    }
    fci_fault_armed = status == FC_OK && count > 0;
    fc_free(&copy);
    return status;
}

void fc_fault_set_step(int64_t step)
{
    step_now = step;
}

void fc_fault_set_thread_step(int64_t step)
{
    thread_step = step;
}

/* ---- Doing it ---- */

static fault *take(fc_fault_action action, fc_fault_place place)
{
    const int64_t step = thread_step >= 0 ? thread_step : (int64_t)step_now;
    for (int i = 0; i < count; i++) {
        fault *f = &faults[i];
        bool goes_on = f->action == FC_FAULT_slow && f->step != ANY && step > f->step;
        if (f->action != action || f->place != place ||
            (f->step != ANY && f->step != step && !goes_on)) {
            continue;
        }
        if (f->action == FC_FAULT_slow || !atomic_exchange(&f->done, true)) {
            return f;
        }
    }
    return NULL;
}

bool fci_fault_due(fc_fault_action action, fc_fault_place place)
{
    return take(action, place) != NULL;
}

bool fci_fault_bad_picture(int64_t image, bool first)
{
    if (first && take(FC_FAULT_bad_picture, FC_AT_picture) != NULL) {
        bad_image = image;
    }
    return bad_image == image;
}

static void touch_file_end(void)
{
    FILE *file = tmpfile();
    volatile char *page =
        file == NULL ? MAP_FAILED
                     : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    if (page != MAP_FAILED) {
        page[0] = 1; /* the file is empty: SIGBUS */
    }
}

static int recurse(volatile char *above, int depth)
{
    volatile char frame[4096];
    frame[0] = above != NULL ? above[0] : 0;
    return depth == 0 ? frame[0] : recurse(frame, depth - 1) + frame[0];
}

static void wait_seconds(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&t, &t) != 0) {
    }
}

static fc_status act(fc_fault_action action)
{
    static char *volatile nowhere = (char *)16;
    switch (action) {
    case FC_FAULT_crash:
        kill(getpid(), SIGKILL);
        break;
    case FC_FAULT_segv:
        *nowhere = 1;
        break;
    case FC_FAULT_bus:
        touch_file_end();
        break;
    case FC_FAULT_fpe:
        raise(SIGFPE);
        break;
    case FC_FAULT_ill:
        __builtin_trap();
    case FC_FAULT_abort:
        abort(); /* lint: allow, what a library does here */
    case FC_FAULT_exit:
        exit(3); /* lint: allow, what a library does here */
    case FC_FAULT_overflow:
        (void)recurse(NULL, 1 << 30);
        break;
    case FC_FAULT_error:
        return FC_FAIL(FC_RUNTIME, "a failure on purpose (FINECLIP_FAULT)");
    case FC_FAULT_bug:
        FC_ASSERT(nowhere == NULL);
        break;
    case FC_FAULT_nomem:
        (void)fc_alloc((size_t)1 << 46, 1);
        break;
    case FC_FAULT_hang:
        for (;;) {
            wait_seconds(3600);
        }
    case FC_FAULT_stop:
        kill(getpid(), SIGSTOP);
        break;
    case FC_FAULT_slow:
        wait_seconds(0.33);
        break;
    case FC_FAULT_nan:
    case FC_FAULT_inf:
    case FC_FAULT_spike:
    case FC_FAULT_bad_picture:
    case FC_FAULT_torn:
    case FC_FAULT_half:
    case FC_FAULT_enospc:
        break; /* the place does these */
    }
    return FC_OK;
}

fc_status fci_fault_here(fc_fault_place place)
{
    for (fc_fault_action a = FC_FAULT_crash; a <= FC_FAULT_slow; a++) {
        if (take(a, place) != NULL) {
            FC_TRY(act(a));
        }
    }
    return FC_OK;
}
