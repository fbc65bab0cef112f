/* How well maps point at what a phrase names: over all regions of a store, the share of a map's
 * mass that lies inside the region's box, over the box's share of the picture. */
#ifndef FC_LAUNCH_EXPLAIN_REGIONS_H
#define FC_LAUNCH_EXPLAIN_REGIONS_H

#include "launch/trained.h"

/** Maps of every region of the store for its own caption and for its category, each way of mapping;
 * a table on stdout and `file` (HDF5, format "fineclip-localization"), both by rank 0. Pictures are
 * shared over ranks; the figures do not depend on how many there are. Collective.
 *  Errors  FC_DATA the store has no region with a caption or a category with prompts */
FC_NODISCARD fc_status fc_explain_regions(fc_trained *t, fc_store *store, const char *file);

#endif
