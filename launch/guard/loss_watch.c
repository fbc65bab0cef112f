#include "launch/guard/loss_watch.h"

#include <math.h>

static const double least_share = 1e-3; /* of the mean */

double fc_loss_deviation(const fc_loss_watch *w)
{
    return fmax(sqrt(w->variance), least_share * fabs(w->mean));
}

fc_loss_verdict fc_loss_judge(const fc_loss_watch *w, double loss, bool finite, double sigma,
                              int64_t warmup)
{
    if (!finite || !isfinite(loss)) {
        return FC_LOSS_NOT_FINITE;
    }
    bool watched = sigma > 0 && w->count > 0 && w->count >= warmup;
    return watched && loss - w->mean > sigma * fc_loss_deviation(w) ? FC_LOSS_SPIKE : FC_LOSS_GOOD;
}

void fc_loss_take(fc_loss_watch *w, double loss)
{
    w->count++;
    double share = 1.0 / (double)(w->count < FC_LOSS_HORIZON ? w->count : FC_LOSS_HORIZON);
    double off = loss - w->mean;
    w->mean += share * off;
    w->variance = (1 - share) * (w->variance + share * off * off);
}
