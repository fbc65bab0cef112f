#include "core/cuda/gemm_cache.h"

#include "core/hash.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/replace.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_RECORDS = 1 << 16 };
static const char MAGIC[8] = "fcgemm1";

/* The file: this, the records, and a checksum of all before it. */
typedef struct header {
    char magic[8];
    uint64_t key_bytes, value_bytes, count;
    char identity[128];
} header;

struct fci_gemm_cache {
    char *path;
    char identity[128];
    size_t key_bytes, record_bytes;
    char *records;
    size_t count;
    bool read_only; /* writing failed */
};

const void *fci_gemm_cache_find(const fci_gemm_cache *c, const void *key)
{
    for (size_t i = 0; i < c->count; i++) {
        const char *record = c->records + i * c->record_bytes;
        if (memcmp(record, key, c->key_bytes) == 0) {
            return record + c->key_bytes;
        }
    }
    return NULL;
}

/* What is there already stays. */
static void add(fci_gemm_cache *c, const char *key, const char *value)
{
    if (fci_gemm_cache_find(c, key) == NULL && c->count < MOST_RECORDS) {
        c->records = fc_realloc(c->records, c->count + 1, c->record_bytes);
        char *to = c->records + c->count++ * c->record_bytes;
        memcpy(to, key, c->key_bytes);
        memcpy(to + c->key_bytes, value, c->record_bytes - c->key_bytes);
    }
}

/* ---- The file ---- */

static size_t file_bytes(const fci_gemm_cache *c, size_t count)
{
    return sizeof(header) + count * c->record_bytes + sizeof(uint64_t);
}

/* Why a file of these bytes is not used; NULL: it is. */
static const char *complaint(const fci_gemm_cache *c, const char *bytes, size_t size, header *h)
{
    uint64_t sum;
    if (size < file_bytes(c, 0)) {
        return "it is too short";
    }
    memcpy(h, bytes, sizeof *h);
    if (memcmp(h->magic, MAGIC, sizeof MAGIC) != 0) {
        return "it is of another format";
    }
    if (h->count > MOST_RECORDS || h->key_bytes != c->key_bytes ||
        h->value_bytes != c->record_bytes - c->key_bytes) {
        return "its records are of another size";
    }
    if (size != file_bytes(c, (size_t)h->count)) {
        return "it is cut off, or too long";
    }
    memcpy(&sum, bytes + size - sizeof sum, sizeof sum);
    if (sum != fc_hash_bytes(bytes, size - sizeof sum)) {
        return "its checksum is wrong";
    }
    return memcmp(h->identity, c->identity, sizeof h->identity) != 0 ? "it is another device's"
                                                                     : NULL;
}

/* Adds the file's records to those in memory. */
static void read_file(fci_gemm_cache *c, bool warn)
{
    FILE *file = fopen(c->path, "rbe");
    if (file == NULL) {
        if (errno != ENOENT && errno != ENOTDIR && warn) {
            fc_log_warn("cannot read %s: %s", c->path, strerror(errno));
        }
        return;
    }
    const size_t most = file_bytes(c, MOST_RECORDS) + 1;
    char *bytes = NULL;
    size_t size = 0, n;
    do {
        bytes = fc_realloc(bytes, size + BUFSIZ, 1);
        n = fread(bytes + size, 1, BUFSIZ, file);
        size += n;
    } while (n > 0 && size < most);
    (void)fclose(file);
    header h;
    const char *why = complaint(c, bytes, size, &h);
    if (why == NULL) {
        for (size_t i = 0; i < h.count; i++) {
            const char *record = bytes + sizeof h + i * c->record_bytes;
            add(c, record, record + c->key_bytes);
        }
    } else if (warn) {
        fc_log_warn("%s is not used and will be written anew: %s", c->path, why);
    }
    fc_free(&bytes);
}

static fc_status write_as(const fci_gemm_cache *c, const char *path)
{
    const size_t size = file_bytes(c, c->count);
    header h = {.key_bytes = c->key_bytes,
                .value_bytes = c->record_bytes - c->key_bytes,
                .count = c->count};
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    memcpy(h.identity, c->identity, sizeof h.identity);
    char *bytes = fc_alloc(size, 1);
    memcpy(bytes, &h, sizeof h);
    memcpy(bytes + sizeof h, c->records, c->count * c->record_bytes);
    const uint64_t sum = fc_hash_bytes(bytes, size - sizeof sum);
    memcpy(bytes + size - sizeof sum, &sum, sizeof sum);
    fc_replace *file;
    fc_status status = fc_replace_begin(&file, path);
    if (status == FC_OK) {
        status = fc_replace_write(file, bytes, size);
        if (status == FC_OK) {
            status = fc_replace_commit(&file, false);
        } else {
            fc_replace_abandon(&file);
        }
    }
    fc_free(&bytes);
    return status;
}

/* First under a name of this process's own: ranks write at the same time. */
static fc_status write_file(const fci_gemm_cache *c)
{
    char host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    char *own = fc_format("%s.%s.%ld", c->path, host, (long)getpid());
    fc_status status = write_as(c, own);
    if (status == FC_OK && rename(own, c->path) != 0) {
        status = FC_FAIL(FC_RUNTIME, "cannot rename %s to %s: %s", own, c->path, strerror(errno));
        (void)unlink(own);
    }
    fc_free(&own);
    return status;
}

fci_gemm_cache *fci_gemm_cache_open(const char *path, const char *identity, size_t key_bytes,
                                    size_t value_bytes)
{
    fci_gemm_cache *c = fc_alloc(1, sizeof *c);
    *c = (fci_gemm_cache){.path = path != NULL ? fc_strdup(path) : NULL,
                          .key_bytes = key_bytes,
                          .record_bytes = key_bytes + value_bytes};
    snprintf(c->identity, sizeof c->identity, "%s", identity);
    if (path != NULL) {
        read_file(c, true);
    }
    return c;
}

void fci_gemm_cache_close(fci_gemm_cache **c)
{
    if (*c != NULL) {
        fc_free(&(*c)->path);
        fc_free(&(*c)->records);
        fc_free(c);
    }
}

void fci_gemm_cache_put(fci_gemm_cache *c, const void *key, const void *value)
{
    add(c, key, value);
    if (c->path == NULL || c->read_only) {
        return;
    }
    read_file(c, false);
    if (write_file(c) != FC_OK) {
        c->read_only = true;
        fc_log_warn("timed products are not kept: %s", fc_error_message());
        fc_error_clear();
    }
}
