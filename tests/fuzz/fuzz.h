/* What the fuzz targets share.
 *
 * A target, fuzz_NAME.c, defines LLVMFuzzerTestOneInput: it hands the bytes to one reader of ours,
 * uses what comes back as the program would, and frees it. Refusing input is fine. Crashes, reads
 * outside buffers, leaks, more memory or time than the input is worth, and failures that only a bug
 * of ours can cause are findings. With FINECLIP_FUZZ=ON libFuzzer drives the targets; in every
 * other build driver.c replays the kept inputs and some mutations of them. */
#ifndef FC_TESTS_FUZZ_H
#define FC_TESTS_FUZZ_H

#include "core/status.h"
#include "launch/inspect/inspect.h"

#include <stdint.h>

enum { FUZZ_FILES = 4 };

/** The target: 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/** Quiet program, bugs that abort. libFuzzer calls it, so does driver.c. A target with things of
 * its own to prepare does so at its first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/** Where files go: memory where there is such a file system, since disks are waited for. */
const char *fuzz_temp(void);
/** Path of a file in memory that holds these bytes; slot in [0, FUZZ_FILES). The next call with the
 * slot replaces it. */
const char *fuzz_file(int slot, const uint8_t *data, size_t size);
/** Bytes of such a file after somebody wrote to its path; heap. */
uint8_t *fuzz_file_bytes(int slot, size_t *size);

/** Whether a call succeeded. Aborts on FC_BUG and FC_NOMEM: a hostile file may reach neither. */
bool fuzz_ok(fc_status status);
/** As `fineclip inspect PATH --check`; whether there was nothing to say against the file. */
bool fuzz_inspect(fc_status (*show)(const fci_inspect_options *), const char *path);
/** Abort with a message: an input led to a result that cannot be. */
void fuzz_finding(const char *what) __attribute__((noreturn));
#define FUZZ_CHECK(cond)                                                                           \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fuzz_finding(#cond);                                                                   \
        }                                                                                          \
    } while (0)

/* Input read front to back; past the end everything is 0. */
typedef struct fuzz_input {
    const uint8_t *at;
    size_t left;
} fuzz_input;

uint8_t fuzz_u8(fuzz_input *in);
uint16_t fuzz_u16(fuzz_input *in);
/** Eight bytes, or, by the first byte, one of the numbers that break things. */
int64_t fuzz_number(fuzz_input *in);
/** The part up to the next form feed (which no text format of ours means), zero-terminated; heap.
 */
char *fuzz_part(fuzz_input *in, size_t *bytes);

#endif
