/* The two passes of a resize and what they weigh with; data/picture/resize.c puts them together. */
#ifndef FC_DATA_RESIZE_PASSES_H
#define FC_DATA_RESIZE_PASSES_H

#include "data/picture/picture.h"

#include <stddef.h>

enum {
    FCI_WEIGHT_BITS = 22, /* weights are whole multiples of 2^-22 */
    FCI_WEIGHT_LOW = 11,  /* bits of the lower part of a split one */
    FCI_BAND = 2,         /* rows that are resized across at once */
    FCI_GROUP = 4         /* outputs of a row that are written at once */
};

/* Weights of two neighbouring inputs, w = high * 2^FCI_WEIGHT_LOW + low with low >= 0. */
typedef struct fci_weight_pair {
    int16_t high[2], low[2];
} fci_weight_pair;

/* Weights of the outputs along one axis. Starts and ends of their inputs never go back. */
typedef struct fci_axis {
    int count, taps, pairs; /* taps, pairs: room for one output's; what it does not use is 0 */
    int *start;             /* (count up to a whole group) first input of each output */
    int *used;              /* (count) inputs of each output */
    int32_t *weights;       /* (count, taps) in units of 2^-22 */
    fci_weight_pair *split; /* (count up to a whole group, pairs) the same, split */
} fci_axis;

typedef struct fci_passes {
    /* FCI_BAND rows of RGB -> as many rows of ax->count pixels at out, `stride` bytes apart. Reads
     * up to fci_across_beyond bytes past a row's end, and writes up to fci_across_row in each. */
    void (*across)(const fci_axis *ax, const uint8_t *const rows[FCI_BAND], uint8_t *out,
                   size_t stride);
    /* Output i of each of `values` columns. rows: its first input. Reads whole strides, and where
     * it has an odd number of inputs one row past them. */
    void (*down)(const fci_axis *ax, int i, const uint8_t *rows, size_t stride, size_t values,
                 uint8_t *out);
} fci_passes;

/** The definition as it stands, and what is used: AVX2 where the compiler may (FINECLIP_MARCH),
 * else the same. Both give the same bits. */
extern const fci_passes fci_passes_plain, fci_passes_used;

/** Bytes of memory that a pass across needs behind a row of inputs. */
size_t fci_across_beyond(const fci_axis *ax);
/** Bytes of a row that it writes `count` pixels to; a multiple of 32. */
size_t fci_across_row(int count);

/** `from` resized to (height, width), of which only `window` is computed: fc_resize with its parts
 * laid open. Errors: FC_BUG where a rectangle is empty or `from` is outside the picture. */
FC_NODISCARD fc_status fci_resize_window(const fci_passes *passes, const fc_picture *in,
                                         fc_rect from, fc_filter filter, int64_t width,
                                         int64_t height, fc_rect window, uint8_t *out);

#endif
