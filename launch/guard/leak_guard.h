/* Pictures that are trained on and evaluated on as well make scores look better than they are. */
#ifndef FC_LAUNCH_LEAK_GUARD_H
#define FC_LAUNCH_LEAK_GUARD_H

#include "launch/experiment.h"

/** Compare the training store with the evaluation stores by their pictures' hashes and do what
 *  data.leak_guard says: warn, refuse or nothing. Stores without hashes are named once.
 *  Ranks  collective; rank 0 looks
 *  Errors FC_DATA refused: how many pictures are shared, and a few by name
 *  Cost   a hash table of the smaller store, a look-up for each picture of the larger one */
FC_NODISCARD fc_status fc_leak_guard(const fc_experiment *x);

#endif
