/* A model of scaling: how long a step takes on N ranks, out of what was measured on fewer and of
 * what their links carry. Arithmetic alone.
 *
 * Every rank has the same pictures a step whatever N is (weak scaling). On other numbers of ranks
 * differ: what ranks exchange, the columns of the similarity matrices that a rank's rows meet, and
 * a rank's share of a sharded optimizer.
 *
 * Assumed: large arrays go around rings through all ranks, as NCCL's do, one through every card of
 * a host, so that a ring's rate is the lower of a rank's link within the host and of all cards of
 * the host together. Small ones go up and down a binary tree. Sums of gradients go out one after
 * the other in the order of the buckets and cost the work beside them nothing; everything else is
 * waited for. Ranks are equally fast, links carry what is said of them, and loading pictures takes
 * no time. */
#ifndef FC_LAUNCH_SCALING_H
#define FC_LAUNCH_SCALING_H

#include <stdbool.h>

typedef struct fc_link {
    double bandwidth; /* bytes a second, each direction, of one rank */
    double latency;   /* seconds a hop */
} fc_link;

typedef struct fc_cluster {
    int per_host;    /* ranks */
    fc_link link;    /* between ranks of a host */
    fc_link network; /* between hosts: one rank's share of the host's cards */
} fc_cluster;

/* Part of the gradients, in the order they go out. */
typedef struct fc_scaling_bucket {
    double bytes;
    double ready; /* when, as a share of the window: 0 its begin, 1 its end */
} fc_scaling_bucket;

/* Two kinds of features contrasted over all ranks, of every rank the same number of rows. */
typedef struct fc_scaling_pair {
    double row_bytes;      /* a rank's rows of one kind */
    double wide_bytes;     /* a value a row */
    double column_seconds; /* what the columns of one more rank cost */
} fc_scaling_pair;

/* Of one rank, measured. */
typedef struct fc_scaling_input {
    int ranks, per_host; /* that took part in the measurement */
    double images;       /* pictures a rank and step */
    double forward;      /* seconds until the losses are known */
    double backward;     /* seconds after that without waiting for gradients */
    double window;       /* its last part, while which gradients go out; at most backward */
    double update;       /* seconds */
    int bucket_count;    /* 0: gradients are not summed */
    const fc_scaling_bucket *bucket;
    int pair_count;
    const fc_scaling_pair *pair;
    int meetings;       /* exchanges of a few numbers a step */
    double shard_bytes; /* of all values a sharded optimizer hands out; 0: it is not sharded */
    int shard_messages; /* each rank's part goes out in so many arrays */
} fc_scaling_input;

/* Seconds. step = compute + features + exposed + update_wait. */
typedef struct fc_scaling {
    double compute;     /* forward, backward and update, without the other ranks */
    double contrastive; /* the part of compute that more columns add over one rank's */
    double features;    /* exchange of features and of small numbers */
    double reduce;      /* sums of gradients, one after the other */
    double exposed;     /* of that what backward does not hide */
    double update_wait; /* for the values that other ranks updated */
    double step, images_per_second;
    double efficiency; /* images/s a rank over those of one rank alone */
} fc_scaling;

/** Ranks that fill their hosts: at most one host's, or a multiple of it. */
bool fc_scaling_fits(int ranks, int per_host);
/** Bytes a second of a ring through so many ranks; ranks fit. */
double fc_scaling_rate(const fc_cluster *cluster, int ranks);
/** Seconds of the sum of `bytes` over so many ranks; 0 on one. */
double fc_scaling_all_reduce(const fc_cluster *cluster, int ranks, double bytes);
/** Prediction for `ranks`, which fit. On one rank: the measured seconds of one rank, exactly. */
fc_scaling fc_scaling_predict(const fc_scaling_input *in, const fc_cluster *cluster, int ranks);

#endif
