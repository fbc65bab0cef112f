#include "data/prepare/pack.h"

#include "core/memory.h"

#include <limits.h>
#include <string.h>

void fci_bytes_reserve(fci_bytes *b, size_t more)
{
    if (b->room - b->count < more) {
        b->room = b->count + more + b->room / 2;
        b->data = fc_realloc(b->data, b->room, 1);
    }
}

void fci_bytes_add(fci_bytes *b, const void *data, size_t bytes)
{
    fci_bytes_reserve(b, bytes);
    if (bytes > 0) {
        memcpy(b->data + b->count, data, bytes);
    }
    b->count += bytes;
}

enum { ALIGN = 8 };

static size_t padding(size_t bytes)
{
    return (ALIGN - bytes % ALIGN) % ALIGN;
}

void fci_pack(fci_bytes *b, const void *data, size_t bytes)
{
    static const uint8_t zeros[ALIGN];
    fci_bytes_add(b, data, bytes);
    fci_bytes_add(b, zeros, padding(bytes));
}

void fci_pack_i64(fci_bytes *b, int64_t value)
{
    fci_pack(b, &value, sizeof value);
}

void fci_pack_real(fci_bytes *b, double value)
{
    fci_pack(b, &value, sizeof value);
}

void fci_pack_text(fci_bytes *b, const char *text)
{
    size_t bytes = text == NULL ? 0 : strlen(text) + 1;
    fci_pack_i64(b, (int64_t)bytes);
    fci_pack(b, text, bytes);
}

const void *fci_unpack_raw(fci_unpack *u, size_t bytes)
{
    if (u->bad || bytes > u->left || padding(bytes) > u->left - bytes) {
        u->bad = true;
        return NULL;
    }
    const uint8_t *p = u->at;
    u->at += bytes + padding(bytes);
    u->left -= bytes + padding(bytes);
    return p;
}

int64_t fci_unpack_i64(fci_unpack *u)
{
    int64_t value = 0;
    const void *p = fci_unpack_raw(u, sizeof value);
    if (p != NULL) {
        memcpy(&value, p, sizeof value);
    }
    return value;
}

double fci_unpack_real(fci_unpack *u)
{
    double value = 0;
    const void *p = fci_unpack_raw(u, sizeof value);
    if (p != NULL) {
        memcpy(&value, p, sizeof value);
    }
    return value;
}

const char *fci_unpack_text(fci_unpack *u)
{
    int64_t bytes = fci_unpack_i64(u);
    if (bytes == 0) {
        return NULL;
    }
    const char *text = bytes < 0 ? NULL : fci_unpack_raw(u, (size_t)bytes);
    if (text == NULL || text[bytes - 1] != '\0') {
        u->bad = true;
        return NULL;
    }
    return text;
}

int fci_unpack_count(fci_unpack *u, size_t item)
{
    int64_t count = fci_unpack_i64(u);
    if (count < 0 || count > INT_MAX || (size_t)count > u->left / (item > 0 ? item : 1)) {
        u->bad = true;
        return 0;
    }
    return (int)count;
}
