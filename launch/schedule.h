/* The learning rate of a step (METHOD.md section 6). */
#ifndef FC_LAUNCH_SCHEDULE_H
#define FC_LAUNCH_SCHEDULE_H

#include <stdint.h>

typedef enum {
    FC_SCHEDULE_COSINE,
    FC_SCHEDULE_CONSTANT,
    FC_SCHEDULE_CONSTANT_COOLDOWN
} fc_schedule_kind;

typedef struct fc_schedule {
    fc_schedule_kind kind;
    double lr;            /* at the top */
    int64_t warmup_steps; /* linear, (t + 1) / warmup */
    int64_t total_steps;
    int64_t cooldown_steps; /* constant_cooldown: the last steps fall from lr to end_lr as (1 -
                               x)^power */
    double end_lr, power;
} fc_schedule;

/** Learning rate of step t, counted from 0. */
double fc_schedule_lr(const fc_schedule *s, int64_t t);

#endif
