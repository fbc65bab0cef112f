/* One picture of a contact sheet: the picture with numbered boxes, below it each box's crop,
 * category and caption. */
#ifndef FC_LAUNCH_INSPECT_CARD_H
#define FC_LAUNCH_INSPECT_CARD_H

#include "data/store/store.h"

#include <cairo.h>

enum {
    FCI_CARD_WIDTH = 420,
    FCI_CARD_PICTURE = 320, /* height of a picture at most */
    FCI_CARD_BOXES = 8,     /* drawn at most */
};

/** Colour of box `i` of a picture, each in 0..255. */
void fci_card_colour(int i, int rgb[3]);

/** Height of an image's card; with `draw` it is drawn at (x, y), too. A picture that does not
 * decode is drawn as an empty frame with the reason. Errors those of reading sentences */
FC_NODISCARD fc_status fci_card(cairo_t *cr, fc_store *s, int64_t image, double x, double y,
                                bool draw, double *height);

#endif
