/* What the files of the store reader share. */
#ifndef FC_DATA_STORE_FILES_H
#define FC_DATA_STORE_FILES_H

#include "data/store/findings.h"
#include "data/store/hdf5_util.h"
#include "data/store/store.h"

enum { FCI_STORE_TEXTS = 3 };

struct fci_store_files {
    hid_t file;
    int fd; /* of `file` */
    int64_t file_bytes;
    fci_h5_dataset bytes, crop_bytes;
    fci_h5_dataset tokens[3]; /* by fc_token_set; not open where the store has none */
    int64_t items[3];
    const uint64_t *offsets[3];           /* borrowed from the store */
    fci_h5_dataset text[FCI_STORE_TEXTS]; /* opened when first asked for */
    fc_findings *findings;                /* NULL: the first finding is an error */
};

/** Open; with findings, what is wrong inside the index arrays is noted and not an error. */
FC_NODISCARD fc_status fci_store_open(fc_store **out, const char *path, fc_findings *findings);
/** A finding: FC_DATA with this message, or, where findings are collected, noted and FC_OK. */
FC_NODISCARD fc_status fci_store_found(const fc_store *s, const char *fmt, ...) FC_PRINTF(2, 3);
/** Item i of offsets as rows [first, first + count) of `of`; checked again, since offsets may be
 *  wrong while a store is being checked. */
FC_NODISCARD fc_status fci_store_item(const fci_h5_dataset *of, const uint64_t *offsets, int64_t i,
                                      int64_t *first, int64_t *count);
/** The file still has its length: HDF5 reads what was cut off as zeros. FC_RUNTIME. */
FC_NODISCARD fc_status fci_store_check_length(const fc_store *s);
/** Number of ids of an item. */
FC_NODISCARD fc_status fci_store_token_count(const fc_store *s, fc_token_set set, int64_t item,
                                             int64_t *count);

/** As fc_store_crop, into the caller's memory or the scratch memory. */
FC_NODISCARD fc_status fci_store_crop_into(fc_store *s, int64_t region, fc_store_scratch *scratch,
                                           uint8_t *rgb);
FC_NODISCARD fc_status fci_store_crop_borrow(fc_store *s, int64_t region, fc_store_scratch *scratch,
                                             fc_picture *out);
/** Ids of item `item` against the vocabulary. */
FC_NODISCARD fc_status fci_store_check_ids(const fc_store *s, fc_token_set set, int64_t item,
                                           int vocab, const int32_t *ids, int64_t count);
/** Whether an item of so many ids may be: FC_DATA says why not. */
FC_NODISCARD fc_status fci_store_check_count(const fc_store *s, fc_token_set set, int64_t item,
                                             int64_t count, int max);
/** Dataset of sentences `slot`, opened at the first call; *out NULL where the store has none. */
FC_NODISCARD fc_status fci_store_sentences(fc_store *s, int slot, const fci_h5_dataset **out);

#endif
