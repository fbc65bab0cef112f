#include "launch/hdf5_output.h"

#include "core/memory.h"
#include "launch/folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_AXES = 4 };

static void release(fci_h5_output *out)
{
    if (out->file >= 0) {
        fci_h5_lock();
        H5Fclose(out->file);
        fci_h5_unlock();
    }
    fc_free(&out->path);
    fc_free(&out->partial);
    out->file = -1;
}

static fc_status make_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return FC_OK;
    }
    char *folder = fc_format("%.*s", (int)(slash - path), path);
    fc_status status = fc_folder_make(folder);
    fc_free(&folder);
    return status;
}

fc_status fci_h5_output_begin(fci_h5_output *out, const char *path)
{
    *out = (fci_h5_output){.file = -1};
    FC_TRY(make_folder_of(path));
    out->path = fc_strdup(path);
    out->partial = fc_format("%s.partial", path);
    fc_status status = FC_OK;
    fci_h5_lock();
    out->file = H5Fcreate(out->partial, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    if (out->file < 0) {
        status = FC_H5_FAIL(FC_RUNTIME, "%s cannot be created", out->partial);
    }
    fci_h5_unlock();
    if (status != FC_OK) {
        release(out);
    }
    return status;
}

fc_status fci_h5_output_commit(fci_h5_output *out)
{
    fc_status status = FC_OK;
    fci_h5_lock();
    if (H5Fclose(out->file) < 0) { /* the last of it is written now */
        status = FC_H5_FAIL(FC_RUNTIME, "%s cannot be written", out->partial);
    }
    out->file = -1;
    fci_h5_unlock();
    if (status == FC_OK && rename(out->partial, out->path) != 0) {
        status = FC_FAIL(FC_RUNTIME, "%s cannot be renamed to %s: %s", out->partial, out->path,
                         strerror(errno));
    }
    if (status != FC_OK) {
        (void)unlink(out->partial);
    }
    release(out);
    return status;
}

void fci_h5_output_abandon(fci_h5_output *out)
{
    if (out->path == NULL) {
        return;
    }
    (void)unlink(out->partial);
    release(out);
}

fc_status fci_h5_make(hid_t *dataset, const fci_h5_output *out, const char *path, hid_t stored,
                      int rank, const hsize_t *dims, int64_t chunk_rows)
{
    hid_t space = H5Screate_simple(rank, dims, NULL);
    hid_t create = H5Pcreate(H5P_DATASET_CREATE), link = H5Pcreate(H5P_LINK_CREATE);
    hsize_t chunk[MOST_AXES];
    FC_ASSERT(rank <= MOST_AXES);
    memcpy(chunk, dims, (size_t)rank * sizeof *chunk);
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        empty = empty || dims[i] == 0;
    }
    bool good = space >= 0 && create >= 0 && link >= 0;
    good = good && H5Pset_create_intermediate_group(link, 1) >= 0;
    if (good && chunk_rows > 0 && !empty) {
        chunk[0] = (hsize_t)chunk_rows < dims[0] ? (hsize_t)chunk_rows : dims[0];
        good = H5Pset_chunk(create, rank, chunk) >= 0;
    }
    *dataset = good ? H5Dcreate2(out->file, path, stored, space, link, create, H5P_DEFAULT) : -1;
    fc_status status = FC_OK;
    if (*dataset < 0) {
        status = FC_H5_FAIL(FC_RUNTIME, "%s:%s cannot be created", out->partial, path);
    }
    H5Pclose(link);
    H5Pclose(create);
    H5Sclose(space);
    return status;
}

fc_status fci_h5_put(hid_t dataset, const fci_h5_output *out, int64_t first, int64_t count,
                     hid_t type, const void *values)
{
    if (count == 0) {
        return FC_OK;
    }
    hsize_t start[MOST_AXES] = {0}, dims[MOST_AXES];
    hid_t space = H5Dget_space(dataset);
    const int rank = H5Sget_simple_extent_ndims(space);
    FC_ASSERT(rank >= 1 && rank <= MOST_AXES);
    (void)H5Sget_simple_extent_dims(space, dims, NULL);
    start[0] = (hsize_t)first;
    dims[0] = (hsize_t)count;
    hid_t memory = H5Screate_simple(rank, dims, NULL);
    fc_status status = FC_OK;
    if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, dims, NULL) < 0 ||
        H5Dwrite(dataset, type, memory, space, H5P_DEFAULT, values) < 0) {
        status = FC_H5_FAIL(FC_RUNTIME, "%s cannot be written", out->partial);
    }
    H5Sclose(memory);
    H5Sclose(space);
    return status;
}

fc_status fci_h5_write(const fci_h5_output *out, const char *path, hid_t stored, hid_t type,
                       int rank, const hsize_t *dims, const void *values)
{
    hid_t dataset;
    FC_TRY(fci_h5_make(&dataset, out, path, stored, rank, dims, 0));
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        empty = empty || dims[i] == 0;
    }
    fc_status status = empty ? FC_OK : fci_h5_put(dataset, out, 0, (int64_t)dims[0], type, values);
    H5Dclose(dataset);
    return status;
}

fc_status fci_h5_write_strings(const fci_h5_output *out, const char *path, int64_t count,
                               const char *const *values)
{
    const hsize_t dims[1] = {(hsize_t)count};
    hid_t type = fci_h5_string_type();
    fc_status status = fci_h5_write(out, path, type, type, 1, dims, values);
    H5Tclose(type);
    return status;
}

hid_t fci_h5_half_type(void)
{
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(type, 15, 10, 5, 0, 10); /* sign, exponent, mantissa: where and how many bits */
    H5Tset_size(type, 2);
    H5Tset_ebias(type, 15);
    return type;
}

uint16_t fci_h5_half(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const uint32_t size = bits & 0x7fffffff, largest = 0x477fefff, smallest = 0x33000000;
    if (size > 0x7f800000) {
        return sign | 0x7e00; /* not a number */
    }
    if (size > largest) {
        return sign | 0x7c00; /* infinite once rounded */
    }
    if (size <= smallest) {
        return sign; /* at most half of the smallest */
    }
    const uint32_t exponent = size >> 23, mantissa = (size & 0x7fffff) | 0x800000;
    /* Bits that go: 13, more below 2^-14, where halves lose their leading one. */
    const uint32_t drop = exponent >= 113 ? 13 : 126 - exponent, tie = 1U << (drop - 1);
    const uint32_t kept = mantissa >> drop, rest = mantissa & ((1U << drop) - 1);
    const uint32_t up = rest > tie || (rest == tie && (kept & 1) != 0) ? 1 : 0;
    /* A carry runs on into the exponent, as it should. */
    const uint32_t base = exponent >= 113 ? (exponent - 113) << 10 : 0;
    return (uint16_t)(sign | (base + kept + up));
}
