#include "tests/fuzz/h5_edit.h"

#include "core/memory.h"
#include "data/file.h"
#include "data/store/hdf5_util.h"

#include <string.h>

enum { MOST_EDITS = 8, MOST_RANK = 3, LONGEST_TEXT = 64 };

void fuzz_h5_keep(fuzz_h5_base *base, const char *path, const char *const *objects,
                  const char *const *attributes)
{
    FUZZ_CHECK(fuzz_ok(fci_file_read(path, &base->bytes, &base->size)));
    base->objects = objects;
    base->attributes = attributes;
}

static const char *pick(fuzz_input *in, const char *const *list)
{
    int count = 0;
    while (list[count] != NULL) {
        count++;
    }
    return list[fuzz_u8(in) % count];
}

/* A type in the file; the caller closes it. */
static hid_t pick_type(fuzz_input *in)
{
    const hid_t plain[] = {H5T_STD_U8LE,   H5T_STD_I8LE,  H5T_STD_U16LE,  H5T_STD_I32BE,
                           H5T_STD_I32LE,  H5T_STD_U64LE, H5T_STD_I64LE,  H5T_IEEE_F32LE,
                           H5T_IEEE_F64BE, H5T_STD_B16LE, H5T_STD_REF_OBJ};
    enum { PLAIN = sizeof plain / sizeof *plain };
    int kind = fuzz_u8(in) % (PLAIN + 6);
    if (kind < PLAIN) {
        return H5Tcopy(plain[kind]);
    }
    hid_t type, part = H5Tcopy(H5T_STD_I32LE);
    const hsize_t three = 3;
    switch (kind - PLAIN) {
    case 0:
        type = fci_h5_string_type();
        break;
    case 1: /* fixed length, any size */
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, 1 + fuzz_u16(in) * (size_t)(1 + fuzz_u8(in)));
        H5Tset_strpad(type, fuzz_u8(in) % 2 == 0 ? H5T_STR_SPACEPAD : H5T_STR_NULLTERM);
        break;
    case 2:
        type = H5Tarray_create2(part, 1, &three);
        break;
    case 3:
        type = H5Tvlen_create(part);
        break;
    case 4:
        type = H5Tcreate(H5T_COMPOUND, 8);
        H5Tinsert(type, "a", 4, part);
        break;
    default: /* an integer of 24 bits */
        type = H5Tcopy(H5T_STD_I32LE);
        H5Tset_precision(type, 24);
        H5Tset_size(type, 3);
        break;
    }
    H5Tclose(part);
    return type;
}

static hid_t pick_space(fuzz_input *in, int *rank)
{
    hsize_t dims[MOST_RANK];
    *rank = fuzz_u8(in) % (MOST_RANK + 2);
    if (*rank > MOST_RANK) {
        *rank = 0;
        return H5Screate(H5S_NULL);
    }
    for (int i = 0; i < *rank; i++) {
        dims[i] = (hsize_t)fuzz_number(in) & INT64_MAX;
    }
    return H5Screate_simple(*rank, dims, NULL);
}

/* Another dataset in an object's place, empty but for what HDF5 fills in. */
static void edit_dataset(hid_t file, const char *path, fuzz_input *in)
{
    int rank;
    hid_t type = pick_type(in), space = pick_space(in, &rank);
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    if (rank > 0 && fuzz_u8(in) % 4 > 0) {
        hsize_t chunk[MOST_RANK];
        for (int i = 0; i < rank; i++) {
            chunk[i] = 1 + fuzz_u8(in);
        }
        H5Pset_chunk(create, rank, chunk);
        if (fuzz_u8(in) % 2 == 0) {
            H5Pset_deflate(create, 1);
        }
    } else {
        H5Pset_alloc_time(create, H5D_ALLOC_TIME_LATE); /* a claim need not be backed */
    }
    H5Ldelete(file, path, H5P_DEFAULT);
    hid_t dataset = H5Dcreate2(file, path, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (dataset >= 0) {
        H5Dclose(dataset);
    }
    H5Pclose(create);
    H5Sclose(space);
    H5Tclose(type);
}

/* One value of a dataset of numbers. */
static void edit_value(hid_t file, const char *path, fuzz_input *in)
{
    hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    if (dataset < 0) {
        return;
    }
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    hsize_t dims[MOST_RANK] = {1, 1, 1}, point[MOST_RANK], one = 1;
    int rank = H5Sget_simple_extent_ndims(space);
    H5T_class_t class = H5Tget_class(type);
    bool numbers = class == H5T_INTEGER || class == H5T_FLOAT;
    if (numbers && rank > 0 && rank <= MOST_RANK) {
        H5Sget_simple_extent_dims(space, dims, NULL);
        uint16_t index = fuzz_u16(in);
        for (int i = 0; i < rank; i++) {
            point[i] = dims[i] > 0 ? index % dims[i] : 0;
            index = i == 0 ? fuzz_u8(in) : index;
        }
        int64_t whole = fuzz_number(in);
        double real = fuzz_u8(in) % 8 == 0 ? 0.0 / (double)(whole == 0) : (double)whole;
        hid_t memory = H5Screate_simple(1, &one, NULL);
        if (H5Sselect_elements(space, H5S_SELECT_SET, 1, point) >= 0) {
            H5Dwrite(dataset, class == H5T_FLOAT ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64, memory,
                     space, H5P_DEFAULT, class == H5T_FLOAT ? (void *)&real : (void *)&whole);
        }
        H5Sclose(memory);
    }
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(dataset);
}

/* HDF5 goes through all chunks that a dataset loses, also those that were never written: after it
 * was made endless, making it short takes minutes, and it is not what is tested. */
static bool is_endless(hid_t dataset)
{
    const hsize_t most = 1000000;
    hsize_t dims[MOST_RANK] = {0};
    hid_t space = H5Dget_space(dataset);
    if (H5Sget_simple_extent_ndims(space) <= MOST_RANK) {
        H5Sget_simple_extent_dims(space, dims, NULL);
    }
    H5Sclose(space);
    return dims[0] > most;
}

/* Longer or shorter, where the dataset is chunked. */
static void edit_extent(hid_t file, const char *path, fuzz_input *in)
{
    hsize_t dims[MOST_RANK] = {(hsize_t)fuzz_number(in) & INT64_MAX, 4, 4};
    hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    if (dataset >= 0) {
        if (fuzz_u8(in) % 2 == 0) {
            dims[1] = fuzz_u8(in);
        }
        if (!is_endless(dataset)) {
            H5Dset_extent(dataset, dims);
        }
        H5Dclose(dataset);
    }
}

static void edit_attribute(hid_t file, const char *path, const char *name, fuzz_input *in)
{
    hid_t object = H5Oopen(file, path, H5P_DEFAULT);
    if (object < 0) {
        return;
    }
    uint8_t kind = fuzz_u8(in) % 5;
    char text[LONGEST_TEXT + 1] = "";
    if (H5Aexists(object, name) > 0) {
        H5Adelete(object, name);
    }
    if (kind == 1) {
        (void)fuzz_ok(fci_h5_set_int(object, path, name, fuzz_number(in)));
    } else if (kind == 2) {
        size_t length = fuzz_u8(in) % LONGEST_TEXT;
        for (size_t i = 0; i < length; i++) {
            text[i] = (char)fuzz_u8(in);
        }
        (void)fuzz_ok(fci_h5_set_string(object, path, name, text));
    } else if (kind == 3) {
        (void)fuzz_ok(fci_h5_set_real(object, path, name, (double)fuzz_number(in)));
    } else if (kind == 4) { /* any type and shape, never written */
        int rank;
        hid_t type = pick_type(in), space = pick_space(in, &rank);
        hid_t attribute = H5Sget_simple_extent_npoints(space) < 1024 && H5Tget_size(type) < 4096
                              ? H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT)
                              : -1;
        if (attribute >= 0) {
            H5Aclose(attribute);
        }
        H5Sclose(space);
        H5Tclose(type);
    }
    H5Oclose(object);
}

/* Something else under an object's name: a link to another, to itself, to nowhere; a group; a type.
 */
static void edit_link(hid_t file, const char *path, const char *other, fuzz_input *in)
{
    hid_t made = -1;
    uint8_t kind = fuzz_u8(in) % 6;
    H5Ldelete(file, path, H5P_DEFAULT);
    switch (kind) {
    case 1:
        H5Lcreate_soft(other, file, path, H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 2:
        H5Lcreate_soft(path, file, path, H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 3:
        H5Lcreate_hard(file, other, file, path, H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 4:
        made = H5Gcreate2(file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 5:
        made = pick_type(in);
        H5Tcommit2(file, path, made, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        break;
    default: /* nothing */
        break;
    }
    if (made >= 0) {
        H5Oclose(made);
    }
}

static void edit(hid_t file, const fuzz_h5_base *base, fuzz_input *in)
{
    uint8_t kind = fuzz_u8(in);
    const char *path = pick(in, base->objects);
    if (kind < 128) {
        edit_value(file, path, in);
    } else if (kind < 160) {
        edit_dataset(file, path, in);
    } else if (kind < 192) {
        edit_extent(file, path, in);
    } else if (kind < 224) {
        edit_attribute(file, path, pick(in, base->attributes), in);
    } else {
        edit_link(file, path, pick(in, base->objects), in);
    }
}

const char *fuzz_h5_edited(const fuzz_h5_base *base, fuzz_input *in)
{
    const char *path = fuzz_file(0, base->bytes, base->size);
    if (in->left == 0) {
        return path;
    }
    fci_h5_lock();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, access);
    H5Pclose(access);
    FUZZ_CHECK(file >= 0);
    for (int i = 0; i < MOST_EDITS && in->left > 0; i++) {
        edit(file, base, in);
        H5Fflush(file, H5F_SCOPE_LOCAL); /* HDF5 1.10 may crash where edits follow at once */
    }
    H5Eclear2(H5E_DEFAULT);
    FUZZ_CHECK(H5Fget_obj_count(file, H5F_OBJ_ALL | H5F_OBJ_LOCAL) == 1);
    FUZZ_CHECK(H5Fclose(file) >= 0);
    fci_h5_unlock();
    return path;
}
