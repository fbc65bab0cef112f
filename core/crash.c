#include "core/crash.h"

#include "core/activity.h"
#include "core/fatal.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <link.h>
#include <ucontext.h>

enum { STACK_BYTES = 65536, MOST_OBJECTS = 128 };

static _Thread_local const char *thread_name;

/* The program and its libraries, as they lie in memory. */
static struct {
    const char *name;
    uintptr_t base, begin, end;
} object[MOST_OBJECTS];
static int objects;

static int note_object(struct dl_phdr_info *info, size_t bytes, void *ctx)
{
    (void)bytes;
    (void)ctx;
    for (int i = 0; i < info->dlpi_phnum && objects < MOST_OBJECTS; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0) {
            const char *slash = strrchr(info->dlpi_name, '/');
            object[objects].name = slash != NULL ? slash + 1 : info->dlpi_name;
            object[objects].base = info->dlpi_addr;
            object[objects].begin = info->dlpi_addr + part->p_vaddr;
            object[objects++].end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
        }
    }
    return 0;
}

/* "in libhdf5.so+0x12ab": what addr2line wants. Code made while running (oneDNN) is in no file. */
static void describe_code(char *text, size_t bytes, uintptr_t at)
{
    snprintf(text, bytes, "in code at 0x%" PRIxPTR, at);
    for (int i = 0; i < objects; i++) {
        if (at >= object[i].begin && at < object[i].end) {
            snprintf(text, bytes, "in %s+0x%" PRIxPTR,
                     object[i].name[0] != '\0' ? object[i].name : "fineclip", at - object[i].base);
        }
    }
}

static uintptr_t code_address(const void *context)
{
    const ucontext_t *c = context;
#if defined(__x86_64__)
    return (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)c->uc_mcontext.pc;
#else
    (void)c;
    return 0;
#endif
}

static const char *name_of(int number)
{
    return number == SIGSEGV  ? "SIGSEGV (invalid memory access"
           : number == SIGBUS ? "SIGBUS (memory or a mapped file is gone"
           : number == SIGFPE ? "SIGFPE (integer arithmetic"
           : number == SIGILL ? "SIGILL (an instruction this processor does not have, or a trap"
                              : "SIGABRT (a library gave up";
}

/* Async-signal-safe: formats into local buffers (glibc's snprintf of strings and integers takes no
 * lock and no memory), then core/fatal.c, which does as much and write()s. */
static void on_crash(int number, siginfo_t *info, void *context)
{
    char where[256], what[1024], doing[512] = "";
    fc_activity a = fc_activity_now();
    describe_code(where, sizeof where, code_address(context));
    const char *kernel = fci_activity_kernel, *scope = fci_activity_scope;
    if (thread_name != NULL) {
        snprintf(doing, sizeof doing, "in a %s", thread_name);
    } else {
        snprintf(doing, sizeof doing, "during %s%s%s%s%s%s", a.now != NULL ? a.now : "no step",
                 kernel != NULL ? ", " : "", kernel != NULL ? kernel : "",
                 scope != NULL && scope[0] != '\0' ? " (" : "", scope != NULL ? scope : "",
                 scope != NULL && scope[0] != '\0' ? ")" : "");
    }
    if (number == SIGSEGV || number == SIGBUS) {
        snprintf(what, sizeof what, "step %" PRId64 ": %s at %p) %s, %s", a.step, name_of(number),
                 info->si_addr, doing, where);
    } else {
        snprintf(what, sizeof what, "step %" PRId64 ": %s) %s, %s", a.step, name_of(number), doing,
                 where);
    }
    /* A file or the memory behind it that is gone is no fault of the program. */
    fc_fatal_nompi(number == SIGBUS ? FC_RUNTIME : FC_BUG, what);
}

static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

fc_status fc_crash_install(void)
{
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    FC_TRY(fc_crash_thread(NULL));
    objects = 0;
    dl_iterate_phdr(note_object, NULL);
    sigfillset(&action.sa_mask);
    for (int i = 0; i < NUMBERS; i++) {
        /* A crash in the handler itself is met by it again, and core/fatal.c ends the process. */
        sigdelset(&action.sa_mask, numbers[i]);
    }
    for (int i = 0; i < NUMBERS; i++) {
        if (sigaction(numbers[i], &action, NULL) != 0) {
            return FC_FAIL(FC_RUNTIME, "cannot handle signal %d: %s", numbers[i], strerror(errno));
        }
    }
    return FC_OK;
}

fc_status fc_crash_thread(const char *name)
{
    static _Thread_local char stack[STACK_BYTES];
    stack_t there;
    sigset_t ours;
    thread_name = name;
    /* A crash whose signal is blocked ends the process without a word. */
    sigemptyset(&ours);
    for (int i = 0; i < NUMBERS; i++) {
        sigaddset(&ours, numbers[i]);
    }
    pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
    if (sigaltstack(NULL, &there) == 0 && (there.ss_flags & SS_DISABLE) == 0) {
        return FC_OK; /* a sanitizer's, which takes it away by itself */
    }
    const stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    if (sigaltstack(&own, NULL) != 0) {
        return FC_FAIL(FC_RUNTIME, "cannot set a stack for signals: %s", strerror(errno));
    }
    return FC_OK;
}
