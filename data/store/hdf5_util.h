/* HDF5 with our errors: its automatic printing silenced, its innermost message in ours together
 * with file and dataset. Used by the store's reader and writer and by whoever else keeps HDF5
 * files.
 *
 * HDF5 keeps its error stack a thread and its library state a process, so every use stands between
 * fci_h5_lock and fci_h5_unlock: that also silences the printing in the calling thread. */
#ifndef FC_DATA_HDF5_UTIL_H
#define FC_DATA_HDF5_UTIL_H

#include "core/status.h"

#include <stdint.h>

#include <hdf5.h>

/** One user of HDF5 in the process at a time; may be taken again by the thread that holds it. */
void fci_h5_lock(void);
void fci_h5_unlock(void);

/** Record a failure: the text, then ": " and HDF5's innermost message of this thread if it has one.
 */
fc_status fci_h5_fail(const char *file, int line, const char *func, fc_status code, const char *fmt,
                      ...) FC_PRINTF(5, 6);
#define FC_H5_FAIL(code, ...) fci_h5_fail(__FILE__, __LINE__, __func__, (code), __VA_ARGS__)

/** Return with `code` and the text where an HDF5 call yields a negative value. */
#define FC_H5(call, code, ...)                                                                     \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            return FC_H5_FAIL((code), __VA_ARGS__);                                                \
        }                                                                                          \
    } while (0)

/** As FC_H5, for functions with something to release. */
#define FC_H5_GOTO(status, call, label, code, ...)                                                 \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            (status) = FC_H5_FAIL((code), __VA_ARGS__);                                            \
            goto label;                                                                            \
        }                                                                                          \
    } while (0)

/* ---- Attributes of an open object; `where` (file:/object) goes into messages ---- */

bool fci_h5_has_attribute(hid_t object, const char *name);
/** Whole number of any integer type. *found (may be NULL): false, and *out untouched, where it is
 * absent; with NULL absence is FC_DATA. */
FC_NODISCARD fc_status fci_h5_get_int(hid_t object, const char *where, const char *name,
                                      int64_t *out, bool *found);
FC_NODISCARD fc_status fci_h5_get_real(hid_t object, const char *where, const char *name,
                                       double *out, bool *found);
/** String of variable or fixed length; *out is heap, NULL where absent and `found` is given. */
FC_NODISCARD fc_status fci_h5_get_string(hid_t object, const char *where, const char *name,
                                         char **out, bool *found);
/** Write, replacing what was there. Errors are FC_RUNTIME. */
FC_NODISCARD fc_status fci_h5_set_int(hid_t object, const char *where, const char *name,
                                      int64_t value);
FC_NODISCARD fc_status fci_h5_set_real(hid_t object, const char *where, const char *name,
                                       double value);
FC_NODISCARD fc_status fci_h5_set_string(hid_t object, const char *where, const char *name,
                                         const char *value);

/* ---- Datasets ---- */

/** Variable-length UTF-8 string type (the caller closes it). */
hid_t fci_h5_string_type(void);
/** True where path exists, groups on the way included. */
bool fci_h5_exists(hid_t file, const char *path);

/** Whether a dataset declares more bytes than a file of file_bytes can hold: 1100 times as many,
 * more than deflate can reach; 64 MiB are always believed. */
bool fci_h5_too_large(double bytes, int64_t file_bytes);

typedef struct fci_h5_direct fci_h5_direct;

/* An open dataset of one or two axes whose element type was checked. */
typedef struct fci_h5_dataset {
    hid_t id;              /* negative: not open */
    hid_t type;            /* in memory (a native type); not owned */
    int64_t rows, cols;    /* cols 1 where the dataset has one axis */
    int64_t piece;         /* rows that HDF5 is asked for at a time */
    char *where;           /* "file:/path"; heap */
    fci_h5_direct *direct; /* of data/store/hdf5_direct.h; NULL: rows are read through HDF5 */
} fci_h5_dataset;

/** Open for reading. cols: 1 for a dataset of one axis, else the wanted second extent. The stored
 *  type must convert to `type` without loss (a narrower integer; any float for a float).
 *  random: items are read here and there, so whole chunks are not kept in memory.
 *  Errors: FC_DATA where absent, of another rank or type, or declared larger than its file of
 *  file_bytes could hold (fci_h5_too_large). */
FC_NODISCARD fc_status fci_h5_open(fci_h5_dataset *out, hid_t file, const char *file_name,
                                   int64_t file_bytes, const char *path, hid_t type, int64_t cols,
                                   bool random);
void fci_h5_close(fci_h5_dataset *d);
/** Rows [first, first+count) into out, in the memory type. The lock is held. */
FC_NODISCARD fc_status fci_h5_read(const fci_h5_dataset *d, int64_t first, int64_t count,
                                   void *out);

/** Open a dataset of strings (one axis, variable or fixed length; `type` is -1). */
FC_NODISCARD fc_status fci_h5_open_strings(fci_h5_dataset *out, hid_t file, const char *file_name,
                                           int64_t file_bytes, const char *path);
/** Strings [first, first+count) into out, each heap. On failure nothing is left behind. */
FC_NODISCARD fc_status fci_h5_read_strings(const fci_h5_dataset *d, int64_t first, int64_t count,
                                           char **out);

#endif
