/* The one thing in EXIF that matters to pixels. */
#ifndef FC_DATA_EXIF_H
#define FC_DATA_EXIF_H

#include <stddef.h>
#include <stdint.h>

/** Orientation of a JPEG, 1 to 8; 1 (upright) also where it says none. Nothing here turns pictures:
 * boxes of COCO and of detectors refer to pixels as they are stored, and PIL opens them that way.
 */
int fci_exif_orientation(const uint8_t *jpeg, size_t count);

#endif
