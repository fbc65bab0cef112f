/* The model of scaling: its limits, cases worked out by hand, and the bytes it is given against
 * those that are summed. */
#include "core/grad_reduce.h"
#include "core/memory.h"
#include "launch/scaling.h"
#include "tests/check.h"

#include <math.h>

static const fc_scaling_bucket buckets[] = {{800, 0.25}, {1600, 0.5}, {400, 1}};
static const fc_scaling_pair pairs[] = {{64, 16, 0.01}, {320, 80, 0.05}};

static fc_scaling_input measured(void)
{
    return (fc_scaling_input){.ranks = 1,
                              .per_host = 1,
                              .images = 4,
                              .forward = 1,
                              .backward = 2,
                              .window = 2,
                              .update = 0.5,
                              .bucket_count = 3,
                              .bucket = buckets,
                              .pair_count = 2,
                              .pair = pairs,
                              .meetings = 5};
}

static const fc_cluster endless = {.per_host = 4, .link = {INFINITY, 0}, .network = {INFINITY, 0}};

static void test_one_rank(void)
{
    const fc_cluster slow = {.per_host = 4, .link = {10, 1}, .network = {1, 10}};
    fc_scaling_input in = measured();
    in.shard_bytes = 1000;
    in.shard_messages = 2;
    fc_scaling s = fc_scaling_predict(&in, &slow, 1);
    FC_CHECK_NEAR(s.step, 3.5, 0);
    FC_CHECK_NEAR(s.compute, 3.5, 0);
    FC_CHECK_NEAR(s.features + s.reduce + s.exposed + s.update_wait + s.contrastive, 0, 0);
    FC_CHECK_NEAR(s.efficiency, 1, 0);
    FC_CHECK_NEAR(s.images_per_second, 4 / 3.5, 1e-15);
}

/* Links that cost nothing leave the work, and the columns that more ranks bring. */
static void test_endless_links(void)
{
    const fc_scaling_input in = measured();
    const int ranks[] = {2, 4, 8, 64};
    for (int i = 0; i < 4; i++) {
        fc_scaling s = fc_scaling_predict(&in, &endless, ranks[i]);
        FC_CHECK_NEAR(s.step, 3.5 + 0.06 * (ranks[i] - 1), 1e-12);
        FC_CHECK_NEAR(s.contrastive, 0.06 * (ranks[i] - 1), 1e-12);
        FC_CHECK_NEAR(s.exposed + s.features + s.update_wait, 0, 0);
        FC_CHECK_NEAR(s.efficiency, 3.5 / s.step, 1e-12);
    }
    fc_scaling_input sharded = in;
    sharded.shard_bytes = 1000;
    FC_CHECK_NEAR(fc_scaling_predict(&sharded, &endless, 8).compute, 3 + 0.5 / 8 + 0.06 * 7, 1e-12);
}

/* Two ranks at 1000 bytes a second, 1 ms a hop. A sum of b bytes: 2 * (b/2 / 1000 + 0.001). */
static void test_by_hand(void)
{
    const fc_cluster two = {.per_host = 2, .link = {1000, 1e-3}, .network = {1, 1}};
    fc_scaling_input in = measured();
    FC_CHECK_NEAR(fc_scaling_all_reduce(&two, 2, 800), 0.802, 1e-12);
    /* Ready at 0.5, 1, 2: the first takes 0.5 to 1.302, the second to 2.904, the third to 3.306. */
    fc_scaling s = fc_scaling_predict(&in, &two, 2);
    FC_CHECK_NEAR(s.reduce, 0.802 + 1.602 + 0.402, 1e-12);
    FC_CHECK_NEAR(s.exposed, 3.306 - 2, 1e-12);
    /* Five meetings up and down one level; 2 * (64 + 16 + 320 + 80) bytes in eight gathers. */
    FC_CHECK_NEAR(s.features, 5 * 2e-3 + 0.96 + 8e-3, 1e-12);
    FC_CHECK_NEAR(s.step, 3.5 + 0.06 + s.exposed + s.features, 1e-12);
    /* Nothing to hide behind. */
    const fc_scaling_bucket late[] = {{800, 1}, {1600, 1}, {400, 1}};
    in.bucket = late;
    s = fc_scaling_predict(&in, &two, 2);
    FC_CHECK_NEAR(s.exposed, s.reduce, 1e-12);
    in.window = 0; /* or no time for it */
    in.bucket = buckets;
    s = fc_scaling_predict(&in, &two, 2);
    FC_CHECK_NEAR(s.exposed, s.reduce, 1e-12);
    in.bucket_count = 0;
    FC_CHECK_NEAR(fc_scaling_predict(&in, &two, 2).exposed, 0, 0);
    /* Each rank's half goes out in two arrays over one hop. */
    in.shard_bytes = 500;
    in.shard_messages = 2;
    s = fc_scaling_predict(&in, &two, 2);
    FC_CHECK_NEAR(s.update_wait, 0.5 + 4e-3, 1e-12);
    FC_CHECK_NEAR(s.compute, 3 + 0.25 + 0.06, 1e-12);
}

/* 12 ranks on 3 hosts: of 11 hops around the ring 3 cross hosts; four cards a host. */
static void test_hosts(void)
{
    const fc_cluster c = {.per_host = 4, .link = {1000, 1}, .network = {100, 50}};
    FC_CHECK_NEAR(fc_scaling_rate(&c, 4), 1000, 0);
    FC_CHECK_NEAR(fc_scaling_rate(&c, 12), 400, 0);
    FC_CHECK_NEAR(fc_scaling_all_reduce(&c, 12, 4800), 2 * 11 * 400 / 400.0 + 2 * (3 * 50 + 8),
                  1e-9);
    fc_scaling_input in = measured();
    in.pair_count = 0;
    /* Up and down: 2 levels over 3 hosts, 2 within one. */
    FC_CHECK_NEAR(fc_scaling_predict(&in, &c, 12).features, 5 * 2 * (2 * 50 + 2), 1e-9);
    const fc_cluster fast = {.per_host = 4, .link = {1000, 1}, .network = {300, 50}};
    FC_CHECK_NEAR(fc_scaling_rate(&fast, 12), 1000, 0); /* the link decides */
    const fc_cluster alone = {.per_host = 1, .link = {10, 1}, .network = {100, 50}};
    FC_CHECK_NEAR(fc_scaling_rate(&alone, 3), 100, 0); /* no link within a host is used */
    FC_CHECK_NEAR(fc_scaling_all_reduce(&alone, 3, 300), 2 * 2 * 100 / 100.0 + 2 * 2 * 50, 1e-9);
    FC_CHECK(fc_scaling_fits(1, 8) && fc_scaling_fits(3, 8) && fc_scaling_fits(16, 8));
    FC_CHECK(!fc_scaling_fits(12, 8) && !fc_scaling_fits(0, 8) && !fc_scaling_fits(8, 0));
}

static void test_monotonic(void)
{
    fc_scaling_input in = measured();
    in.shard_bytes = 2800;
    in.shard_messages = 1;
    const int ranks[] = {2, 4, 8, 32};
    for (int i = 0; i < 4; i++) {
        fc_cluster c = {.per_host = 4, .link = {100, 1e-3}, .network = {20, 1e-2}};
        double before = INFINITY;
        for (int k = 0; k < 20; k++) {
            const double step = fc_scaling_predict(&in, &c, ranks[i]).step;
            FC_CHECK(step < before); /* up to where everything but the latency is hidden */
            before = step;
            c.link.bandwidth *= 1.5;
            c.network.bandwidth *= 1.5;
        }
        c.link.latency *= 2;
        FC_CHECK(fc_scaling_predict(&in, &c, ranks[i]).step > before);
    }
}

/* Measured on ranks that exchange: on as many the forward pass and the update are as they were. */
static void test_measured_on_several(void)
{
    const fc_cluster two = {.per_host = 2, .link = {1000, 1e-3}, .network = {1, 1}};
    fc_scaling_input in = measured();
    in.ranks = in.per_host = 2;
    in.shard_bytes = 100;
    in.shard_messages = 1;
    in.bucket_count = 0;
    fc_scaling s = fc_scaling_predict(&in, &two, 2);
    FC_CHECK_NEAR(s.step, 3.5, 1e-12);
    FC_CHECK(s.features > 0 && s.update_wait > 0);
    /* One rank has the other's half of the update to do, and fewer columns. */
    s = fc_scaling_predict(&in, &two, 1);
    FC_CHECK_NEAR(s.step, 1 - (5 * 2e-3 + 0.96 + 8e-3) - 0.06 + 2 + 2 * (0.5 - 0.1 - 2e-3), 1e-12);
}

/* The buckets of a small set of parameters are what is trained of it, from its end to its start. */
static void test_bytes(void)
{
    fc_params *p = fc_params_create(FC_F32);
    const int64_t shapes[4][2] = {{3, 5}, {7, 2}, {4, 4}, {1, 6}};
    const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        fc_params_add(p, names[i], 2, shapes[i]);
    }
    FC_CHECK_INT(fc_params_freeze(p, 1, 1), 1);
    fc_params_commit(p);
    fc_comm *comm;
    FC_CHECK_OK(fc_comm_create_self(&comm));
    fc_grad_reduce *r = fc_grad_reduce_create(p, comm, 40);
    fc_grad_reduce_begin(r);
    FC_CHECK_OK(fc_grad_reduce_finish(r, NULL));
    const double want[] = {(6 + 16) * 4, 15 * 4}; /* d and c fill one, b is frozen */
    double total = 0;
    FC_CHECK_INT(fc_grad_reduce_count(r), 2);
    for (int i = 0; i < fc_grad_reduce_count(r); i++) {
        double bytes, ready;
        fc_grad_reduce_bucket(r, i, &bytes, &ready);
        FC_CHECK_NEAR(bytes, want[i], 0);
        FC_CHECK_NEAR(ready, 1, 0); /* there was no backward */
        total += bytes;
    }
    FC_CHECK_NEAR(total, 4.0 * (double)fc_params_trained_size(p), 0);
    fc_grad_reduce_destroy(&r);
    fc_comm_destroy(&comm);
    fc_params_destroy(&p);
}

int main(void)
{
    test_one_rank();
    test_endless_links();
    test_by_hand();
    test_hosts();
    test_monotonic();
    test_measured_on_several();
    test_bytes();
    return fc_check_end();
}
