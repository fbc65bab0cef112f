/* What `explain regions=...` finds out: a figure for every region, phrase and way of mapping, their
 * means, and the file they go to. */
#ifndef FC_LAUNCH_LOCALIZATION_H
#define FC_LAUNCH_LOCALIZATION_H

#include "launch/trained.h"

enum { FCI_CAPTION, FCI_CATEGORY, FCI_PHRASES };
enum { FCI_MAP_LAST, FCI_MAP_ALL, FCI_MAP_ALL_ABOVE, FCI_MAP_DENSE, FCI_MAP_DENSE_ABOVE, FCI_MAPS };
extern const char *const fci_phrase_name[FCI_PHRASES];
extern const char *const fci_map_name[FCI_MAPS];

typedef struct fci_localization {
    int64_t regions;
    double *lift; /* (regions, phrases, maps): fc_heatmap_lift; NaN where there is no phrase */
    double *peak; /* the same: 1 where the largest value is inside the box, else 0 */
} fci_localization;

static inline int64_t fci_localization_at(const fci_localization *l, int64_t region, int phrase,
                                          int map)
{
    FC_DASSERT(region < l->regions);
    return (region * FCI_PHRASES + phrase) * FCI_MAPS + map;
}

typedef struct fci_localization_mean {
    int64_t count; /* regions with such a phrase */
    double lift, peak;
} fci_localization_mean;

fci_localization_mean fci_localization_average(const fci_localization *l, int phrase, int map);

/** Write the figures as HDF5, format "fineclip-localization" version 1: root attributes of
 * fc_trained_describe and `store`; /phrases, /maps (names), /lift and /peak_inside (regions,
 * phrases, maps), /mean_lift and /mean_peak_inside (phrases, maps), /boxes (regions, 4) in pixels.
 */
FC_NODISCARD fc_status fci_localization_write(const fci_localization *l, const fc_trained *t,
                                              const fc_store *store, const char *path);

#endif
