#include "data/prepare/tar.h"

#include "core/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512, NAME = 100, MOST_LONG_NAME = 1 << 16 };

/* A ustar head. */
typedef struct head {
    char name[NAME], mode[8], uid[8], gid[8], size[12], time[12], sum[8], kind, link[NAME];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], unused[12];
} head;

/* Octal digits, or GNU's binary numbers; -1: neither. */
static int64_t number(const char *field, size_t bytes)
{
    const uint8_t *p = (const uint8_t *)field;
    int64_t value = 0;
    if ((p[0] & 0x80) != 0) {
        for (size_t i = bytes - 8; i < bytes; i++) {
            value = (int64_t)((uint64_t)value << 8 | p[i]);
        }
        return value;
    }
    size_t i = 0;
    while (i < bytes && p[i] == ' ') {
        i++;
    }
    for (; i < bytes && p[i] >= '0' && p[i] <= '7'; i++) {
        value = value * 8 + (p[i] - '0');
    }
    return i < bytes && p[i] != '\0' && p[i] != ' ' ? -1 : value;
}

static unsigned check_sum(const head *h)
{
    const uint8_t *p = (const uint8_t *)h;
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof *h; i++) {
        bool own = i >= offsetof(head, sum) && i < offsetof(head, sum) + sizeof h->sum;
        sum += own ? ' ' : p[i];
    }
    return sum;
}

static bool is_zero(const head *h)
{
    const char *p = (const char *)h;
    return p[0] == '\0' && memcmp(p, p + 1, sizeof *h - 1) == 0;
}

/* Bytes at a place in the file; false where it ends before. */
static bool read_at(fci_tar *tar, int64_t at, void *to, size_t bytes)
{
    return fseeko(tar->file, (off_t)at, SEEK_SET) == 0 && fread(to, 1, bytes, tar->file) == bytes;
}

fc_status fci_tar_open(fci_tar *out, const char *path)
{
    *out = (fci_tar){.path = path, .file = fopen(path, "rb")};
    if (out->file == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: %s", path, strerror(errno));
    }
    setvbuf(out->file, NULL, _IOFBF, 4096); /* heads are far apart */
    head h;
    fseeko(out->file, 0, SEEK_END);
    out->size = ftello(out->file);
    bool whole = read_at(out, 0, &h, sizeof h);
    if (!whole || (!is_zero(&h) && number(h.sum, sizeof h.sum) != check_sum(&h))) {
        const uint8_t *p = (const uint8_t *)&h;
        bool packed = whole && ((p[0] == 0x1f && p[1] == 0x8b) || (p[0] == 0x28 && p[1] == 0xb5));
        fci_tar_close(out);
        return FC_FAIL(FC_DATA, "%s is not a tar archive%s", path,
                       packed ? ": it is compressed; uncompress it first (pictures hardly shrink)"
                              : "");
    }
    return FC_OK;
}

void fci_tar_close(fci_tar *tar)
{
    if (tar->file != NULL) {
        fclose(tar->file);
        tar->file = NULL;
    }
    fc_free(&tar->name);
}

static char *joined_name(const head *h)
{
    int name = (int)strnlen(h->name, sizeof h->name), prefix = 0;
    if (memcmp(h->magic, "ustar\0", 6) == 0) {
        prefix = (int)strnlen(h->prefix, sizeof h->prefix);
    }
    return fc_format("%.*s%s%.*s", prefix, h->prefix, prefix > 0 ? "/" : "", name, h->name);
}

/* "LENGTH path=NAME\n" and "LENGTH size=BYTES\n" of a pax head. */
static void read_pax(const char *text, size_t bytes, char **name, int64_t *size)
{
    for (size_t at = 0; at < bytes;) {
        char *rest;
        unsigned long length = strtoul(text + at, &rest, 10);
        size_t skip = (size_t)(rest - (text + at)) + 1;
        if (length <= skip || length > bytes - at || *rest != ' ') {
            return;
        }
        const char *word = text + at + skip;
        int left = (int)(length - skip - 1); /* without the line's end */
        if (left > 5 && strncmp(word, "path=", 5) == 0) {
            fc_free(name);
            *name = fc_format("%.*s", left - 5, word + 5);
        } else if (left > 5 && strncmp(word, "size=", 5) == 0) {
            *size = strtoll(word + 5, NULL, 10);
        }
        at += length;
    }
}

/* The contents of a head that describes the next one. */
static bool read_extension(fci_tar *tar, const head *h, char **name, int64_t *size)
{
    int64_t bytes = number(h->size, sizeof h->size);
    if (bytes < 0 || bytes > MOST_LONG_NAME) {
        return false;
    }
    char *text = fc_alloc((size_t)bytes + 1, 1);
    bool whole = read_at(tar, tar->next + BLOCK, text, (size_t)bytes);
    if (whole && h->kind == 'L') {
        fc_free(name);
        *name = fc_strdup(text);
    } else if (whole && h->kind == 'x') {
        read_pax(text, (size_t)bytes, name, size);
    }
    fc_free(&text);
    return whole;
}

fc_status fci_tar_next(fci_tar *tar, bool *found)
{
    char *long_name = NULL;
    int64_t long_size = -1;
    *found = false;
    while (!tar->cut && !*found) {
        head h;
        if (!read_at(tar, tar->next, &h, sizeof h)) {
            tar->cut = true; /* no empty block: the end is missing */
            break;
        }
        if (is_zero(&h)) {
            break;
        }
        int64_t bytes = number(h.size, sizeof h.size);
        if (number(h.sum, sizeof h.sum) != check_sum(&h) || bytes < 0 || bytes > tar->size ||
            long_size > tar->size) {
            tar->cut = true;
            break;
        }
        bool plain = h.kind == '0' || h.kind == '\0';
        if (!plain && (h.kind == 'L' || h.kind == 'x' || h.kind == 'g')) {
            tar->cut = !read_extension(tar, &h, &long_name, &long_size);
        } else if (plain) {
            bytes = long_size >= 0 ? long_size : bytes;
            fc_free(&tar->name);
            tar->name = long_name != NULL ? long_name : joined_name(&h);
            long_name = NULL;
            tar->offset = tar->next + BLOCK;
            tar->bytes = bytes;
            *found = true;
        }
        tar->next += BLOCK + (bytes + BLOCK - 1) / BLOCK * BLOCK;
    }
    fc_free(&long_name);
    return ferror(tar->file)
               ? FC_FAIL(FC_NOINPUT, "%s: cannot be read: %s", tar->path, strerror(errno))
               : FC_OK;
}

fc_status fci_tar_text(fci_tar *tar, int64_t most, char **out)
{
    *out = NULL;
    if (tar->bytes > most) {
        return FC_FAIL(FC_DATA, "%s: %s has %lld bytes, at most %lld are expected of text",
                       tar->path, tar->name, (long long)tar->bytes, (long long)most);
    }
    *out = fc_alloc((size_t)tar->bytes + 1, 1);
    if (!read_at(tar, tar->offset, *out, (size_t)tar->bytes)) {
        fc_free(out);
    }
    return FC_OK;
}

fc_status fci_tar_pack(fci_bytes *to, const char *name, const void *data, size_t bytes)
{
    static const uint8_t zeros[BLOCK];
    head h = {.mode = "0000644", .uid = "0000000", .gid = "0000000", .time = "00000000000"};
    if (strlen(name) > NAME) {
        return FC_FAIL(FC_DATA, "%s: more than %d bytes as the name of a tar member", name, NAME);
    }
    memcpy(h.name, name, strlen(name));
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    h.kind = '0';
    snprintf(h.size, sizeof h.size, "%011llo", (unsigned long long)bytes);
    snprintf(h.sum, sizeof h.sum, "%06o", check_sum(&h));
    h.sum[7] = ' ';
    fci_bytes_add(to, &h, sizeof h);
    fci_bytes_add(to, data, bytes);
    fci_bytes_add(to, zeros, (BLOCK - bytes % BLOCK) % BLOCK);
    return FC_OK;
}

void fci_tar_pack_end(fci_bytes *to)
{
    static const uint8_t zeros[2 * BLOCK];
    fci_bytes_add(to, zeros, sizeof zeros);
}
