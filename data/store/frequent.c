#include "data/store/frequent.h"

#include "core/memory.h"
#include "data/store/hdf5_direct.h"
#include "data/store/store_files.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 17, MOST_KEPT = SLOTS / 2, BLOCK = 8192, MOST_BLOCK_IDS = 1 << 21 };

typedef struct entry {
    uint64_t key; /* hash of a row; 0: free */
    int64_t count, item;
} entry;

typedef struct summary {
    entry *entry; /* (SLOTS) */
    int kept;
    int64_t dropped; /* what any count may be short of */
    bool counting;   /* the second pass: rows that are not here are of no interest */
} summary;

/* Two rows of 23 million share a 64-bit hash with a chance of 1e-5, which only shows if one of
 * them is among the most frequent. */
static uint64_t hash_of(const int32_t *ids, int64_t count)
{
    uint64_t hash = 0x9E3779B97F4A7C15u ^ (uint64_t)count;
    for (int64_t i = 0; i < count; i++) {
        hash = (hash ^ (uint32_t)ids[i]) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    return hash == 0 ? 1 : hash;
}

static entry *find(entry *table, uint64_t key)
{
    uint64_t at = key & (SLOTS - 1);
    while (table[at].key != 0 && table[at].key != key) {
        at = (at + 1) & (SLOTS - 1);
    }
    return &table[at];
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Take the median count off all, so that half of the entries go. */
static void drop_half(summary *m)
{
    int64_t *counts = fc_alloc(MOST_KEPT, sizeof *counts);
    int n = 0;
    for (int i = 0; i < SLOTS; i++) {
        if (m->entry[i].key != 0) {
            counts[n++] = m->entry[i].count;
        }
    }
    qsort(counts, (size_t)n, sizeof *counts, ascending);
    int64_t median = counts[n / 2];
    fc_free(&counts);
    entry *old = m->entry;
    m->entry = fc_alloc(SLOTS, sizeof *m->entry);
    m->kept = 0;
    for (int i = 0; i < SLOTS; i++) {
        if (old[i].key != 0 && old[i].count > median) {
            entry *e = find(m->entry, old[i].key);
            *e = old[i];
            e->count -= median;
            m->kept++;
        }
    }
    m->dropped += median;
    fc_free(&old);
}

static void take(summary *m, uint64_t key, int64_t item)
{
    entry *e = find(m->entry, key);
    if (e->key == key) {
        e->count++;
        e->item = item < e->item ? item : e->item;
    } else if (!m->counting) {
        *e = (entry){key, 1, item};
        if (++m->kept == MOST_KEPT) {
            drop_half(m);
        }
    }
}

/* Items [first, end) in one read; *end moves down to where they fit into `ids`. */
static fc_status read_block(fc_store *s, fc_token_set set, int64_t first, int64_t *end,
                            int32_t *ids)
{
    const fci_h5_dataset *d = &s->files->tokens[set];
    const uint64_t *offsets = s->files->offsets[set];
    while (*end > first + 1 && offsets[*end] - offsets[first] > MOST_BLOCK_IDS) {
        *end = first + (*end - first) / 2;
    }
    if (offsets[*end] - offsets[first] > MOST_BLOCK_IDS) { /* one endless row: no caption */
        return FC_OK;
    }
    return fci_h5_read_direct(d, (int64_t)offsets[first], (int64_t)(offsets[*end] - offsets[first]),
                              ids);
}

static fc_status pass(summary *m, fc_store *s, fc_token_set set, int32_t *ids)
{
    const uint64_t *offsets = s->files->offsets[set];
    int64_t items = s->files->items[set];
    for (int64_t first = 0, end; first < items; first = end) {
        end = first + BLOCK < items ? first + BLOCK : items;
        FC_TRY(read_block(s, set, first, &end, ids));
        for (int64_t i = first; i < end; i++) {
            int64_t count = (int64_t)(offsets[i + 1] - offsets[i]);
            if (count > 0 && count <= MOST_BLOCK_IDS) {
                take(m, hash_of(ids + (offsets[i] - offsets[first]), count), i);
            }
        }
    }
    return FC_OK;
}

static int by_count(const void *a, const void *b)
{
    const fc_frequent_row *x = a, *y = b;
    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }
    return x->item < y->item ? -1 : x->item > y->item;
}

static int best_of(const summary *m, int most, fc_frequent_row *out)
{
    fc_frequent_row *rows = fc_alloc((size_t)m->kept, sizeof *rows);
    int n = 0;
    for (int i = 0; i < SLOTS; i++) {
        if (m->entry[i].key != 0 && m->entry[i].count > 1 && m->entry[i].count > m->dropped) {
            rows[n++] = (fc_frequent_row){m->entry[i].item, m->entry[i].count};
        }
    }
    qsort(rows, (size_t)n, sizeof *rows, by_count);
    n = n < most ? n : most;
    memcpy(out, rows, (size_t)n * sizeof *out);
    fc_free(&rows);
    return n;
}

fc_status fc_frequent_rows(fc_store *s, fc_token_set set, int most, fc_frequent_row *out,
                           int *filled)
{
    *filled = 0;
    if (s->files->tokens[set].where == NULL || s->files->items[set] == 0) {
        return FC_OK;
    }
    summary m = {.entry = fc_alloc(SLOTS, sizeof *m.entry)};
    int32_t *ids = fc_alloc(MOST_BLOCK_IDS, sizeof *ids);
    fc_status status = pass(&m, s, set, ids);
    if (status == FC_OK && m.dropped > 0) {
        m.counting = true;
        for (int i = 0; i < SLOTS; i++) {
            m.entry[i].count = 0;
        }
        status = pass(&m, s, set, ids);
    }
    if (status == FC_OK) {
        *filled = best_of(&m, most, out);
    }
    fc_free(&ids);
    fc_free(&m.entry);
    return status;
}
