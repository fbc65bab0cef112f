/* One growing dataset of a store under construction: rows wait in a buffer until a chunk is full,
 * so that memory stays bounded and HDF5 writes whole chunks only. Internal to the store writer. */
#ifndef FC_DATA_STORE_COLUMN_H
#define FC_DATA_STORE_COLUMN_H

#include "data/store/hdf5_util.h"

typedef enum {
    FCI_COLUMN_U8,
    FCI_COLUMN_U16,
    FCI_COLUMN_I32,
    FCI_COLUMN_I64,
    FCI_COLUMN_U64,
    FCI_COLUMN_F32,
    FCI_COLUMN_STRING
} fci_column_kind;

typedef struct fci_column {
    hid_t file;            /* borrowed */
    const char *file_name; /* for messages; borrowed */
    const char *path;      /* of the dataset; NULL: this column is not in use */
    fci_column_kind kind;
    int cols;
    size_t size;      /* bytes of a row */
    int64_t chunk;    /* rows of a chunk */
    int64_t buffered; /* rows in the buffer */
    int64_t room;     /* rows the buffer has memory for */
    int64_t written;
    uint8_t *buffer; /* FCI_COLUMN_STRING: char *[], each heap */
    hid_t dataset;   /* negative: not made yet */
} fci_column;

/* All of these expect fci_h5_lock to be held; errors are FC_RUNTIME. */

/** Set up; nothing is written yet. `file_name` and `path` must outlive the column. */
void fci_column_init(fci_column *c, hid_t file, const char *file_name, const char *path,
                     fci_column_kind kind, int cols);
/** Append rows (of the kind's C type). */
FC_NODISCARD fc_status fci_column_put(fci_column *c, const void *rows, int64_t count);
/** Append a copy of one string (NULL counts as ""). */
FC_NODISCARD fc_status fci_column_put_string(fci_column *c, const char *text);
/** Write what is buffered and close the dataset. */
FC_NODISCARD fc_status fci_column_finish(fci_column *c);
/** Close and free without writing. */
void fci_column_fini(fci_column *c);
/** Rows appended so far. */
static inline int64_t fci_column_rows(const fci_column *c)
{
    return c->written + c->buffered;
}

#endif
