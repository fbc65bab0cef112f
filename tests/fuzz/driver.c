/* Replays inputs of a fuzz target where there is no libFuzzer, then seeded mutations of them.
 *
 *   fuzz_NAME [-runs=N] [-seconds=S] [FILE or FOLDER ...]
 *
 * Each mutation depends on the seed and its number alone. An input that crashes, takes more than 10
 * seconds of processor time or too much memory is written to ./fuzz-NAME.crash. */
#include "core/clock.h"
#include "core/memory.h"
#include "core/rng.h"
#include "data/file.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 13, MOST_CHANGES = 6, CPU_SECONDS = 10, SEED = 20260101 };
/* One allocation; the largest that any reader may make for a small file is a 64 MiB dataset. */
static const size_t most_allocation = (size_t)256 << 20;
static const rlim_t most_memory = (rlim_t)3
                                  << 30; /* of the process, where allocations are not seen */

/* Absent outside sanitizer builds. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *))
    __attribute__((weak));

typedef struct input {
    uint8_t *bytes;
    size_t count;
} input;

static struct {
    input *inputs;
    int count;
    char crash_name[256];
    /* the input under way */
    const uint8_t *bytes;
    size_t bytes_count;
} state;

/* Called on the way down: system calls only. */
static void save_input(void)
{
    if (state.bytes == NULL) {
        return;
    }
    int fd = open(state.crash_name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd >= 0 && write(fd, state.bytes, state.bytes_count) == (ssize_t)state.bytes_count) {
        dprintf(STDERR_FILENO, "the input is in %s (%zu bytes)\n", state.crash_name,
                state.bytes_count);
    }
    state.bytes = NULL;
}

static void on_signal(int number)
{
    dprintf(STDERR_FILENO, "signal %d%s\n", number,
            number == SIGPROF ? ": the input takes too long" : "");
    save_input();
    _exit(1);
}

static void on_malloc(const volatile void *p, size_t bytes)
{
    (void)p;
    if (bytes > most_allocation) {
        fuzz_finding("one allocation of more than 256 MiB");
    }
}

static void on_free(const volatile void *p)
{
    (void)p;
}

static void watch(const char *program)
{
    const char *slash = strrchr(program, '/');
    snprintf(state.crash_name, sizeof state.crash_name, "%s.crash",
             slash == NULL ? program : slash + 1);
    signal(SIGABRT, on_signal);
    signal(SIGPROF, on_signal);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(save_input);
        __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
        return;
    }
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGFPE, on_signal);
    const struct rlimit limit = {most_memory, most_memory};
    FUZZ_CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
}

static void run(const uint8_t *bytes, size_t count)
{
    /* A copy of exactly this size, so that a sanitizer sees the first byte read past its end. */
    uint8_t *copy = fc_alloc(count, 1);
    if (count > 0) {
        memcpy(copy, bytes, count);
    }
    state.bytes = copy;
    state.bytes_count = count;
    const struct itimerval timer = {.it_value = {.tv_sec = CPU_SECONDS}}, off = {0};
    setitimer(ITIMER_PROF, &timer, NULL);
    FUZZ_CHECK(LLVMFuzzerTestOneInput(copy, count) == 0);
    setitimer(ITIMER_PROF, &off, NULL);
    state.bytes = NULL;
    fc_free(&copy);
}

/* ---- Inputs ---- */

static void add_file(const char *path)
{
    input new = {0};
    if (fci_file_read(path, &new.bytes, &new.count) != FC_OK) {
        fuzz_finding(fc_error_message());
    }
    state.inputs = fc_realloc(state.inputs, (size_t)state.count + 1, sizeof *state.inputs);
    state.inputs[state.count++] = new;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_path(const char *path)
{
    struct stat about;
    if (stat(path, &about) == 0 && !S_ISDIR(about.st_mode)) {
        add_file(path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, by_name);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            char *file = fc_format("%s/%s", path, entries[i]->d_name);
            add_file(file);
            fc_free(&file);
        }
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
}

/* ---- Mutations ---- */

static size_t below(fc_rng *rng, size_t n)
{
    return n == 0 ? 0 : fc_rng_u32(rng) % n;
}

/* Insert `count` bytes at a random place; what does not fit is left out. */
static size_t insert(fc_rng *rng, uint8_t *bytes, size_t size, const uint8_t *from, size_t count)
{
    count = count < MOST_BYTES - size ? count : MOST_BYTES - size;
    size_t at = below(rng, size + 1);
    memmove(bytes + at + count, bytes + at, size - at);
    memcpy(bytes + at, from, count);
    return size + count;
}

/* Bytes of another input. */
static size_t graft(fc_rng *rng, uint8_t *bytes, size_t size)
{
    const input *other = &state.inputs[below(rng, (size_t)state.count)];
    size_t at = below(rng, other->count);
    return insert(rng, bytes, size, other->bytes + at, below(rng, other->count - at) + 1);
}

/* A digit run becomes another number. */
static size_t renumber(fc_rng *rng, uint8_t *bytes, size_t size)
{
    static const char *const numbers[] = {
        "0", "-1", "1e999", "4294967296", "1.5", "2147483648", "9223372036854775807", "1e-400"};
    size_t at = below(rng, size), end;
    while (at < size && (bytes[at] < '0' || bytes[at] > '9')) {
        at++;
    }
    for (end = at; end < size && bytes[end] >= '0' && bytes[end] <= '9';) {
        end++;
    }
    const char *number = numbers[below(rng, sizeof numbers / sizeof *numbers)];
    size_t length = strlen(number);
    if (at == end || size - (end - at) + length > MOST_BYTES) {
        return size;
    }
    memmove(bytes + at + length, bytes + end, size - end);
    memcpy(bytes + at, number, length);
    return size - (end - at) + length;
}

static size_t change(fc_rng *rng, uint8_t *bytes, size_t size)
{
    static const uint8_t breaking[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '}', '[', '\n', ':', '/'};
    uint8_t fresh[8];
    size_t at = below(rng, size), run_bytes;
    switch (size == 0 ? 5 : below(rng, 9)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << below(rng, 8));
        return size;
    case 1:
        bytes[at] = (uint8_t)fc_rng_u32(rng);
        return size;
    case 2:
        bytes[at] = breaking[below(rng, sizeof breaking)];
        return size;
    case 3: /* a whole number, little endian, becomes extreme */
        run_bytes = (size_t)1 << below(rng, 4);
        run_bytes = run_bytes < size - at ? run_bytes : size - at;
        memset(bytes + at, below(rng, 2) == 0 ? 0xff : 0, run_bytes);
        return size;
    case 4: /* a part goes */
        run_bytes = below(rng, size - at) + 1;
        memmove(bytes + at, bytes + at + run_bytes, size - at - run_bytes);
        return size - run_bytes;
    case 5:
        for (int i = 0; i < 8; i++) {
            fresh[i] = (uint8_t)fc_rng_u32(rng);
        }
        return insert(rng, bytes, size, fresh, below(rng, 8) + 1);
    case 6:
        return graft(rng, bytes, size);
    case 7:
        return renumber(rng, bytes, size);
    default: /* cut short */
        return at;
    }
}

static void run_mutation(int64_t number, uint8_t *bytes)
{
    fc_rng rng = fc_rng_stream(SEED, FC_RNG_TEST, (uint64_t)number, 0);
    const input *from = &state.inputs[below(&rng, (size_t)state.count)];
    size_t size = from->count < MOST_BYTES ? from->count : MOST_BYTES;
    memcpy(bytes, from->bytes, size);
    for (size_t n = below(&rng, MOST_CHANGES) + 1; n > 0; n--) {
        size = change(&rng, bytes, size);
    }
    run(bytes, size);
}

int main(int argc, char **argv)
{
    int64_t runs = 0, done = 0;
    double seconds = 1e9, start = fc_clock_seconds();
    FUZZ_CHECK(LLVMFuzzerInitialize(&argc, &argv) == 0);
    watch(argv[0]);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0) {
            runs = strtoll(argv[i] + 6, NULL, 10);
        } else if (strncmp(argv[i], "-seconds=", 9) == 0) {
            seconds = strtod(argv[i] + 9, NULL);
        } else {
            add_path(argv[i]);
        }
    }
    run((const uint8_t *)"", 0);
    for (int i = 0; i < state.count; i++) {
        run(state.inputs[i].bytes, state.inputs[i].count);
    }
    uint8_t *bytes = fc_alloc(MOST_BYTES, 1);
    for (; state.count > 0 && done < runs && fc_clock_seconds() - start < seconds; done++) {
        run_mutation(done, bytes);
    }
    fprintf(stderr, "%d inputs and %lld mutations in %.1f s\n", state.count, (long long)done,
            fc_clock_seconds() - start);
    for (int i = 0; i < state.count; i++) {
        fc_free(&state.inputs[i].bytes);
    }
    fc_free(&state.inputs);
    fc_free(&bytes);
    return state.count > 0 ? 0 : 1; /* without inputs nothing was tested */
}
