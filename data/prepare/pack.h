/* Values one after another in bytes: the working files of `fineclip prepare`, which the machine
 * that wrote them (or one of its kind) reads again. Not a format for others. */
#ifndef FC_DATA_PACK_H
#define FC_DATA_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing buffer; heap, owned. */
typedef struct fci_bytes {
    uint8_t *data;
    size_t count, room;
} fci_bytes;

/** Make room for at least `more` bytes after count. */
void fci_bytes_reserve(fci_bytes *b, size_t more);

/** Append bytes as they are. */
void fci_bytes_add(fci_bytes *b, const void *data, size_t bytes);

/** Append a value: it begins at a multiple of 8 where everything before it is packed, so that it
 * may be used where it lies. */
void fci_pack(fci_bytes *b, const void *data, size_t bytes);
void fci_pack_i64(fci_bytes *b, int64_t value);
void fci_pack_real(fci_bytes *b, double value);
/** A string with its length; NULL comes back as NULL. */
void fci_pack_text(fci_bytes *b, const char *text);

/* What is left to read. Reading past the end yields zeros and NULL, and sets bad. */
typedef struct fci_unpack {
    const uint8_t *at;
    size_t left;
    bool bad;
} fci_unpack;

/** Borrowed: `bytes` bytes of the buffer, or NULL past its end. */
const void *fci_unpack_raw(fci_unpack *u, size_t bytes);
int64_t fci_unpack_i64(fci_unpack *u);
double fci_unpack_real(fci_unpack *u);
/** Borrowed and zero-terminated. */
const char *fci_unpack_text(fci_unpack *u);
/** A number of items of at least `item` bytes each; one that cannot be there is bad and 0. */
int fci_unpack_count(fci_unpack *u, size_t item);

#endif
