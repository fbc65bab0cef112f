/* JSON read as a stream of events over yajl, so that files larger than memory can be read.
 *
 * The handler gets every value with its path. COCO's "annotations"[3]."bbox"[0] arrives as depth 4,
 * keys[0] = "annotations", keys[1] = NULL with index[1] = 3, keys[2] = "bbox", keys[3] = NULL with
 * index[3] = 0. Objects and arrays report their begin and end with their own path. */
#ifndef FC_DATA_JSON_STREAM_H
#define FC_DATA_JSON_STREAM_H

#include "core/status.h"

#include <stdint.h>

typedef enum {
    FCI_JSON_BEGIN, /* object or array */
    FCI_JSON_END,
    FCI_JSON_STRING,
    FCI_JSON_NUMBER,
    FCI_JSON_BOOL,
    FCI_JSON_NULL
} fci_json_kind;

enum { FCI_JSON_DEPTH = 32 };

typedef struct fci_json_event {
    fci_json_kind kind;
    int depth;                        /* of the value: 0 is the document itself */
    const char *keys[FCI_JSON_DEPTH]; /* key at each depth; NULL: item of an array */
    int64_t index[FCI_JSON_DEPTH];    /* number of the item, where the key is NULL */
    int64_t document;                 /* number of the value at the top: 0, or in lines 0, 1, ... */
    const char *text; /* STRING: zero-terminated; may hold bytes that are no UTF-8 */
    double number;    /* NUMBER; BOOL: 0 or 1 */
    int64_t
        integer; /* NUMBER: exact where it is whole, else truncated towards 0 and held in range */
} fci_json_event;

/** Called for each event; a failure ends the reading. Everything in the event is borrowed for the
 * call. */
typedef fc_status (*fci_json_handler)(void *ctx, const fci_json_event *e);

/** FC_NOINPUT: no such file; FC_DATA: not JSON, with file and line. A failing handler's message
 * gets file and line in front. NaN and Infinity, which some programs write, are not JSON. */
FC_NODISCARD fc_status fci_json_read(const char *path, fci_json_handler handler, void *ctx);

/** The same for values one after another, as in JSON lines: e->document counts them. */
FC_NODISCARD fc_status fci_json_read_lines(const char *path, fci_json_handler handler, void *ctx);

#endif
