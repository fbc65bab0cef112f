/* fctest: np=1,2,4 timeout=60
 * Gradients summed bucket by bucket, exactly for whole numbers, with frozen parts in the middle and
 * parameters that only some ranks used; and AdamW with its state split over ranks against one that
 * keeps all of it. */
#include "core/adamw.h"
#include "core/grad_reduce.h"
#include "core/memory.h"
#include "core/rng.h"
#include "launch/dist.h"
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

enum { COUNT = 9 };
static const int64_t SIZES[COUNT] = {7, 120, 1, 64, 3, 33, 5, 250, 2};
static const bool FROZEN[COUNT] = {false, false, false, true, true, false, true, false, false};
enum { FILLER = 4 };

static fc_params *make_params(fc_dtype dtype)
{
    fc_params *p = fc_params_create(dtype);
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "part%d.weight", i);
        int64_t shape[2] = {1, SIZES[i]};
        (void)(i == FILLER ? fc_params_add_filler(p, SIZES[i]) : fc_params_add(p, name, 2, shape));
        if (FROZEN[i]) {
            (void)fc_params_freeze(p, i, 1);
        }
    }
    fc_params_commit(p);
    return p;
}

static void put(void *base, fc_dtype dtype, int64_t i, double value)
{
    if (dtype == FC_F64) {
        ((double *)base)[i] = value;
    } else {
        ((float *)base)[i] = (float)value;
    }
}

static double value(const void *base, fc_dtype dtype, int64_t i)
{
    return dtype == FC_F64 ? ((const double *)base)[i] : (double)((const float *)base)[i];
}

/* Whole numbers whose sums over four ranks are exact in float, too. */
static double whole(int step, int rank, int64_t i)
{
    return (double)((i * 7919 + rank * 104729 + step * 31) % 200001) - 100000;
}

/* Parameter i is used by this rank, 1 or 2 times. Part 2 by the last rank alone. */
static int uses(int i, int rank, int ranks)
{
    return FROZEN[i] || (i == 2 && rank != ranks - 1) ? 0 : 1 + (i + rank) % 2;
}

static void test_sums(fc_dtype dtype, size_t bucket_bytes)
{
    fc_comm *comm = fc_dist_comm();
    int rank = fc_comm_rank(comm), ranks = fc_comm_size(comm);
    fc_params *p = make_params(dtype);
    fc_grad_reduce *r = fc_grad_reduce_create(p, comm, bucket_bytes);
    for (int step = 0; step < 3; step++) {
        fc_params_zero_grad(p);
        for (int i = 0; i < COUNT; i++) {
            p->items[i].pending = uses(i, rank, ranks);
        }
        fc_grad_reduce_begin(r);
        /* Backward goes from the last parameter to the first, on odd ranks in another order. */
        for (int k = COUNT - 1; k >= 0; k--) {
            int i = rank % 2 == 1 ? (k + 4) % COUNT : k;
            while (p->items[i].pending > 0) {
                for (int64_t e = 0; e < SIZES[i] && p->items[i].pending == 1; e++) {
                    put(fc_param_grad(p, i), dtype, e,
                        whole(step, rank, p->items[i].grad_offset + e));
                }
                p->items[i].touched = true;
                if (--p->items[i].pending == 0) {
                    p->on_ready(p->on_ready_ctx, i);
                }
            }
        }
        double waited = -1;
        FC_CHECK_OK(fc_grad_reduce_finish(r, &waited));
        FC_CHECK(waited >= 0 && p->on_ready == NULL);
        int wrong = 0;
        for (int i = 0; i < COUNT; i++) {
            FC_CHECK(p->items[i].touched == !FROZEN[i]);
            for (int64_t e = 0; e < SIZES[i] && !FROZEN[i]; e++) {
                double want = 0;
                for (int other = 0; other < ranks; other++) {
                    want += uses(i, other, ranks) > 0
                                ? whole(step, other, p->items[i].grad_offset + e)
                                : 0;
                }
                wrong += value(fc_param_grad(p, i), dtype, e) != want;
            }
        }
        FC_CHECK_INT(wrong, 0);
    }
    fc_grad_reduce_destroy(&r);
    fc_params_destroy(&p);
}

static void fill(fc_params *p, int step)
{
    fc_rng rng = fc_rng_stream(23, FC_RNG_TEST, (uint64_t)step, 0);
    for (int i = 0; i < COUNT; i++) {
        p->items[i].touched = !FROZEN[i] && !(i == 5 && step == 2);
        for (int64_t e = 0; e < SIZES[i]; e++) {
            double x = fc_rng_normal(&rng);
            if (step < 0) {
                put(fc_param_data(p, i), p->dtype, e, x);
            } else if (!FROZEN[i]) {
                put(fc_param_grad(p, i), p->dtype, e, x);
            }
        }
    }
}

static void same_bytes(const char *what, const void *a, const void *b, int64_t count,
                       fc_dtype dtype)
{
    fc_check_true(memcmp(a, b, (size_t)count * fc_dtype_bytes(dtype)) == 0, __FILE__, __LINE__,
                  "%s: other bits", what);
}

static void test_shards(fc_dtype dtype, double clip)
{
    fc_comm *comm = fc_dist_comm();
    fc_params *p[2] = {make_params(dtype), make_params(dtype)};
    fc_adamw *a[2];
    size_t bytes = (size_t)p[0]->grad_total * fc_dtype_bytes(dtype);
    void *m[2], *v[2];
    for (int s = 0; s < 2; s++) {
        fc_adamw_options options = {.weight_decay = 0.1,
                                    .beta1 = 0.9,
                                    .beta2 = 0.98,
                                    .eps = 1e-8,
                                    .clip_grad_norm = clip,
                                    .shard = s == 1};
        a[s] = fc_adamw_create(p[s], comm, &options);
        fill(p[s], -1);
        m[s] = fc_alloc(bytes, 1);
        v[s] = fc_alloc(bytes, 1);
    }
    FC_CHECK(a[1]->count * fc_comm_size(comm) <= p[1]->grad_total + fc_comm_size(comm));
    for (int step = 0; step < 6; step++) {
        for (int s = 0; s < 2; s++) {
            fill(p[s], step);
            FC_CHECK_OK(fc_adamw_step(a[s], 0.01, fc_adamw_grad_norm(a[s])));
            FC_CHECK_OK(fc_adamw_gather(a[s], m[s], v[s]));
        }
        same_bytes("values", p[1]->data, p[0]->data, p[0]->total, dtype);
        same_bytes("m", m[1], m[0], p[0]->grad_total, dtype);
        same_bytes("v", v[1], v[0], p[0]->grad_total, dtype);
        if (step == 3) { /* moments come back as they went out, whoever keeps them */
            memset(a[1]->m, 0xff, (size_t)a[1]->count * fc_dtype_bytes(dtype));
            memset(a[1]->v, 0xff, (size_t)a[1]->count * fc_dtype_bytes(dtype));
            fc_adamw_scatter(a[1], m[0], v[0]);
        }
    }
    for (int s = 0; s < 2; s++) {
        fc_free(&m[s]);
        fc_free(&v[s]);
        fc_adamw_destroy(&a[s]);
        fc_params_destroy(&p[s]);
    }
}

int main(void)
{
    FC_CHECK_OK(fc_dist_start());
    const size_t buckets[] = {1, 300, 1 << 20};
    for (int i = 0; i < 3; i++) {
        test_sums(FC_F32, buckets[i]);
        test_sums(FC_F64, buckets[i]);
    }
    test_shards(FC_F32, 0);
    test_shards(FC_F64, 0);
    test_shards(FC_F64, 1);
    int failed = fc_check_end();
    fc_dist_stop();
    return failed;
}
