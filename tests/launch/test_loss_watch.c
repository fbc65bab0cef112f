/* What counts as a bad loss: warm-up, deviations, and numbers that are none. */
#include "launch/guard/loss_watch.h"
#include "tests/check.h"

#include <math.h>

static void take_all(fc_loss_watch *w, int n, const double *losses)
{
    for (int i = 0; i < n; i++) {
        fc_loss_take(w, losses[i]);
    }
}

int main(void)
{
    fc_loss_watch w = {0};
    FC_CHECK_INT(fc_loss_judge(&w, 1e30, true, 3, 1), FC_LOSS_GOOD); /* nothing to compare with */
    take_all(&w, 4, (const double[]){1, 2, 3, 6});
    FC_CHECK_INT(w.count, 4);
    FC_CHECK_NEAR(w.mean, 3, 1e-12); /* plain mean and variance of the first ones */
    FC_CHECK_NEAR(w.variance, 3.5, 1e-12);
    FC_CHECK_NEAR(fc_loss_deviation(&w), sqrt(3.5), 1e-12);
    double edge = 3 + 2 * sqrt(3.5);
    FC_CHECK_INT(fc_loss_judge(&w, edge + 1e-9, true, 2, 4), FC_LOSS_SPIKE);
    FC_CHECK_INT(fc_loss_judge(&w, edge - 1e-9, true, 2, 4), FC_LOSS_GOOD);
    FC_CHECK_INT(fc_loss_judge(&w, edge + 1e-9, true, 2, 5), FC_LOSS_GOOD); /* warming up */
    FC_CHECK_INT(fc_loss_judge(&w, 1e30, true, 0, 1), FC_LOSS_GOOD);        /* switched off */
    FC_CHECK_INT(fc_loss_judge(&w, -1e30, true, 2, 1), FC_LOSS_GOOD);       /* less is no spike */
    FC_CHECK_INT(fc_loss_judge(&w, NAN, true, 0, 100), FC_LOSS_NOT_FINITE);
    FC_CHECK_INT(fc_loss_judge(&w, INFINITY, true, 2, 1), FC_LOSS_NOT_FINITE);
    FC_CHECK_INT(fc_loss_judge(&w, 1, false, 2, 1), FC_LOSS_NOT_FINITE); /* its gradient is not */

    /* Losses that stay the same do not make spikes of rounding. */
    fc_loss_watch still = {0};
    for (int i = 0; i < 1000; i++) {
        fc_loss_take(&still, 4);
    }
    FC_CHECK_NEAR(still.variance, 0, 1e-20);
    FC_CHECK_INT(fc_loss_judge(&still, 4.003, true, 6, 100), FC_LOSS_GOOD);
    FC_CHECK_INT(fc_loss_judge(&still, 4.1, true, 6, 100), FC_LOSS_SPIKE);

    /* It follows: what was long ago no longer counts. */
    for (int i = 0; i < 2000; i++) {
        fc_loss_take(&still, i % 2 == 0 ? 1.9 : 2.1);
    }
    FC_CHECK_NEAR(still.mean, 2, 1e-2);
    FC_CHECK_NEAR(fc_loss_deviation(&still), 0.1, 1e-2);
    return fc_check_end();
}
