/* The byte-pair vocabulary, packed with gzip or not. */
#include "data/text/vocabulary.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fci_vocabulary v;
    if (fuzz_ok(fci_vocabulary_read(&v, fuzz_file(0, data, size)))) {
        fci_vocabulary_free(&v);
    }
    return 0;
}
