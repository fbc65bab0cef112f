/* Learning rates against the formulas written out: METHOD.md section 6, and the edges of every
 * kind. */
#include "launch/schedule.h"
#include "tests/check.h"

#include <math.h>

static double cosine(double lr, double done, double all)
{
    return lr * (1 + cos(acos(-1.0) * done / all)) / 2;
}

static void test_cosine(void)
{
    fc_schedule s = {
        .kind = FC_SCHEDULE_COSINE, .lr = 1e-3, .warmup_steps = 10, .total_steps = 110};
    for (int64_t t = 0; t < 10; t++) {
        FC_CHECK_NEAR(fc_schedule_lr(&s, t), 1e-4 * (double)(t + 1), 1e-17);
    }
    for (int64_t t = 10; t < 110; t++) {
        FC_CHECK_NEAR(fc_schedule_lr(&s, t), cosine(1e-3, (double)(t - 10), 100), 1e-17);
    }
    FC_CHECK_NEAR(fc_schedule_lr(&s, 10), 1e-3, 0);     /* all of it right after the rise */
    FC_CHECK_NEAR(fc_schedule_lr(&s, 60), 5e-4, 1e-17); /* half way */
    FC_CHECK(fc_schedule_lr(&s, 109) > 0);              /* the last step still moves */
    FC_CHECK_NEAR(fc_schedule_lr(&s, 110), 0, 1e-17);
}

static void test_warmup_edges(void)
{
    fc_schedule none = {.kind = FC_SCHEDULE_COSINE, .lr = 2, .total_steps = 8};
    for (int64_t t = 0; t < 8; t++) {
        FC_CHECK_NEAR(fc_schedule_lr(&none, t), cosine(2, (double)t, 8), 1e-15);
    }
    fc_schedule one = {.kind = FC_SCHEDULE_COSINE, .lr = 2, .warmup_steps = 1, .total_steps = 5};
    FC_CHECK_NEAR(fc_schedule_lr(&one, 0), 2, 0);
    FC_CHECK_NEAR(fc_schedule_lr(&one, 1), 2, 0);
    FC_CHECK_NEAR(fc_schedule_lr(&one, 3), cosine(2, 2, 4), 1e-15);
    /* The run ends before, or just when, the rise does. */
    const int64_t totals[] = {3, 4};
    for (int i = 0; i < 2; i++) {
        fc_schedule all = {
            .kind = FC_SCHEDULE_COSINE, .lr = 2, .warmup_steps = 4, .total_steps = totals[i]};
        for (int64_t t = 0; t < totals[i]; t++) {
            FC_CHECK_NEAR(fc_schedule_lr(&all, t), 0.5 * (double)(t + 1), 1e-15);
        }
    }
}

static void test_constant(void)
{
    fc_schedule s = {
        .kind = FC_SCHEDULE_CONSTANT, .lr = 0.25, .warmup_steps = 5, .total_steps = 20};
    for (int64_t t = 0; t < 20; t++) {
        FC_CHECK_NEAR(fc_schedule_lr(&s, t), t < 5 ? 0.05 * (double)(t + 1) : 0.25, 1e-16);
    }
}

static void test_cooldown(void)
{
    const double powers[] = {1, 2, 0.5, 0};
    for (int i = 0; i < 4; i++) {
        fc_schedule s = {.kind = FC_SCHEDULE_CONSTANT_COOLDOWN,
                         .lr = 0.8,
                         .warmup_steps = 4,
                         .total_steps = 30,
                         .cooldown_steps = 10,
                         .end_lr = 0.1,
                         .power = powers[i]};
        for (int64_t t = 0; t < 30; t++) {
            double left = (double)(30 - t) / 10, want = 0.8;
            if (t < 4) {
                want = 0.2 * (double)(t + 1);
            } else if (t >= 20) {
                want = 0.1 + 0.7 * pow(left, powers[i]);
            }
            FC_CHECK_NEAR(fc_schedule_lr(&s, t), want, 1e-15);
        }
        FC_CHECK_NEAR(fc_schedule_lr(&s, 20), 0.8, 1e-15); /* where the fall begins */
    }
    fc_schedule rising = {.kind = FC_SCHEDULE_CONSTANT_COOLDOWN,
                          .lr = 1,
                          .warmup_steps = 8,
                          .total_steps = 10,
                          .cooldown_steps = 6,
                          .power = 1};
    FC_CHECK_NEAR(fc_schedule_lr(&rising, 7), 1, 0); /* the rise goes before the fall */
    FC_CHECK_NEAR(fc_schedule_lr(&rising, 8), 2.0 / 6, 1e-15);
    FC_CHECK_NEAR(fc_schedule_lr(&rising, 9), 1.0 / 6, 1e-15);
}

int main(void)
{
    test_cosine();
    test_warmup_edges();
    test_constant();
    test_cooldown();
    return fc_check_end();
}
