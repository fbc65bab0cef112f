#include "data/prepare/spill.h"

#include "core/memory.h"
#include "data/file.h"
#include "data/prepare/pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_AHEAD = 128 << 10 };

/* Before each record's bytes, in memory and in the file. */
typedef struct head {
    uint64_t key[2];
    uint64_t bytes;
} head;

/* One sorted stretch of the file while it is read. */
typedef struct run {
    int64_t at, end; /* in the file: what is not yet in the buffer */
    fci_bytes buffer;
    size_t used; /* of the buffer, up to the present record */
    head now;
} run;

struct fci_spill {
    char *folder;
    size_t memory;
    FILE *file;      /* NULL: everything is in memory so far */
    int fd;          /* of file */
    fci_bytes bytes; /* records of the run being collected */
    uint64_t *where; /* (records) where each begins in bytes */
    int64_t records, room, total, written;
    run *runs;
    int run_count, run_room;
    int *heap; /* runs that are not at their end; the one with the smallest key first */
    int heap_count;
    bool reading;
    int64_t next; /* record in memory, where there are no runs */
    fci_record record;
};

void fci_spill_create(fci_spill **out, const char *folder, size_t memory)
{
    fci_spill *s = fc_alloc(1, sizeof *s);
    s->folder = fc_strdup(folder);
    s->memory = memory;
    *out = s;
}

void fci_spill_destroy(fci_spill **spill)
{
    fci_spill *s = *spill;
    *spill = NULL;
    if (s == NULL) {
        return;
    }
    if (s->file != NULL) {
        fclose(s->file);
    }
    for (int i = 0; i < s->run_count; i++) {
        fc_free(&s->runs[i].buffer.data);
    }
    fc_free(&s->runs);
    fc_free(&s->heap);
    fc_free(&s->bytes.data);
    fc_free(&s->where);
    fc_free(&s->folder);
    fc_free(&s);
}

int64_t fci_spill_count(const fci_spill *s)
{
    return s->total;
}

static head head_at(const fci_spill *s, uint64_t where)
{
    head h;
    memcpy(&h, s->bytes.data + where, sizeof h);
    return h;
}

static int compare_keys(const uint64_t a[2], const uint64_t b[2])
{
    int high = (a[0] > b[0]) - (a[0] < b[0]);
    return high != 0 ? high : (a[1] > b[1]) - (a[1] < b[1]);
}

static int compare_records(const void *a, const void *b, void *ctx)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    head hx = head_at(ctx, x), hy = head_at(ctx, y);
    int keys = compare_keys(hx.key, hy.key);
    return keys != 0 ? keys : (x > y) - (x < y);
}

static void sort_memory(fci_spill *s)
{
    if (s->records > 1) {
        qsort_r(s->where, (size_t)s->records, sizeof *s->where, compare_records, s);
    }
}

static fc_status write_all(fci_spill *s, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(s->fd, data, bytes);
        if (n < 0 && errno != EINTR) {
            return FC_FAIL(FC_RUNTIME, "cannot write a temporary file in %s: %s", s->folder,
                           strerror(errno));
        }
        n = n < 0 ? 0 : n;
        data += n;
        bytes -= (size_t)n;
        s->written += n;
    }
    return FC_OK;
}

/* What is in memory becomes a run of the file. */
static fc_status write_run(fci_spill *s)
{
    if (s->file == NULL) {
        FC_TRY(fci_file_temporary(s->folder, &s->file));
        s->fd = fileno(s->file);
    }
    sort_memory(s);
    if (s->run_count == s->run_room) {
        s->run_room = 2 * s->run_room + 8;
        s->runs = fc_realloc(s->runs, (size_t)s->run_room, sizeof *s->runs);
    }
    s->runs[s->run_count] = (run){.at = s->written};
    fci_bytes out = {0};
    fc_status status = FC_OK;
    for (int64_t i = 0; i < s->records && status == FC_OK; i++) {
        head h = head_at(s, s->where[i]);
        fci_bytes_add(&out, s->bytes.data + s->where[i], sizeof h + h.bytes);
        if (out.count >= READ_AHEAD || i + 1 == s->records) {
            status = write_all(s, out.data, out.count);
            out.count = 0;
        }
    }
    fc_free(&out.data);
    s->runs[s->run_count++].end = s->written;
    s->records = 0;
    s->bytes.count = 0;
    FC_TRY(status);
    return FC_OK;
}

fc_status fci_spill_add(fci_spill *s, uint64_t high, uint64_t low, const void *data, size_t bytes)
{
    FC_ASSERT(!s->reading);
    size_t held = s->bytes.count + (size_t)s->records * sizeof *s->where;
    if (s->records > 0 && held + sizeof(head) + bytes > s->memory) {
        FC_TRY(write_run(s));
    }
    if (s->records == s->room) {
        s->room = 2 * s->room + 64;
        s->where = fc_realloc(s->where, (size_t)s->room, sizeof *s->where);
    }
    s->where[s->records++] = s->bytes.count;
    s->total++;
    head h = {{high, low}, bytes};
    fci_bytes_add(&s->bytes, &h, sizeof h);
    fci_bytes_add(&s->bytes, data, bytes);
    return FC_OK;
}

/* At least `want` bytes of a run from its present place on; fewer are a short file. */
static fc_status fill(fci_spill *s, run *r, size_t want)
{
    if (r->buffer.count - r->used >= want) {
        return FC_OK;
    }
    if (r->used > 0) {
        memmove(r->buffer.data, r->buffer.data + r->used, r->buffer.count - r->used);
    }
    r->buffer.count -= r->used;
    r->used = 0;
    size_t room = want > READ_AHEAD ? want : READ_AHEAD;
    fci_bytes_reserve(&r->buffer, room - r->buffer.count);
    while (r->buffer.count < want) {
        size_t most = room - r->buffer.count, left = (size_t)(r->end - r->at);
        ssize_t n =
            pread(s->fd, r->buffer.data + r->buffer.count, most < left ? most : left, r->at);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return FC_FAIL(FC_RUNTIME, "cannot read a temporary file in %s: %s", s->folder,
                           n < 0 ? strerror(errno) : "it is too short");
        }
        r->at += n < 0 ? 0 : n;
        r->buffer.count += n < 0 ? 0 : (size_t)n;
    }
    return FC_OK;
}

/* Step to the next record of a run; *more is false at its end. */
static fc_status advance(fci_spill *s, run *r, bool *more)
{
    *more = r->at < r->end || r->used < r->buffer.count;
    if (*more) {
        FC_TRY(fill(s, r, sizeof r->now));
        memcpy(&r->now, r->buffer.data + r->used, sizeof r->now);
        FC_TRY(fill(s, r, sizeof r->now + r->now.bytes));
    }
    return FC_OK;
}

static bool before(const fci_spill *s, int a, int b)
{
    int keys = compare_keys(s->runs[a].now.key, s->runs[b].now.key);
    return keys != 0 ? keys < 0 : a < b;
}

static void sift_down(fci_spill *s, int at)
{
    for (;;) {
        int least = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < s->heap_count; child++) {
            least = before(s, s->heap[child], s->heap[least]) ? child : least;
        }
        if (least == at) {
            return;
        }
        int swap = s->heap[at];
        s->heap[at] = s->heap[least];
        s->heap[least] = swap;
        at = least;
    }
}

static fc_status begin(fci_spill *s)
{
    s->reading = true;
    if (s->run_count == 0) {
        sort_memory(s);
        return FC_OK;
    }
    if (s->records > 0) {
        FC_TRY(write_run(s));
    }
    fc_free(&s->bytes.data);
    fc_free(&s->where);
    s->heap = fc_alloc((size_t)s->run_count, sizeof *s->heap);
    for (int i = 0; i < s->run_count; i++) {
        bool more;
        FC_TRY(advance(s, &s->runs[i], &more));
        s->heap[s->heap_count++] = i;
    }
    for (int i = s->heap_count / 2 - 1; i >= 0; i--) {
        sift_down(s, i);
    }
    return FC_OK;
}

static void show(fci_spill *s, const head *h, const uint8_t *data)
{
    s->record = (fci_record){.key = {h->key[0], h->key[1]}, .data = data, .bytes = h->bytes};
}

fc_status fci_spill_next(fci_spill *s, const fci_record **out)
{
    *out = NULL;
    bool first = !s->reading;
    if (first) {
        FC_TRY(begin(s));
    }
    if (s->run_count == 0) {
        if (s->next < s->records) {
            uint64_t where = s->where[s->next++];
            head h = head_at(s, where);
            show(s, &h, s->bytes.data + where + sizeof h);
            *out = &s->record;
        }
        return FC_OK;
    }
    if (!first && s->heap_count > 0) { /* step over the record shown last */
        run *r = &s->runs[s->heap[0]];
        bool more;
        r->used += sizeof r->now + r->now.bytes;
        FC_TRY(advance(s, r, &more));
        if (!more) {
            fc_free(&r->buffer.data);
            s->heap[0] = s->heap[--s->heap_count];
        }
        sift_down(s, 0);
    }
    if (s->heap_count > 0) {
        run *r = &s->runs[s->heap[0]];
        show(s, &r->now, r->buffer.data + r->used + sizeof r->now);
        *out = &s->record;
    }
    return FC_OK;
}
