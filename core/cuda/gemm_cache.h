/* What was measured once and holds for a device: records of a key and a value, both plain bytes,
 * kept in a file that ranks, jobs and hosts share. */
#ifndef FC_CORE_CUDA_GEMM_CACHE_H
#define FC_CORE_CUDA_GEMM_CACHE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fci_gemm_cache fci_gemm_cache;

/** The records of a file; path NULL: none, and nothing is written. A file that is missing is empty.
 * One that is damaged, of another format, or of other sizes or another `identity` (whatever the
 * values depend on, up to 127 bytes) is not used: a warning says so, and the next record that is
 * put replaces it. */
fci_gemm_cache *fci_gemm_cache_open(const char *path, const char *identity, size_t key_bytes,
                                    size_t value_bytes);
void fci_gemm_cache_close(fci_gemm_cache **cache);
/** The value of a key, until the next put; NULL: none. Padding takes part in the comparison. */
const void *fci_gemm_cache_find(const fci_gemm_cache *cache, const void *key);
/** Add a record, and write the file with what others have put there meanwhile: in one step, so that
 * readers never see half of it. Where two write at once, one's last record may be lost, to be
 * measured again. A file that cannot be written gets one warning. */
void fci_gemm_cache_put(fci_gemm_cache *cache, const void *key, const void *value);

#endif
