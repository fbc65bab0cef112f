#include "data/store/hdf5_direct.h"

#include "core/memory.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <stdatomic.h>

enum { MOST_CHUNKS = 1 << 24 };

typedef enum { AS_IT_IS, FROM_U8, FROM_U16, FROM_I8, FROM_I16 } conversion;

struct fci_h5_direct {
    int file; /* HDF5's own descriptor */
    conversion convert;
    size_t size;   /* bytes of a stored row */
    int64_t chunk; /* rows of a chunk; of a contiguous dataset: all */
    int64_t chunks;
    _Atomic int64_t *address; /* (chunks) of each in the file; 0: not asked for yet; -1: none */
};

/* How a stored integer becomes one in memory; false: not simply. */
static bool find_conversion(hid_t stored, hid_t type, conversion *out)
{
    bool to_u8 = H5Tequal(type, H5T_NATIVE_UINT8) > 0,
         to_i32 = H5Tequal(type, H5T_NATIVE_INT32) > 0;
    const struct {
        hid_t stored;
        bool wanted;
        conversion convert;
    } known[] = {
        {H5T_NATIVE_UINT8, to_u8, AS_IT_IS}, {H5T_NATIVE_INT32, to_i32, AS_IT_IS},
        {H5T_NATIVE_UINT8, to_i32, FROM_U8}, {H5T_NATIVE_UINT16, to_i32, FROM_U16},
        {H5T_NATIVE_INT8, to_i32, FROM_I8},  {H5T_NATIVE_INT16, to_i32, FROM_I16},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].wanted && H5Tequal(stored, known[i].stored) > 0) {
            *out = known[i].convert;
            return true;
        }
    }
    return false;
}

/* Rows of a chunk, or of all where they lie together; 0: they do not lie in the file as they are.
 */
static int64_t chunk_rows(hid_t dataset, int64_t rows)
{
    hid_t create = H5Dget_create_plist(dataset);
    H5D_layout_t layout = H5Pget_layout(create);
    hsize_t chunk = 0;
    if (H5Pget_nfilters(create) == 0 && H5Pget_external_count(create) == 0) {
        if (layout == H5D_CHUNKED) {
            H5Pget_chunk(create, 1, &chunk);
        } else if (layout == H5D_CONTIGUOUS) {
            chunk = (hsize_t)rows;
        }
    }
    H5Pclose(create);
    return (int64_t)chunk;
}

/* HDF5's descriptor of a file that is one plain file from its first byte; negative: it is not. */
static int descriptor(hid_t file)
{
    hsize_t user_block = 1;
    hid_t create = H5Fget_create_plist(file), access = H5Fget_access_plist(file);
    bool plain = H5Pget_userblock(create, &user_block) >= 0 && user_block == 0 &&
                 H5Pget_driver(access) == H5FD_SEC2;
    void *handle = NULL;
    if (plain && H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) < 0) {
        handle = NULL;
    }
    H5Pclose(access);
    H5Pclose(create);
    return handle == NULL ? -1 : *(int *)handle;
}

void fci_h5_direct_open(fci_h5_dataset *d, hid_t file)
{
    conversion convert = AS_IT_IS;
    hid_t stored = H5Dget_type(d->id);
    bool simple = find_conversion(stored, d->type, &convert);
    size_t size = H5Tget_size(stored);
    H5Tclose(stored);
    int64_t chunk = simple && d->cols == 1 ? chunk_rows(d->id, d->rows) : 0;
    int64_t chunks = chunk > 0 ? (d->rows + chunk - 1) / chunk : 0;
    int descriptor_of = chunks > 0 && chunks <= MOST_CHUNKS ? descriptor(file) : -1;
    if (descriptor_of < 0) {
        return;
    }
    fci_h5_direct *direct = fc_alloc(1, sizeof *direct);
    *direct = (fci_h5_direct){.file = descriptor_of,
                              .convert = convert,
                              .size = size,
                              .chunk = chunk,
                              .chunks = chunks,
                              .address = fc_alloc((size_t)chunks, sizeof *direct->address)};
    d->direct = direct;
}

void fci_h5_direct_close(fci_h5_dataset *d)
{
    if (d->direct != NULL) {
        fc_free(&d->direct->address);
    }
    fc_free(&d->direct);
}

/* Where a chunk lies; asked for once. */
static int64_t address_of(const fci_h5_dataset *d, int64_t chunk)
{
    fci_h5_direct *direct = d->direct;
    int64_t address = atomic_load_explicit(&direct->address[chunk], memory_order_relaxed);
    if (address != 0) {
        return address;
    }
    haddr_t found = HADDR_UNDEF;
    fci_h5_lock();
    if (direct->chunk == d->rows) {
        found = H5Dget_offset(d->id); /* HADDR_UNDEF for a chunk, which is asked for below */
    }
    if (found == HADDR_UNDEF) {
        hsize_t start = (hsize_t)(chunk * direct->chunk), bytes;
        unsigned filters;
        if (H5Dget_chunk_info_by_coord(d->id, &start, &filters, &found, &bytes) < 0) {
            found = HADDR_UNDEF;
        }
    }
    H5Eclear2(H5E_DEFAULT);
    fci_h5_unlock();
    address = found == HADDR_UNDEF ? -1 : (int64_t)found;
    atomic_store_explicit(&direct->address[chunk], address, memory_order_relaxed);
    return address;
}

static fc_status read_all(const fci_h5_dataset *d, void *out, size_t bytes, int64_t at)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(d->direct->file, (uint8_t *)out + done, bytes - done,
                            (off_t)(at + (int64_t)done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return FC_FAIL(FC_RUNTIME, "%s cannot be read: %s", d->where,
                           got == 0 ? "the file is cut short" : strerror(errno));
        }
        done += (size_t)got;
    }
    return FC_OK;
}

/* Stored rows at the end of `out` become int32 from its begin on; each is read before it is
 * overwritten. */
static void widen(conversion convert, size_t size, int64_t count, int32_t *out)
{
    const uint8_t *from = (const uint8_t *)(out + count) - (size_t)count * size;
    for (int64_t i = 0; i < count; i++, from += size) {
        uint16_t word = 0;
        memcpy(&word, from, size);
        out[i] = convert == FROM_I8    ? (int8_t)word
                 : convert == FROM_I16 ? (int16_t)word
                                       : (int32_t)word;
    }
}

fc_status fci_h5_read_direct(const fci_h5_dataset *d, int64_t first, int64_t count, void *out)
{
    const fci_h5_direct *direct = d->direct;
    bool inside = first >= 0 && count >= 0 && count <= d->rows && first <= d->rows - count;
    uint8_t *to = out;
    if (direct != NULL && direct->convert != AS_IT_IS) {
        to += (size_t)count * (sizeof(int32_t) - direct->size);
    }
    int64_t at = first, end = first + count;
    while (direct != NULL && inside && at < end) {
        int64_t chunk = at / direct->chunk, next = (chunk + 1) * direct->chunk;
        int64_t address = address_of(d, chunk);
        if (address < 0) { /* never written: HDF5 knows what to put there */
            break;
        }
        size_t bytes = (size_t)((next < end ? next : end) - at) * direct->size;
        FC_TRY(
            read_all(d, to, bytes, address + (at - chunk * direct->chunk) * (int64_t)direct->size));
        to += bytes;
        at = next < end ? next : end;
    }
    if (direct == NULL || !inside || at < end) {
        fci_h5_lock();
        fc_status status = fci_h5_read(d, first, count, out);
        fci_h5_unlock();
        return status;
    }
    if (direct->convert != AS_IT_IS) {
        widen(direct->convert, direct->size, count, out);
    }
    return FC_OK;
}
