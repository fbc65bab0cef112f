/* Sorting with bounded memory: the same order with and without runs on disk, equal keys in the
 * order of adding, records larger than what is read ahead. */
#include "core/memory.h"
#include "core/rng.h"
#include "data/file.h"
#include "data/prepare/pack.h"
#include "data/prepare/spill.h"
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

enum { RECORDS = 5000 };

static size_t payload(int64_t i, uint8_t *out)
{
    size_t bytes = i % 1000 == 7 ? 200000 : (size_t)(8 + i % 50);
    memset(out, (int)(i % 251), bytes);
    memcpy(out, &i, sizeof i);
    return bytes;
}

static const char *folder(void)
{
    static char path[512];
    snprintf(path, sizeof path, "%s", fc_check_temp("x"));
    *strrchr(path, '/') = '\0';
    return path;
}

/* The order of `memory` bytes at a time as the numbers of the records. */
static void order(size_t memory, int64_t *out)
{
    fci_spill *s;
    uint8_t *bytes = fc_alloc(200000, 1), *want = fc_alloc(200000, 1);
    fc_rng rng = fc_rng_stream(5, FC_RNG_TEST, 0, 0);
    fci_spill_create(&s, folder(), memory);
    for (int64_t i = 0; i < RECORDS; i++) {
        size_t count = payload(i, bytes);
        FC_CHECK_OK(fci_spill_add(s, fc_rng_u32(&rng) % 40, fc_rng_u32(&rng) % 9, bytes, count));
    }
    FC_CHECK_INT(fci_spill_count(s), RECORDS);
    const fci_record *r;
    uint64_t last[2] = {0, 0};
    int64_t n = 0, last_number = -1;
    while (FC_CHECK_OK(fci_spill_next(s, &r)) && r != NULL && n < RECORDS) {
        memcpy(&out[n], r->data, sizeof *out);
        size_t count = payload(out[n], want);
        bool same = r->key[0] == last[0] && r->key[1] == last[1];
        FC_CHECK(r->bytes == count && memcmp(r->data, want, count) == 0);
        FC_CHECK(r->key[0] > last[0] || (r->key[0] == last[0] && r->key[1] >= last[1]));
        FC_CHECK(!same || out[n] > last_number);
        last[0] = r->key[0];
        last[1] = r->key[1];
        last_number = out[n++];
    }
    FC_CHECK(r == NULL);
    FC_CHECK_INT(n, RECORDS);
    fci_spill_destroy(&s);
    fc_free(&bytes);
    fc_free(&want);
}

static void nothing(void)
{
    fci_spill *s;
    const fci_record *r;
    fci_spill_create(&s, "/nowhere", 100);
    FC_CHECK_OK(fci_spill_next(s, &r));
    FC_CHECK(r == NULL);
    fci_spill_destroy(&s);
    fci_spill_create(&s, "/nowhere", 100);
    FC_CHECK_OK(fci_spill_add(s, 1, 1, "0123456789", 10));
    const uint8_t more[90] = {0};
    FC_CHECK_FAILS(fci_spill_add(s, 1, 1, more, sizeof more), FC_RUNTIME, "/nowhere");
    fci_spill_destroy(&s);
}

static void packing(void)
{
    fci_bytes b = {0};
    fci_pack_i64(&b, INT64_MIN);
    fci_pack_text(&b, "words");
    fci_pack_text(&b, NULL);
    fci_pack_real(&b, -0.5);
    fci_pack_i64(&b, 3);
    fci_unpack u = {b.data, b.count, false};
    FC_CHECK(fci_unpack_i64(&u) == INT64_MIN);
    FC_CHECK_STR(fci_unpack_text(&u), "words");
    FC_CHECK(fci_unpack_text(&u) == NULL && !u.bad);
    double half = fci_unpack_real(&u);
    FC_CHECK_NEAR(half, -0.5, 0);
    FC_CHECK(fci_unpack_count(&u, 1) == 0 && u.bad); /* three items, and nothing is left */
    for (size_t cut = 0; cut < b.count; cut++) {
        u = (fci_unpack){b.data, cut, false};
        fci_unpack_i64(&u);
        fci_unpack_text(&u);
        fci_unpack_text(&u);
        fci_unpack_real(&u);
        fci_unpack_i64(&u);
        FC_CHECK(u.bad);
    }
    fc_free(&b.data);
}

int main(void)
{
    int64_t *whole = fc_alloc(RECORDS, sizeof *whole), *runs = fc_alloc(RECORDS, sizeof *runs);
    order((size_t)1 << 30, whole);
    for (size_t memory = 30000; memory < 2000000; memory *= 4) {
        order(memory, runs);
        FC_CHECK(memcmp(whole, runs, RECORDS * sizeof *runs) == 0);
    }
    fc_free(&whole);
    fc_free(&runs);
    nothing();
    packing();
    return fc_check_end();
}
