#include "tests/fuzz/fuzz.h"

#include "core/fatal.h"
#include "core/log.h"
#include "core/memory.h"
#include "launch/dist.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    int fd[FUZZ_FILES]; /* 0: not made yet */
    char path[FUZZ_FILES][64];
} files;
static char refusal[1024]; /* the last message, which fuzz_ok cleared */

static void abort_on_fatal(int exit_status)
{
    (void)exit_status;
    fuzz_finding(fc_error_message());
}

/* As the program starts; but crashes and exits are for the fuzzer to see. */
static void start(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    enum { CRASHES = sizeof crashes / sizeof *crashes };
    struct sigaction before[CRASHES];
    for (int i = 0; i < CRASHES; i++) {
        sigaction(crashes[i], NULL, &before[i]);
    }
    FUZZ_CHECK(fc_dist_start() == FC_OK);
    fc_fatal_guard_exit(false);
    for (int i = 0; i < CRASHES; i++) {
        sigaction(crashes[i], &before[i], NULL);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    start();
    fc_log_set_rank(1, 1); /* only rank 0 speaks */
    fc_fatal_set_abort(abort_on_fatal);
    /* inspect prints what it finds. */
    if (freopen("/dev/null", "w", stdout) == NULL) {
        fuzz_finding("/dev/null cannot be opened");
    }
    return 0;
}

void fuzz_finding(const char *what)
{
    fprintf(stderr, "finding: %s\nthe last refusal: %s\n", what, refusal);
    abort();
}

static void remove_files(void)
{
    for (int i = 0; i < FUZZ_FILES; i++) {
        if (files.fd[i] > 0) {
            unlink(files.path[i]);
        }
    }
}

const char *fuzz_temp(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* A real file: HDF5 wants a name it can resolve. */
static int slot_fd(int slot)
{
    FUZZ_CHECK(slot >= 0 && slot < FUZZ_FILES);
    if (files.fd[slot] == 0) {
        snprintf(files.path[slot], sizeof files.path[slot], "%s/fineclip-fuzz-XXXXXX", fuzz_temp());
        files.fd[slot] = mkstemp(files.path[slot]);
        FUZZ_CHECK(files.fd[slot] > 0);
        if (slot == 0) {
            atexit(remove_files);
        }
    }
    return files.fd[slot];
}

const char *fuzz_file(int slot, const uint8_t *data, size_t size)
{
    int fd = slot_fd(slot);
    FUZZ_CHECK(ftruncate(fd, 0) == 0);
    for (size_t at = 0; at < size;) {
        ssize_t n = pwrite(fd, data + at, size - at, (off_t)at);
        FUZZ_CHECK(n > 0 || errno == EINTR);
        at += n > 0 ? (size_t)n : 0;
    }
    return files.path[slot];
}

uint8_t *fuzz_file_bytes(int slot, size_t *size)
{
    struct stat about;
    int fd = slot_fd(slot);
    FUZZ_CHECK(fstat(fd, &about) == 0);
    *size = (size_t)about.st_size;
    uint8_t *bytes = fc_alloc(*size, 1);
    FUZZ_CHECK(pread(fd, bytes, *size, 0) == (ssize_t)*size);
    return bytes;
}

bool fuzz_ok(fc_status status)
{
    if (status == FC_BUG || status == FC_NOMEM) {
        fuzz_finding(fc_error_message());
    }
    if (status != FC_OK) {
        FUZZ_CHECK(fc_error_message()[0] != '\0');
        snprintf(refusal, sizeof refusal, "%s", fc_error_message());
        fc_error_clear();
    }
    return status == FC_OK;
}

bool fuzz_inspect(fc_status (*show)(const fci_inspect_options *), const char *path)
{
    const fci_inspect_options options = {.path = path, .check = true};
    fc_log_set_rank(0, 1); /* which opens and shows */
    bool fine = fuzz_ok(show(&options));
    fc_log_set_rank(1, 1);
    return fine;
}

uint8_t fuzz_u8(fuzz_input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

uint16_t fuzz_u16(fuzz_input *in)
{
    uint16_t low = fuzz_u8(in);
    return (uint16_t)(low | fuzz_u8(in) << 8);
}

int64_t fuzz_number(fuzz_input *in)
{
    static const int64_t breaking[] = {
        0,         1,         -1,           2,         127,       128,       255,       256,
        INT16_MAX, INT16_MIN, UINT16_MAX,   1 << 16,   INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN,
        1LL << 32, 1LL << 40, 1LL << 53,    1LL << 62, 1LL << 61, 1000,      77,        49408,
        -2,        3,         4294967295LL, 1LL << 31, 1 << 20,   1 << 24,   1 << 28,   64,
    };
    enum { BREAKING = sizeof breaking / sizeof *breaking };
    uint8_t kind = fuzz_u8(in);
    if (kind < 128) {
        return breaking[kind % BREAKING];
    }
    if (kind < 192) {
        return kind - 128;
    }
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | fuzz_u8(in);
    }
    return (int64_t)value;
}

char *fuzz_part(fuzz_input *in, size_t *bytes)
{
    const uint8_t *end = in->left > 0 ? memchr(in->at, '\f', in->left) : NULL;
    size_t count = end != NULL ? (size_t)(end - in->at) : in->left;
    char *part = fc_alloc(count + 1, 1);
    if (count > 0) {
        memcpy(part, in->at, count);
    }
    in->at += count;
    in->left -= count;
    (void)fuzz_u8(in); /* the form feed */
    if (bytes != NULL) {
        *bytes = count;
    }
    return part;
}
