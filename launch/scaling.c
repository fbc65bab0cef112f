#include "launch/scaling.h"

#include "core/status.h"

#include <math.h>

bool fc_scaling_fits(int ranks, int per_host)
{
    return ranks >= 1 && per_host >= 1 && (ranks <= per_host || ranks % per_host == 0);
}

static int hosts_of(const fc_cluster *c, int ranks)
{
    FC_ASSERT(fc_scaling_fits(ranks, c->per_host));
    return ranks <= c->per_host ? 1 : ranks / c->per_host;
}

double fc_scaling_rate(const fc_cluster *c, int ranks)
{
    if (hosts_of(c, ranks) == 1) {
        return c->link.bandwidth;
    }
    const double cards = c->per_host * c->network.bandwidth;
    return c->per_host == 1 ? cards : fmin(c->link.bandwidth, cards);
}

/* Seconds of the hops from a rank around the ring to the one before it, by the longer way: the hop
 * that is left out is one within a host where there are such. */
static double around(const fc_cluster *c, int ranks)
{
    const int hosts = hosts_of(c, ranks), hops = ranks - 1;
    const int between = hosts == 1 ? 0 : hosts < hops ? hosts : hops;
    return between * c->network.latency + (hops - between) * c->link.latency;
}

/* Levels of a binary tree over so many. */
static int levels(int count)
{
    int n = 0;
    for (; count > 1; count = (count + 1) / 2) {
        n++;
    }
    return n;
}

/* A few numbers up and down a tree, within hosts first. */
static double meeting(const fc_cluster *c, int ranks)
{
    const int hosts = hosts_of(c, ranks);
    return 2 * (levels(hosts) * c->network.latency + levels(ranks / hosts) * c->link.latency);
}

double fc_scaling_all_reduce(const fc_cluster *c, int ranks, double bytes)
{
    return 2 * ((ranks - 1) * (bytes / ranks) / fc_scaling_rate(c, ranks) + around(c, ranks));
}

/* bytes: each rank's own */
static double all_gather(const fc_cluster *c, int ranks, double bytes)
{
    return (ranks - 1) * bytes / fc_scaling_rate(c, ranks) + around(c, ranks);
}

/* Features of both kinds and their log-sum-exps, and what goes with them. */
static double exchange(const fc_scaling_input *in, const fc_cluster *c, int ranks)
{
    double seconds = in->meetings * meeting(c, ranks);
    for (int i = 0; i < in->pair_count; i++) {
        seconds += 2 * all_gather(c, ranks, in->pair[i].row_bytes) +
                   2 * all_gather(c, ranks, in->pair[i].wide_bytes);
    }
    return seconds;
}

/* A sharded optimizer's values: from every rank in turn to all. */
static double hand_out(const fc_scaling_input *in, const fc_cluster *c, int ranks)
{
    if (ranks == 1 || in->shard_bytes <= 0) {
        return 0;
    }
    return in->shard_bytes / fc_scaling_rate(c, ranks) +
           ranks * in->shard_messages * around(c, ranks);
}

/* Sums of gradients: how long they take, and what is left of them when backward ends. */
static void sum_gradients(const fc_scaling_input *in, const fc_cluster *c, int ranks,
                          fc_scaling *out)
{
    double end = 0;
    for (int i = 0; ranks > 1 && i < in->bucket_count; i++) {
        const double seconds = fc_scaling_all_reduce(c, ranks, in->bucket[i].bytes);
        end = fmax(end, in->bucket[i].ready * in->window) + seconds;
        out->reduce += seconds;
    }
    out->exposed = fmax(0, end - in->window);
}

fc_scaling fc_scaling_predict(const fc_scaling_input *in, const fc_cluster *cluster, int ranks)
{
    /* What the measured ranks exchanged is no computing of theirs. */
    fc_cluster measured = *cluster;
    measured.per_host = in->per_host;
    const double own = fmax(0, in->forward - exchange(in, &measured, in->ranks));
    const double update = fmax(0, in->update - hand_out(in, &measured, in->ranks));
    const double share = in->shard_bytes > 0 ? (double)in->ranks / ranks : 1;
    fc_scaling out = {.compute = own + in->backward + update * share};
    for (int i = 0; i < in->pair_count; i++) {
        out.compute += (ranks - in->ranks) * in->pair[i].column_seconds;
        out.contrastive += (ranks - 1) * in->pair[i].column_seconds;
    }
    out.features = exchange(in, cluster, ranks);
    out.update_wait = hand_out(in, cluster, ranks);
    sum_gradients(in, cluster, ranks, &out);
    out.step = out.compute + out.features + out.exposed + out.update_wait;
    out.images_per_second = ranks * in->images / out.step;
    out.efficiency = ranks == 1 ? 1 : fc_scaling_predict(in, cluster, 1).step / out.step;
    return out;
}
