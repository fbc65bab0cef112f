/* Rows read by their place in the file are those that HDF5 reads, whatever the type, the layout and
 * the chunks; what cannot be read so goes through HDF5. */
#include "core/memory.h"
#include "data/store/hdf5_direct.h"
#include "tests/check.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 1000, READS = 300 };

static char path[1024];

typedef struct kind {
    const char *name;
    hid_t stored, memory;
    hsize_t chunk; /* 0: contiguous */
    bool deflate, unwritten, direct;
} kind;

static void write_dataset(hid_t file, const kind *k)
{
    hsize_t rows = ROWS;
    hid_t space = H5Screate_simple(1, &rows, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
    if (k->chunk > 0) {
        H5Pset_chunk(create, 1, &k->chunk);
    }
    if (k->deflate) {
        H5Pset_deflate(create, 1);
    }
    hid_t d = H5Dcreate2(file, k->name, k->stored, space, H5P_DEFAULT, create, H5P_DEFAULT);
    int32_t values[ROWS];
    for (int i = 0; i < ROWS; i++) {
        values[i] = (i * 7919) % 251 - (H5Tget_sign(k->stored) == H5T_SGN_2 ? 125 : 0);
    }
    /* unwritten: only rows 400 to 599 are, so that chunks before and after are not in the file */
    hsize_t start = k->unwritten ? 400 : 0, count = k->unwritten ? 200 : ROWS;
    hid_t memory = H5Screate_simple(1, &count, NULL);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &count, NULL);
    FC_CHECK(H5Dwrite(d, H5T_NATIVE_INT32, memory, space, H5P_DEFAULT, values) >= 0);
    H5Sclose(memory);
    H5Dclose(d);
    H5Pclose(create);
    H5Sclose(space);
}

/* Whether both ways read the same, and nothing behind it. Threads call it: it counts no checks. */
static bool same(const fci_h5_dataset *d, int64_t first, int64_t count)
{
    int32_t ours[ROWS + 8], theirs[ROWS + 8];
    memset(ours, 0x55, sizeof ours);
    memset(theirs, 0x55, sizeof theirs);
    fc_status status = fci_h5_read_direct(d, first, count, ours);
    fci_h5_lock();
    fc_status other = fci_h5_read(d, first, count, theirs);
    fci_h5_unlock();
    return status == FC_OK && other == FC_OK && memcmp(ours, theirs, sizeof ours) == 0;
}

typedef struct reader {
    const fci_h5_dataset *dataset;
    int differ; /* reads that were not the same */
} reader;

static void *many_reads(void *arg)
{
    reader *r = arg;
    for (int i = 0; i < READS; i++) {
        int64_t first = (i * 37) % ROWS, left = ROWS - first;
        r->differ += same(r->dataset, first, (i * 11) % (left + 1)) ? 0 : 1;
    }
    return NULL;
}

static void check_kind(hid_t file, const kind *k)
{
    struct stat info;
    FC_CHECK(stat(path, &info) == 0);
    fci_h5_dataset d;
    fci_h5_lock();
    fc_status status =
        fci_h5_open(&d, file, path, (int64_t)info.st_size, k->name, k->memory, 1, true);
    fci_h5_unlock();
    if (!FC_CHECK_OK(status)) {
        return;
    }
    fc_check_true((d.direct != NULL) == k->direct, __FILE__, __LINE__, "%s: directly: %d", k->name,
                  d.direct != NULL);
    FC_CHECK(same(&d, 0, ROWS));
    FC_CHECK(same(&d, 0, 0));
    FC_CHECK(same(&d, ROWS, 0));
    FC_CHECK(same(&d, ROWS - 1, 1));
    reader r = {.dataset = &d};
    many_reads(&r);
    FC_CHECK_INT(r.differ, 0);
    int32_t out[8];
    FC_CHECK_FAILS(fci_h5_read_direct(&d, ROWS - 1, 2, out), FC_DATA, "do not exist");
    FC_CHECK_FAILS(fci_h5_read_direct(&d, -1, 2, out), FC_DATA, "do not exist");
    fci_h5_lock();
    fci_h5_close(&d);
    fci_h5_unlock();
    FC_CHECK(d.direct == NULL);
}

/* Threads that ask for the same chunks at the same time. */
static void check_threads(hid_t file, const kind *k)
{
    fci_h5_dataset d;
    pthread_t threads[4];
    reader readers[4];
    fci_h5_lock();
    FC_CHECK_OK(fci_h5_open(&d, file, path, 1 << 20, k->name, k->memory, 1, true));
    fci_h5_unlock();
    for (int t = 0; t < 4; t++) {
        readers[t] = (reader){.dataset = &d};
        FC_CHECK(pthread_create(&threads[t], NULL, many_reads, &readers[t]) == 0);
    }
    for (int t = 0; t < 4; t++) {
        pthread_join(threads[t], NULL);
        FC_CHECK_INT(readers[t].differ, 0);
    }
    fci_h5_lock();
    fci_h5_close(&d);
    fci_h5_unlock();
}

/* A file that is cut short while it is open. */
static void check_cut(hid_t file, const kind *k)
{
    fci_h5_dataset d;
    int32_t out[ROWS];
    fci_h5_lock();
    FC_CHECK_OK(fci_h5_open(&d, file, path, 1 << 20, k->name, k->memory, 1, true));
    fci_h5_unlock();
    FC_CHECK_OK(fci_h5_read_direct(&d, 0, ROWS, out));
    FC_CHECK(truncate(path, 600) == 0);
    FC_CHECK_FAILS(fci_h5_read_direct(&d, 0, ROWS, out), FC_RUNTIME, "cut short");
    fci_h5_lock();
    fci_h5_close(&d);
    fci_h5_unlock();
}

int main(void)
{
    fci_h5_lock();
    const hid_t i32 = H5T_NATIVE_INT32, u8 = H5T_NATIVE_UINT8;
    const kind kinds[] = {
        {"/bytes", H5T_STD_U8LE, u8, 64, false, false, true},
        {"/together", H5T_STD_U8LE, u8, 0, false, false, true},
        {"/one", H5T_STD_U8LE, u8, ROWS, false, false, true},
        {"/words", H5T_STD_U16LE, i32, 33, false, false, true},
        {"/narrow", H5T_STD_U8LE, i32, 100, false, false, true},
        {"/wide", H5T_STD_I32LE, i32, 100, false, false, true},
        {"/signed", H5T_STD_I16LE, i32, 7, false, false, true},
        {"/small", H5T_STD_I8LE, i32, 0, false, false, true},
        {"/holes", H5T_STD_U16LE, i32, 64, false, true, true},
        {"/squeezed", H5T_STD_U16LE, i32, 64, true, false, false},
        {"/turned", H5T_STD_U16BE, i32, 64, false, false, false},
    };
    const int count = (int)(sizeof kinds / sizeof *kinds);
    snprintf(path, sizeof path, "%s", fc_check_temp("direct.h5"));
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    for (int i = 0; i < count; i++) {
        write_dataset(file, &kinds[i]);
    }
    H5Fclose(file);
    file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    fci_h5_unlock();
    for (int i = 0; i < count; i++) {
        check_kind(file, &kinds[i]);
    }
    check_threads(file, &kinds[3]);
    check_cut(file, &kinds[3]);
    fci_h5_lock();
    H5Fclose(file);
    fci_h5_unlock();
    return fc_check_end();
}
