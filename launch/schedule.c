#include "launch/schedule.h"

#include <math.h>

static double cooled(const fc_schedule *s, int64_t t)
{
    int64_t start = s->total_steps - s->cooldown_steps;
    if (t < start || s->cooldown_steps <= 0) {
        return s->lr;
    }
    double x = (double)(t - start) / (double)s->cooldown_steps;
    return s->end_lr + (s->lr - s->end_lr) * pow(1 - x, s->power);
}

double fc_schedule_lr(const fc_schedule *s, int64_t t)
{
    const double pi = 3.14159265358979323846;
    if (t < s->warmup_steps) {
        return s->lr * (double)(t + 1) / (double)s->warmup_steps;
    }
    switch (s->kind) {
    case FC_SCHEDULE_COSINE: {
        int64_t span = s->total_steps - s->warmup_steps;
        double x = span > 0 ? (double)(t - s->warmup_steps) / (double)span : 0;
        return s->lr * (1 + cos(pi * x)) / 2;
    }
    case FC_SCHEDULE_CONSTANT:
        break;
    case FC_SCHEDULE_CONSTANT_COOLDOWN:
        return cooled(s, t);
    }
    return s->lr;
}
