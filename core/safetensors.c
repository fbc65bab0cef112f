/* Reading safetensors files: 8 bytes of header length (little endian), a JSON header, then the
 * bytes of the tensors. The header comes from strangers, so every number in it is checked before
 * it is used; the walk over the JSON is a small state machine without recursion. */
#include "core/safetensors.h"

#include "core/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yajl/yajl_parse.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors are little endian");

enum {
    LENGTH_BYTES = 8,
    MAX_HEADER = 100000000, /* the format's own limit */
    MAX_DIMS = 8,
};

static const struct {
    const char *name;
    int bytes;
} dtypes[] = {
    [FC_ST_F64] = {"F64", 8},   [FC_ST_F32] = {"F32", 4}, [FC_ST_F16] = {"F16", 2},
    [FC_ST_BF16] = {"BF16", 2}, [FC_ST_I64] = {"I64", 8}, [FC_ST_I32] = {"I32", 4},
    [FC_ST_U8] = {"U8", 1},
};
enum { DTYPES = (int)(sizeof dtypes / sizeof dtypes[0]) };

int fc_st_dtype_bytes(fc_st_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *fc_st_dtype_name(fc_st_dtype dtype)
{
    return dtypes[dtype].name;
}

typedef enum { IN_FILE, IN_TOP, IN_METADATA, IN_TENSOR, IN_SHAPE, IN_OFFSETS, AT_END } header_state;
typedef enum { KEY_NONE, KEY_DTYPE, KEY_SHAPE, KEY_OFFSETS } tensor_key;

/* What one tensor's header entry said, while it is being read. */
typedef struct header_entry {
    fc_st_tensor tensor;
    int64_t offsets[2];
    int offset_count;
    bool has_dtype, has_shape, has_offsets;
} header_entry;

typedef struct header_parse {
    fc_safetensors *st;
    int64_t data_bytes;
    header_state state;
    tensor_key key;
    bool metadata_next, had_metadata;
    header_entry *entries;
    int capacity, metadata_capacity;
    fc_status status; /* of the callback that stopped the walk */
} header_parse;

static const char *entry_name(const header_parse *p)
{
    return p->st->count > 0 ? p->entries[p->st->count - 1].tensor.name : "(none yet)";
}

/* Stops the walk: callbacks return 0. */
static int refuse(header_parse *p, const char *what)
{
    if (p->state == IN_METADATA) {
        p->status = FC_FAIL(FC_DATA, "%s: __metadata__: %s", p->st->path, what);
    } else if (p->state == IN_FILE || p->state == IN_TOP || p->state == AT_END) {
        p->status = FC_FAIL(FC_DATA, "%s: header: %s (after tensor '%s')", p->st->path, what,
                            entry_name(p));
    } else {
        p->status = FC_FAIL(FC_DATA, "%s: tensor '%s': %s", p->st->path, entry_name(p), what);
    }
    return 0;
}

static header_entry *current(header_parse *p)
{
    return &p->entries[p->st->count - 1];
}

static char *copy_text(const unsigned char *text, size_t bytes)
{
    char *copy = fc_alloc(bytes + 1, 1);
    memcpy(copy, text, bytes);
    return copy;
}

static void add_metadata(header_parse *p, const unsigned char *text, size_t bytes, bool key)
{
    fc_safetensors *st = p->st;
    size_t at = 2 * (size_t)st->metadata_count + (key ? 0 : 1);
    if (at + 1 >= (size_t)p->metadata_capacity) {
        p->metadata_capacity = 2 * p->metadata_capacity + 16;
        st->metadata = fc_realloc(st->metadata, (size_t)p->metadata_capacity, sizeof(char *));
    }
    st->metadata[at] = copy_text(text, bytes);
    st->metadata[at + 1] = NULL;
    st->metadata_count += key ? 0 : 1;
}

static int begin_entry(header_parse *p, const unsigned char *text, size_t bytes)
{
    if (p->st->count == p->capacity) {
        p->capacity = 2 * p->capacity + 64;
        p->entries = fc_realloc(p->entries, (size_t)p->capacity, sizeof *p->entries);
    }
    header_entry *e = &p->entries[p->st->count++];
    *e = (header_entry){.tensor = {.name = copy_text(text, bytes)}};
    return 1;
}

static int on_key(void *ctx, const unsigned char *text, size_t bytes)
{
    header_parse *p = ctx;
    if (memchr(text, '\0', bytes) != NULL) {
        return refuse(p, "a name holds a NUL character");
    }
    bool is_metadata = bytes == 12 && memcmp(text, "__metadata__", 12) == 0;
    if (p->state == IN_TOP) {
        p->metadata_next = is_metadata;
        return is_metadata ? 1 : begin_entry(p, text, bytes);
    }
    if (p->state == IN_METADATA) {
        add_metadata(p, text, bytes, true);
        return 1;
    }
    header_entry *e = current(p);
    bool again;
    if (bytes == 5 && memcmp(text, "dtype", 5) == 0) {
        p->key = KEY_DTYPE;
        again = e->has_dtype;
    } else if (bytes == 5 && memcmp(text, "shape", 5) == 0) {
        p->key = KEY_SHAPE;
        again = e->has_shape;
    } else if (bytes == 12 && memcmp(text, "data_offsets", 12) == 0) {
        p->key = KEY_OFFSETS;
        again = e->has_offsets;
    } else {
        return refuse(p, "unknown key beside dtype, shape and data_offsets");
    }
    return again ? refuse(p, "dtype, shape or data_offsets stands there twice") : 1;
}

static int on_string(void *ctx, const unsigned char *text, size_t bytes)
{
    header_parse *p = ctx;
    if (p->state == IN_METADATA) {
        if (memchr(text, '\0', bytes) != NULL) {
            return refuse(p, "a value holds a NUL character");
        }
        add_metadata(p, text, bytes, false);
        return 1;
    }
    if (p->state != IN_TENSOR || p->key != KEY_DTYPE) {
        return refuse(p, "a string where none belongs");
    }
    for (int i = 0; i < DTYPES; i++) {
        if (strlen(dtypes[i].name) == bytes && memcmp(dtypes[i].name, text, bytes) == 0) {
            current(p)->tensor.dtype = (fc_st_dtype)i;
            current(p)->has_dtype = true;
            p->key = KEY_NONE;
            return 1;
        }
    }
    return refuse(p, "dtype is none of F64 F32 F16 BF16 I64 I32 U8");
}

static int on_integer(void *ctx, long long value)
{
    header_parse *p = ctx;
    if (p->state != IN_SHAPE && p->state != IN_OFFSETS) {
        return refuse(p, "a number where none belongs");
    }
    if (value < 0) {
        return refuse(p, "a negative size or offset");
    }
    header_entry *e = current(p);
    if (p->state == IN_SHAPE) {
        if (e->tensor.ndim == MAX_DIMS) {
            return refuse(p, "more than 8 axes");
        }
        e->tensor.shape[e->tensor.ndim++] = value;
    } else {
        if (e->offset_count == 2) {
            return refuse(p, "more than 2 data_offsets");
        }
        e->offsets[e->offset_count++] = value;
    }
    return 1;
}

static int on_map_start(void *ctx)
{
    header_parse *p = ctx;
    if (p->state == IN_FILE) {
        p->state = IN_TOP;
        return 1;
    }
    if (p->state != IN_TOP) {
        return refuse(p, "a mapping where none belongs");
    }
    if (p->metadata_next) {
        if (p->had_metadata) {
            return refuse(p, "__metadata__ stands there twice");
        }
        p->had_metadata = true;
        p->state = IN_METADATA;
    } else {
        p->state = IN_TENSOR;
    }
    p->key = KEY_NONE;
    return 1;
}

/* The entry is complete: sizes and offsets must agree with each other and with the file. */
static int end_entry(header_parse *p)
{
    header_entry *e = current(p);
    fc_st_tensor *t = &e->tensor;
    if (!e->has_dtype || !e->has_shape || !e->has_offsets) {
        return refuse(p, "dtype, shape or data_offsets is missing");
    }
    int64_t count = 1, bytes = 0;
    for (int i = 0; i < t->ndim; i++) {
        if (__builtin_mul_overflow(count, t->shape[i], &count)) {
            return refuse(p, "shape is too large");
        }
    }
    t->count = count;
    if (__builtin_mul_overflow(count, (int64_t)fc_st_dtype_bytes(t->dtype), &bytes)) {
        return refuse(p, "shape is too large");
    }
    if (e->offsets[0] > e->offsets[1] || e->offsets[1] > p->data_bytes) {
        return refuse(p, "data_offsets are reversed or beyond the end of the file (cut short?)");
    }
    if (e->offsets[1] - e->offsets[0] != bytes) {
        return refuse(p, "data_offsets do not fit dtype and shape");
    }
    p->state = IN_TOP;
    return 1;
}

static int on_map_end(void *ctx)
{
    header_parse *p = ctx;
    if (p->state == IN_TENSOR) {
        return end_entry(p);
    }
    p->state = p->state == IN_METADATA ? IN_TOP : AT_END;
    return 1;
}

static int on_array_start(void *ctx)
{
    header_parse *p = ctx;
    if (p->state != IN_TENSOR || (p->key != KEY_SHAPE && p->key != KEY_OFFSETS)) {
        return refuse(p, "a list where none belongs");
    }
    p->state = p->key == KEY_SHAPE ? IN_SHAPE : IN_OFFSETS;
    return 1;
}

static int on_array_end(void *ctx)
{
    header_parse *p = ctx;
    header_entry *e = current(p);
    if (p->state == IN_SHAPE) {
        e->has_shape = true;
    } else {
        if (e->offset_count != 2) {
            return refuse(p, "data_offsets are not two numbers");
        }
        e->has_offsets = true;
    }
    p->state = IN_TENSOR;
    p->key = KEY_NONE;
    return 1;
}

static int on_null(void *ctx)
{
    return refuse(ctx, "null where none belongs");
}

static int on_boolean(void *ctx, int value)
{
    (void)value;
    return refuse(ctx, "true or false where none belongs");
}

static int on_double(void *ctx, double value)
{
    (void)value;
    return refuse(ctx, "a number with a fraction where none belongs");
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_integer = on_integer,
    .yajl_double = on_double,
    .yajl_string = on_string,
    .yajl_start_map = on_map_start,
    .yajl_map_key = on_key,
    .yajl_end_map = on_map_end,
    .yajl_start_array = on_array_start,
    .yajl_end_array = on_array_end,
};

static fc_status json_error(header_parse *p, yajl_handle json)
{
    unsigned char *text = yajl_get_error(json, 0, NULL, 0);
    char *line = copy_text(text, strcspn((const char *)text, "\n"));
    fc_status status =
        FC_FAIL(FC_DATA, "%s: header is not JSON at byte %zu, near tensor '%s': %s", p->st->path,
                LENGTH_BYTES + yajl_get_bytes_consumed(json), entry_name(p), line);
    yajl_free_error(json, text);
    fc_free(&line);
    return status;
}

static fc_status walk_header(header_parse *p, const unsigned char *text, size_t bytes)
{
    yajl_handle json = yajl_alloc(&callbacks, NULL, p);
    if (json == NULL) {
        return FC_FAIL(FC_NOMEM, "%s: no memory for the JSON parser", p->st->path);
    }
    yajl_status walked = yajl_parse(json, text, bytes);
    if (walked == yajl_status_ok) {
        walked = yajl_complete_parse(json);
    }
    fc_status status = walked == yajl_status_ok                ? FC_OK
                       : walked == yajl_status_client_canceled ? p->status
                                                               : json_error(p, json);
    yajl_free(json);
    if (status == FC_OK && p->state != AT_END) {
        status = FC_FAIL(FC_DATA, "%s: header is not a JSON mapping", p->st->path);
    }
    return status;
}

static int by_offset(const void *a, const void *b)
{
    const header_entry *x = a, *y = b;
    if (x->offsets[0] != y->offsets[0]) {
        return x->offsets[0] < y->offsets[0] ? -1 : 1;
    }
    if (x->offsets[1] != y->offsets[1]) {
        return x->offsets[1] < y->offsets[1] ? -1 : 1;
    }
    return strcmp(x->tensor.name, y->tensor.name);
}

static int by_name(const void *a, const void *b)
{
    const fc_st_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int by_key(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Hand the entries over as tensors in the order of their bytes, which must follow one another
 * without gaps up to the end. */
static fc_status place_tensors(header_parse *p)
{
    fc_safetensors *st = p->st;
    size_t count = (size_t)st->count;
    const char *base = (const char *)st->map + (st->map_bytes - (size_t)p->data_bytes);
    if (count > 0) {
        qsort(p->entries, count, sizeof *p->entries, by_offset);
    }
    int64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const header_entry *e = &p->entries[i];
        if (e->offsets[0] != at) {
            return FC_FAIL(FC_DATA, "%s: tensor '%s' %s the one before it (byte %lld, want %lld)",
                           st->path, e->tensor.name,
                           e->offsets[0] > at ? "leaves a gap after" : "overlaps",
                           (long long)e->offsets[0], (long long)at);
        }
        at = e->offsets[1];
    }
    if (at != p->data_bytes) {
        return FC_FAIL(FC_DATA, "%s: %lld bytes after the last tensor '%s'", st->path,
                       (long long)(p->data_bytes - at),
                       count > 0 ? p->entries[count - 1].tensor.name : "(none)");
    }
    st->tensors = fc_alloc(count, sizeof *st->tensors);
    const fc_st_tensor **sorted = fc_alloc(count, sizeof *sorted);
    st->names = sorted;
    for (size_t i = 0; i < count; i++) {
        st->tensors[i] = p->entries[i].tensor;
        st->tensors[i].data = base + p->entries[i].offsets[0];
        sorted[i] = &st->tensors[i];
    }
    fc_free(&p->entries); /* the names belong to st->tensors now */
    if (count > 0) {
        qsort(sorted, count, sizeof *sorted, by_name);
    }
    for (size_t i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            return FC_FAIL(FC_DATA, "%s: tensor '%s' stands there twice", st->path,
                           sorted[i]->name);
        }
    }
    return FC_OK;
}

static fc_status check_metadata(const fc_safetensors *st)
{
    size_t count = (size_t)st->metadata_count;
    const char **keys = fc_alloc(count, sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        keys[i] = st->metadata[2 * i];
    }
    if (count > 0) {
        qsort(keys, count, sizeof *keys, by_key);
    }
    fc_status status = FC_OK;
    for (size_t i = 1; i < count && status == FC_OK; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0) {
            status = FC_FAIL(FC_DATA, "%s: __metadata__: key '%s' stands there twice", st->path,
                             keys[i]);
        }
    }
    fc_free(&keys);
    return status;
}

static fc_status read_header(fc_safetensors *st)
{
    uint64_t header;
    if (st->map_bytes < LENGTH_BYTES + 2) {
        return FC_FAIL(FC_DATA, "%s: not a safetensors file (%zu bytes)", st->path, st->map_bytes);
    }
    memcpy(&header, st->map, LENGTH_BYTES);
    const unsigned char *text = (const unsigned char *)st->map + LENGTH_BYTES;
    if (header > MAX_HEADER || header > st->map_bytes - LENGTH_BYTES || text[0] != '{') {
        return FC_FAIL(FC_DATA,
                       "%s: not a safetensors file, or cut short in its header (header of %llu "
                       "bytes in a file of %zu)",
                       st->path, (unsigned long long)header, st->map_bytes);
    }
    header_parse p = {.st = st,
                      .data_bytes = (int64_t)(st->map_bytes - LENGTH_BYTES - (size_t)header)};
    fc_status status = walk_header(&p, text, (size_t)header);
    if (status == FC_OK) {
        status = place_tensors(&p);
    }
    /* After a failure the entries still own the names, and there are no tensors to free. */
    for (int i = 0; p.entries != NULL && i < st->count; i++) {
        fc_free(&p.entries[i].tensor.name);
    }
    fc_free(&p.entries);
    FC_TRY(status);
    return check_metadata(st);
}

static fc_status map_file(fc_safetensors *st)
{
    int fd = open(st->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return FC_FAIL(FC_NOINPUT, "cannot open %s: %s", st->path, strerror(errno));
    }
    struct stat info;
    fc_status status = FC_OK;
    if (fstat(fd, &info) != 0) {
        status = FC_FAIL(FC_RUNTIME, "cannot stat %s: %s", st->path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = FC_FAIL(FC_DATA, "%s is not a file", st->path);
    } else if (info.st_size == 0) {
        status = FC_FAIL(FC_DATA, "%s: not a safetensors file: it is empty", st->path);
    } else {
        st->map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (st->map == MAP_FAILED) {
            st->map = NULL;
            status = FC_FAIL(FC_RUNTIME, "cannot map %s: %s", st->path, strerror(errno));
        }
        st->map_bytes = (size_t)info.st_size;
    }
    close(fd);
    return status;
}

fc_status fc_safetensors_open(fc_safetensors **out, const char *path)
{
    fc_safetensors *st = fc_alloc(1, sizeof *st);
    *out = NULL;
    st->path = fc_strdup(path);
    fc_status status;
    FC_TRY_GOTO(status, map_file(st), failed);
    FC_TRY_GOTO(status, read_header(st), failed);
    *out = st;
    return FC_OK;
failed:
    fc_safetensors_close(&st);
    return status;
}

void fc_safetensors_close(fc_safetensors **st)
{
    fc_safetensors *s = *st;
    if (s == NULL) {
        return;
    }
    for (int i = 0; s->tensors != NULL && i < s->count; i++) {
        fc_free(&s->tensors[i].name);
    }
    /* NULL ends the list; a key whose value did not follow stands before it. */
    for (int i = 0; s->metadata != NULL && s->metadata[i] != NULL; i++) {
        fc_free(&s->metadata[i]);
    }
    fc_free(&s->tensors);
    fc_free(&s->names);
    fc_free(&s->metadata);
    fc_free(&s->path);
    if (s->map != NULL) {
        munmap(s->map, s->map_bytes);
    }
    fc_free(st);
}

const fc_st_tensor *fc_safetensors_find(const fc_safetensors *st, const char *name)
{
    const fc_st_tensor wanted = {.name = name}, *key = &wanted;
    if (st->count == 0) {
        return NULL;
    }
    const fc_st_tensor *const *found =
        bsearch(&key, st->names, (size_t)st->count, sizeof(fc_st_tensor *), by_name);
    return found == NULL ? NULL : *found;
}

const char *fc_safetensors_metadata(const fc_safetensors *st, const char *key)
{
    for (int i = 0; i < st->metadata_count; i++) {
        if (strcmp(st->metadata[2 * i], key) == 0) {
            return st->metadata[2 * i + 1];
        }
    }
    return NULL;
}
