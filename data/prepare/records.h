/* Records that detectors and captioners write: a JSON list of flat objects, or one object a line.
 */
#ifndef FC_DATA_RECORDS_H
#define FC_DATA_RECORDS_H

#include "core/status.h"

#include <stdint.h>

typedef struct fci_json_record {
    int64_t number; /* from 0 */
    bool has_id;    /* "image_id" is a whole number: id */
    int64_t id;
    const char *name;          /* "image_id" or "image" is a string; else NULL */
    const char *key, *caption; /* NULL where there is none; caption also as "text" */
    bool has_box, has_score, has_category;
    double box[4], score;
    int64_t category;
} fci_json_record;

/** Called for each record; strings are borrowed for the call. */
typedef fc_status (*fci_record_handler)(void *ctx, const fci_json_record *record);

/** Errors: as fci_json_read; FC_DATA: not records, or a "bbox" that is not four numbers. */
FC_NODISCARD fc_status fci_records_read(const char *path, fci_record_handler handler, void *ctx);

#endif
