/* Where a step's time goes, by kernel: while a tape has a profile, every kernel is waited for
 * before and after, which makes the whole slower and each kernel's time its own. */
#ifndef FC_CORE_PROFILE_H
#define FC_CORE_PROFILE_H

#include <stdint.h>

enum { FC_PROFILE_KERNELS = 64 };

typedef struct fc_profile {
    int count;
    struct {
        const char *kernel; /* "linear_fwd"; a literal */
        double seconds;
        int64_t calls;
    } row[FC_PROFILE_KERNELS]; /* in the order of their first calls */
} fc_profile;

#endif
