/* What tells two pictures apart or the same: a hash of their file's bytes. */
#ifndef FC_DATA_CONTENT_HASH_H
#define FC_DATA_CONTENT_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { FC_HASH_BYTES = 16 };

/** The first 16 bytes of the SHA-256 of `count` bytes: equal files have equal hashes, and among
 * 2.5 million different ones the chance of any two alike is below 1e-25. */
void fc_content_hash(const void *bytes, size_t count, uint8_t out[FC_HASH_BYTES]);

#endif
