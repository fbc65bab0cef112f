/* Backends that compute nothing: what runs on one takes the memory that it would take, and none of
 * it is touched. A rehearsed step tells the peaks of its memory exactly, in the time its calls take
 * (launch/memory_plan.h). */
#ifndef FC_CORE_REHEARSAL_H
#define FC_CORE_REHEARSAL_H

#include "core/backend.h"

/** As a backend that is on the host, or is not, which then has lanes: code goes the same ways.
 * Addresses are good, their values zeros where nobody writes; kernels, fills and copies within its
 * memory do nothing; downloads are zeros; what is held is counted. What kernels take of scratch
 * memory is not seen. */
const fc_backend *fc_rehearsal(bool on_host);

#endif
