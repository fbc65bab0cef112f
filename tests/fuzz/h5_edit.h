/* Files that HDF5 itself finds in order and whose contents are wrong: a sound file, changed by a
 * script of edits that comes from the fuzzer. */
#ifndef FC_TESTS_FUZZ_H5_EDIT_H
#define FC_TESTS_FUZZ_H5_EDIT_H

#include "tests/fuzz/fuzz.h"

typedef struct fuzz_h5_base {
    uint8_t *bytes; /* the sound file */
    size_t size;
    const char *const *objects; /* paths of groups and datasets, NULL-terminated */
    const char *const *attributes;
} fuzz_h5_base;

/** Keep the bytes of a sound file. Objects and attributes are what edits are about. */
void fuzz_h5_keep(fuzz_h5_base *base, const char *path, const char *const *objects,
                  const char *const *attributes);
/** A copy of the sound file after the edits in `in`; path as of fuzz_file(0). */
const char *fuzz_h5_edited(const fuzz_h5_base *base, fuzz_input *in);

#endif
