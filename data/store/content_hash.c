#include "data/store/content_hash.h"

#include <string.h>

#include <openssl/sha.h>

void fc_content_hash(const void *bytes, size_t count, uint8_t out[FC_HASH_BYTES])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(bytes, count, digest);
    memcpy(out, digest, FC_HASH_BYTES);
}
