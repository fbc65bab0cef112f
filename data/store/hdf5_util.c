#include "data/store/hdf5_util.h"

#include "core/fault.h"
#include "core/memory.h"
#include "data/store/hdf5_direct.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST_STRING = 1 << 24 }; /* bytes of one fixed-length string */

/* HDF5's state belongs to the process, so its lock does too. */
static pthread_mutex_t h5_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int h5_depth;

void fci_h5_lock(void)
{
    if (h5_depth++ > 0) {
        return;
    }
    FC_ASSERT(pthread_mutex_lock(&h5_mutex) == 0);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* a thread's own setting where HDF5 is thread-safe */
}

void fci_h5_unlock(void)
{
    FC_ASSERT(h5_depth > 0);
    if (--h5_depth == 0) {
        FC_ASSERT(pthread_mutex_unlock(&h5_mutex) == 0);
    }
}

static herr_t keep_innermost(unsigned n, const H5E_error2_t *entry, void *ctx)
{
    char *text = ctx;
    if (n == 0 && entry->desc != NULL) {
        snprintf(text, 512, "%s", entry->desc);
    }
    return 0;
}

fc_status fci_h5_fail(const char *file, int line, const char *func, fc_status code, const char *fmt,
                      ...)
{
    char inner[512] = "", text[1024];
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, inner);
    H5Eclear2(H5E_DEFAULT);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return fci_fail(file, line, func, code, "%s%s%s", text,
                    inner[0] == '\0' ? "" : ": HDF5: ", inner);
}

bool fci_h5_has_attribute(hid_t object, const char *name)
{
    return H5Aexists(object, name) > 0;
}

/* Open a scalar (or one-element) attribute. *out is negative where it is absent. */
static fc_status open_attribute(hid_t object, const char *where, const char *name, bool needed,
                                hid_t *out)
{
    *out = -1;
    htri_t there = H5Aexists(object, name);
    FC_H5(there, FC_DATA, "attribute %s of %s cannot be read", name, where);
    if (there == 0) {
        return needed ? FC_FAIL(FC_DATA, "attribute %s of %s is missing", name, where) : FC_OK;
    }
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    FC_H5(attribute, FC_DATA, "attribute %s of %s cannot be read", name, where);
    hid_t space = H5Aget_space(attribute);
    hssize_t count = H5Sget_simple_extent_npoints(space);
    H5Sclose(space);
    if (count != 1) {
        H5Aclose(attribute);
        return FC_FAIL(FC_DATA, "attribute %s of %s has %lld values, want 1", name, where,
                       (long long)count);
    }
    *out = attribute;
    return FC_OK;
}

/* Number of any class in `classes` into out of memory type `type`. */
static fc_status get_number(hid_t object, const char *where, const char *name, hid_t type,
                            bool real, void *out, bool *found)
{
    hid_t attribute;
    FC_TRY(open_attribute(object, where, name, found == NULL, &attribute));
    if (found != NULL) {
        *found = attribute >= 0;
    }
    if (attribute < 0) {
        return FC_OK;
    }
    fc_status status = FC_OK;
    hid_t stored = H5Aget_type(attribute);
    H5T_class_t class = H5Tget_class(stored);
    if (class != H5T_INTEGER && !(real && class == H5T_FLOAT)) {
        status = FC_FAIL(FC_DATA, "attribute %s of %s is not a %snumber", name, where,
                         real ? "" : "whole ");
    } else if (H5Aread(attribute, type, out) < 0) {
        status = FC_H5_FAIL(FC_DATA, "attribute %s of %s cannot be read", name, where);
    }
    H5Tclose(stored);
    H5Aclose(attribute);
    return status;
}

fc_status fci_h5_get_int(hid_t object, const char *where, const char *name, int64_t *out,
                         bool *found)
{
    return get_number(object, where, name, H5T_NATIVE_INT64, false, out, found);
}

fc_status fci_h5_get_real(hid_t object, const char *where, const char *name, double *out,
                          bool *found)
{
    return get_number(object, where, name, H5T_NATIVE_DOUBLE, true, out, found);
}

/* A string without the padding of fixed-length types: NUL or, where the type says so, blanks. */
static char *trimmed(const char *bytes, size_t count, bool blanks)
{
    size_t length = strnlen(bytes, count);
    while (blanks && length > 0 && bytes[length - 1] == ' ') {
        length--;
    }
    char *text = fc_alloc(length + 1, 1);
    memcpy(text, bytes, length);
    return text;
}

fc_status fci_h5_get_string(hid_t object, const char *where, const char *name, char **out,
                            bool *found)
{
    *out = NULL;
    hid_t attribute;
    FC_TRY(open_attribute(object, where, name, found == NULL, &attribute));
    if (found != NULL) {
        *found = attribute >= 0;
    }
    if (attribute < 0) {
        return FC_OK;
    }
    fc_status status = FC_OK;
    hid_t type = H5Aget_type(attribute);
    size_t size = H5Tget_size(type);
    if (H5Tget_class(type) != H5T_STRING || size > LONGEST_STRING) {
        status = FC_FAIL(FC_DATA, "attribute %s of %s is not a string", name, where);
    } else if (H5Tis_variable_str(type) > 0) {
        char *text = NULL;
        if (H5Aread(attribute, type, &text) < 0) {
            status = FC_H5_FAIL(FC_DATA, "attribute %s of %s cannot be read", name, where);
        } else {
            *out = fc_strdup(text == NULL ? "" : text);
            H5free_memory(text);
        }
    } else {
        char *bytes = fc_alloc(size, 1);
        if (H5Aread(attribute, type, bytes) < 0) {
            status = FC_H5_FAIL(FC_DATA, "attribute %s of %s cannot be read", name, where);
        } else {
            *out = trimmed(bytes, size, H5Tget_strpad(type) == H5T_STR_SPACEPAD);
        }
        fc_free(&bytes);
    }
    H5Tclose(type);
    H5Aclose(attribute);
    return status;
}

static fc_status set_attribute(hid_t object, const char *where, const char *name, hid_t stored,
                               hid_t type, const void *value)
{
    if (fci_h5_has_attribute(object, name)) {
        FC_H5(H5Adelete(object, name), FC_RUNTIME, "attribute %s of %s cannot be replaced", name,
              where);
    }
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Sclose(space);
    FC_H5(attribute, FC_RUNTIME, "attribute %s of %s cannot be written", name, where);
    fc_status status = FC_OK;
    if (H5Awrite(attribute, type, value) < 0) {
        status = FC_H5_FAIL(FC_RUNTIME, "attribute %s of %s cannot be written", name, where);
    }
    H5Aclose(attribute);
    return status;
}

fc_status fci_h5_set_int(hid_t object, const char *where, const char *name, int64_t value)
{
    return set_attribute(object, where, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

fc_status fci_h5_set_real(hid_t object, const char *where, const char *name, double value)
{
    return set_attribute(object, where, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

fc_status fci_h5_set_string(hid_t object, const char *where, const char *name, const char *value)
{
    hid_t type = fci_h5_string_type();
    fc_status status = set_attribute(object, where, name, type, type, &value);
    H5Tclose(type);
    return status;
}

hid_t fci_h5_string_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    FC_ASSERT(type >= 0);
    FC_ASSERT(H5Tset_size(type, H5T_VARIABLE) >= 0);
    FC_ASSERT(H5Tset_cset(type, H5T_CSET_UTF8) >= 0);
    return type;
}

bool fci_h5_exists(hid_t file, const char *path)
{
    char *part = fc_strdup(path);
    bool there = true;
    for (char *slash = strchr(part + 1, '/'); there && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        there = H5Lexists(file, part, H5P_DEFAULT) > 0;
        *slash = '/';
    }
    there = there && H5Lexists(file, part, H5P_DEFAULT) > 0;
    fc_free(&part);
    return there;
}

bool fci_h5_too_large(double bytes, int64_t file_bytes)
{
    return bytes > 64.0 * 1048576 && bytes > 1100.0 * (double)file_bytes;
}

/* HDF5 takes most of a kilobyte for each chunk that a read touches; a chunk may be one value. */
static int64_t rows_a_read(hid_t dataset, int rank, int64_t cols)
{
    const int64_t most_chunks = 1 << 14;
    hid_t create = H5Dget_create_plist(dataset);
    hsize_t chunk[2] = {1, 1};
    const bool chunked = H5Pget_layout(create) == H5D_CHUNKED &&
                         H5Pget_chunk(create, rank, chunk) == rank && chunk[0] > 0 && chunk[1] > 0;
    H5Pclose(create);
    if (!chunked) {
        return INT64_MAX;
    }
    const int64_t beside = (cols + (int64_t)chunk[1] - 1) / (int64_t)chunk[1];
    const int64_t below = beside < most_chunks ? most_chunks / beside : 1;
    return chunk[0] < (hsize_t)(INT64_MAX / below) ? below * (int64_t)chunk[0] : INT64_MAX;
}

/* Open, and check rank and declared size; with more than one column the dataset has two axes. */
static fc_status open_any(fci_h5_dataset *out, hid_t file, const char *file_name,
                          int64_t file_bytes, const char *path, int64_t cols, hid_t access)
{
    *out = (fci_h5_dataset){
        .id = -1, .type = -1, .cols = cols, .where = fc_format("%s:%s", file_name, path)};
    if (!fci_h5_exists(file, path)) {
        return FC_FAIL(FC_DATA, "%s is missing", out->where);
    }
    out->id = H5Dopen2(file, path, access);
    FC_H5(out->id, FC_DATA, "%s cannot be opened as a dataset", out->where);
    hid_t space = H5Dget_space(out->id);
    int rank = H5Sget_simple_extent_ndims(space);
    hsize_t dims[2] = {0, 1};
    if (rank == 1 || rank == 2) {
        H5Sget_simple_extent_dims(space, dims, NULL);
    }
    H5Sclose(space);
    if (rank != (cols > 1 ? 2 : 1)) {
        return FC_FAIL(FC_DATA, "%s has %d axes, want %d", out->where, rank, cols > 1 ? 2 : 1);
    }
    if (cols > 1 && dims[1] != (hsize_t)cols) {
        return FC_FAIL(FC_DATA, "%s has %llu columns, want %lld", out->where,
                       (unsigned long long)dims[1], (long long)cols);
    }
    hid_t stored = H5Dget_type(out->id);
    double bytes = (double)H5Tget_size(stored) * (double)dims[0] * (double)cols;
    H5Tclose(stored);
    if (fci_h5_too_large(bytes, file_bytes)) {
        return FC_FAIL(FC_DATA, "%s says it has %llu rows, more than its file can hold", out->where,
                       (unsigned long long)dims[0]);
    }
    out->rows = (int64_t)dims[0];
    out->piece = rows_a_read(out->id, rank, cols);
    return FC_OK;
}

/* Whether every value of the stored type has one in the memory type (floats: to rounding). */
static bool converts(hid_t stored, hid_t type)
{
    H5T_class_t class = H5Tget_class(type);
    if (H5Tget_class(stored) != class) {
        return false;
    }
    if (class == H5T_FLOAT) {
        return true;
    }
    size_t from = H5Tget_size(stored), to = H5Tget_size(type);
    bool from_signed = H5Tget_sign(stored) == H5T_SGN_2, to_signed = H5Tget_sign(type) == H5T_SGN_2;
    return from_signed == to_signed ? from <= to : to_signed && from < to;
}

fc_status fci_h5_open(fci_h5_dataset *out, hid_t file, const char *file_name, int64_t file_bytes,
                      const char *path, hid_t type, int64_t cols, bool random)
{
    hid_t access = H5P_DEFAULT;
    if (random) {
        /* With no cache HDF5 reads just the wanted bytes of a chunk that has no filter. */
        access = H5Pcreate(H5P_DATASET_ACCESS);
        H5Pset_chunk_cache(access, 0, 0, 1.0);
    }
    fc_status status = open_any(out, file, file_name, file_bytes, path, cols, access);
    if (random) {
        H5Pclose(access);
    }
    if (status == FC_OK) {
        hid_t stored = H5Dget_type(out->id);
        if (!converts(stored, type)) {
            status = FC_FAIL(FC_DATA, "%s holds %s of %zu bytes, want %s of %zu bytes at most",
                             out->where,
                             H5Tget_class(stored) == H5T_INTEGER ? "integers"
                             : H5Tget_class(stored) == H5T_FLOAT ? "floats"
                                                                 : "values",
                             H5Tget_size(stored),
                             H5Tget_class(type) == H5T_FLOAT  ? "floats"
                             : H5Tget_sign(type) == H5T_SGN_2 ? "signed integers"
                                                              : "unsigned integers",
                             H5Tget_size(type));
        }
        H5Tclose(stored);
        out->type = type;
    }
    if (status != FC_OK) {
        fci_h5_close(out);
    } else if (random) {
        fci_h5_direct_open(out, file);
    }
    return status;
}

void fci_h5_close(fci_h5_dataset *d)
{
    fci_h5_direct_close(d);
    if (d->where != NULL && d->id >= 0) {
        H5Dclose(d->id);
    }
    fc_free(&d->where);
    d->id = -1;
}

static fc_status read_piece(const fci_h5_dataset *d, int64_t first, int64_t count, hid_t type,
                            void *out)
{
    hsize_t start[2] = {(hsize_t)first, 0}, extent[2] = {(hsize_t)count, (hsize_t)d->cols};
    int rank = d->cols > 1 ? 2 : 1;
    hid_t memory = H5Screate_simple(rank, extent, NULL);
    hid_t space = H5Dget_space(d->id);
    fc_status status = FC_OK;
    if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, extent, NULL) < 0 ||
        H5Dread(d->id, type, memory, space, H5P_DEFAULT, out) < 0) {
        status = FC_H5_FAIL(FC_DATA, "rows %lld to %lld of %s cannot be read", (long long)first,
                            (long long)(first + count), d->where);
    }
    H5Sclose(space);
    H5Sclose(memory);
    return status;
}

/* Read rows into memory of type `type`. */
static fc_status read_rows(const fci_h5_dataset *d, int64_t first, int64_t count, hid_t type,
                           void *out)
{
    if (first < 0 || count < 0 || count > d->rows || first > d->rows - count) {
        return FC_FAIL(FC_DATA, "rows %lld to %lld of %s do not exist (it has %lld)",
                       (long long)first, (long long)(first + count), d->where, (long long)d->rows);
    }
    const size_t row = H5Tget_size(type) * (size_t)d->cols;
    for (int64_t done = 0; done < count;) {
        const int64_t piece = count - done < d->piece ? count - done : d->piece;
        FC_TRY(read_piece(d, first + done, piece, type, (char *)out + (size_t)done * row));
        done += piece;
    }
    return FC_OK;
}

fc_status fci_h5_read(const fci_h5_dataset *d, int64_t first, int64_t count, void *out)
{
    FC_TRY(fc_fault_here(FC_AT_hdf5));
    return read_rows(d, first, count, d->type, out);
}

fc_status fci_h5_open_strings(fci_h5_dataset *out, hid_t file, const char *file_name,
                              int64_t file_bytes, const char *path)
{
    fc_status status = open_any(out, file, file_name, file_bytes, path, 1, H5P_DEFAULT);
    if (status == FC_OK) {
        hid_t stored = H5Dget_type(out->id);
        if (H5Tget_class(stored) != H5T_STRING || H5Tget_size(stored) > LONGEST_STRING) {
            status = FC_FAIL(FC_DATA, "%s does not hold strings", out->where);
        }
        H5Tclose(stored);
    }
    if (status != FC_OK) {
        fci_h5_close(out);
    }
    return status;
}

fc_status fci_h5_read_strings(const fci_h5_dataset *d, int64_t first, int64_t count, char **out)
{
    hid_t type = H5Dget_type(d->id);
    size_t size = H5Tget_size(type);
    bool variable = H5Tis_variable_str(type) > 0;
    bool blanks = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
    void *raw = NULL;
    fc_status status =
        fc_try_alloc(&raw, (size_t)count, variable ? sizeof(char *) : size, d->where);
    if (status == FC_OK) {
        status = read_rows(d, first, count, type, raw);
    }
    for (int64_t i = 0; status == FC_OK && i < count; i++) {
        char *item = variable ? ((char **)raw)[i] : (char *)raw + (size_t)i * size;
        out[i] = item == NULL ? fc_strdup("")
                              : trimmed(item, variable ? strlen(item) : size, !variable && blanks);
        if (variable) {
            H5free_memory(item);
        }
    }
    fc_free(&raw);
    H5Tclose(type);
    return status;
}
