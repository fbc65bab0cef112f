#include "data/store/store_column.h"

#include "core/memory.h"

#include <string.h>

/* Bytes of a chunk, and of the buffer that fills it: large for bytes (pictures), so that a store of
 * 150 GB has an index of some ten thousand chunks; small for the rest, which is read whole. */
enum { BYTES_CHUNK = 4 << 20, OTHER_CHUNK = 256 << 10, STRING_ROWS = 4096 };

static hid_t memory_type(fci_column_kind kind)
{
    switch (kind) {
    case FCI_COLUMN_U8:
        return H5T_NATIVE_UINT8;
    case FCI_COLUMN_U16:
        return H5T_NATIVE_UINT16;
    case FCI_COLUMN_I64:
        return H5T_NATIVE_INT64;
    case FCI_COLUMN_U64:
        return H5T_NATIVE_UINT64;
    case FCI_COLUMN_F32:
        return H5T_NATIVE_FLOAT;
    default:
        return H5T_NATIVE_INT32;
    }
}

static hid_t stored_type(fci_column_kind kind)
{
    switch (kind) {
    case FCI_COLUMN_U8:
        return H5T_STD_U8LE;
    case FCI_COLUMN_U16:
        return H5T_STD_U16LE;
    case FCI_COLUMN_I64:
        return H5T_STD_I64LE;
    case FCI_COLUMN_U64:
        return H5T_STD_U64LE;
    case FCI_COLUMN_F32:
        return H5T_IEEE_F32LE;
    default:
        return H5T_STD_I32LE;
    }
}

void fci_column_init(fci_column *c, hid_t file, const char *file_name, const char *path,
                     fci_column_kind kind, int cols)
{
    static const size_t size[] = {[FCI_COLUMN_U8] = 1,
                                  [FCI_COLUMN_U16] = 2,
                                  [FCI_COLUMN_I32] = 4,
                                  [FCI_COLUMN_I64] = 8,
                                  [FCI_COLUMN_U64] = 8,
                                  [FCI_COLUMN_F32] = 4,
                                  [FCI_COLUMN_STRING] = sizeof(char *)};
    *c = (fci_column){.file = file,
                      .file_name = file_name,
                      .path = path,
                      .kind = kind,
                      .cols = cols,
                      .size = size[kind] * (size_t)cols,
                      .dataset = -1};
    c->chunk = kind == FCI_COLUMN_STRING ? STRING_ROWS
               : c->size == 1            ? BYTES_CHUNK
                                         : (int64_t)(OTHER_CHUNK / c->size);
}

/* Make the dataset with no rows; chunks of `rows` rows. Called at the first write, when it is known
 * whether everything fits into one chunk: small stores stay small. */
static fc_status make(fci_column *c, int64_t rows)
{
    hsize_t dims[2] = {0, (hsize_t)c->cols}, most[2] = {H5S_UNLIMITED, (hsize_t)c->cols};
    hsize_t chunk[2] = {(hsize_t)(rows > 0 ? rows : 1), (hsize_t)c->cols};
    int rank = c->cols > 1 ? 2 : 1;
    bool strings = c->kind == FCI_COLUMN_STRING;
    hid_t space = H5Screate_simple(rank, dims, most);
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(create, rank, chunk);
    H5Pset_obj_track_times(create, false); /* equal contents make equal files */
    if (!strings) {
        H5Pset_fill_time(create, H5D_FILL_TIME_NEVER); /* every row is written */
    }
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    H5Pset_chunk_cache(access, 0, 0, 1.0); /* whole chunks are written: nothing to cache */
    hid_t type = strings ? fci_h5_string_type() : stored_type(c->kind);
    c->dataset = H5Dcreate2(c->file, c->path, type, space, H5P_DEFAULT, create, access);
    fc_status status = FC_OK;
    if (c->dataset < 0) {
        status = FC_H5_FAIL(FC_RUNTIME, "%s:%s cannot be created", c->file_name, c->path);
    }
    if (strings) {
        H5Tclose(type);
    }
    H5Pclose(access);
    H5Pclose(create);
    H5Sclose(space);
    return status;
}

static void drop_strings(fci_column *c)
{
    for (int64_t i = 0; c->kind == FCI_COLUMN_STRING && i < c->buffered; i++) {
        fc_free(&((char **)(void *)c->buffer)[i]);
    }
}

/* Write what is buffered. */
static fc_status flush(fci_column *c)
{
    if (c->dataset < 0) {
        FC_TRY(make(c, c->buffered));
    }
    if (c->buffered == 0) {
        return FC_OK;
    }
    int rank = c->cols > 1 ? 2 : 1;
    hsize_t cols = (hsize_t)c->cols;
    hsize_t extent[2] = {(hsize_t)(c->written + c->buffered), cols};
    FC_H5(H5Dset_extent(c->dataset, extent), FC_RUNTIME, "%s:%s cannot grow", c->file_name,
          c->path);
    hsize_t start[2] = {(hsize_t)c->written, 0}, count[2] = {(hsize_t)c->buffered, cols};
    hid_t space = H5Dget_space(c->dataset);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
    hid_t memory = H5Screate_simple(rank, count, NULL);
    bool strings = c->kind == FCI_COLUMN_STRING;
    hid_t type = strings ? fci_h5_string_type() : memory_type(c->kind);
    fc_status status = FC_OK;
    if (H5Dwrite(c->dataset, type, memory, space, H5P_DEFAULT, c->buffer) < 0) {
        status = FC_H5_FAIL(FC_RUNTIME, "%s:%s cannot be written (is the disk full?)", c->file_name,
                            c->path);
    }
    if (strings) {
        H5Tclose(type);
    }
    H5Sclose(memory);
    H5Sclose(space);
    drop_strings(c);
    c->written += c->buffered;
    c->buffered = 0;
    return status;
}

fc_status fci_column_put(fci_column *c, const void *rows, int64_t count)
{
    FC_ASSERT(c->path != NULL);
    const uint8_t *from = rows;
    while (count > 0) {
        int64_t now = c->chunk - c->buffered < count ? c->chunk - c->buffered : count;
        if (c->buffered + now > c->room) { /* by doubling, so that small columns stay small */
            int64_t room = c->room * 2 < 64 ? 64 : c->room * 2;
            room = room < c->buffered + now ? c->buffered + now : room;
            c->room = room > c->chunk ? c->chunk : room;
            c->buffer = fc_realloc(c->buffer, (size_t)c->room, c->size);
        }
        memcpy(c->buffer + (size_t)c->buffered * c->size, from, (size_t)now * c->size);
        c->buffered += now;
        from += (size_t)now * c->size;
        count -= now;
        if (c->buffered == c->chunk) {
            FC_TRY(flush(c));
        }
    }
    return FC_OK;
}

fc_status fci_column_put_string(fci_column *c, const char *text)
{
    char *copy = fc_strdup(text == NULL ? "" : text);
    return fci_column_put(c, &copy, 1); /* the buffer owns it from here, failure or not */
}

fc_status fci_column_finish(fci_column *c)
{
    FC_TRY(flush(c));
    hid_t dataset = c->dataset;
    c->dataset = -1;
    FC_H5(H5Dclose(dataset), FC_RUNTIME, "%s:%s cannot be written (is the disk full?)",
          c->file_name, c->path);
    return FC_OK;
}

void fci_column_fini(fci_column *c)
{
    if (c->path == NULL) {
        return;
    }
    if (c->dataset >= 0) {
        H5Dclose(c->dataset);
        c->dataset = -1;
    }
    drop_strings(c);
    c->buffered = 0;
    fc_free(&c->buffer);
}
