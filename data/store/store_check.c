#include "data/store/store_check.h"

#include "core/crash.h"
#include "core/memory.h"
#include "data/store/hdf5_direct.h"
#include "data/store/store_files.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <stdatomic.h>
#include <unistr.h>

enum { MOST_IDS = 1 << 16, MOST_STAGES = 12 };

typedef struct check check;

/* One thread's findings and scratch memory. */
typedef struct worker {
    check *check;
    fc_findings found;
    int32_t *ids;
    size_t room;
    fc_status status; /* what ended its work; the message is kept in `message`, `trace` (heap) */
    char *message, *trace;
} worker;

/* Items of one kind; `look` notes what is wrong with [first, end). */
typedef struct stage {
    int64_t items, block; /* block: items taken at once */
    int weight;           /* of a block, for progress */
    int what;             /* token set or sentences' slot */
    fc_status (*look)(worker *w, const struct stage *s, int64_t first, int64_t end);
    int64_t first_block; /* set by add_stage */
    int64_t blocks;
} stage;

struct check {
    fc_store *store;
    const fc_store_check_options *options;
    stage stages[MOST_STAGES];
    int stage_count;
    int64_t blocks, weight; /* of all stages; weight: of this part's share */
    int start_id, end_id;   /* of every row of tokens; -1: not known */
    int vocab, most_ids;
    _Atomic int64_t next, done; /* turn of the next block within this part; weight done */
    atomic_bool stop;
};

/* Place of a finding: stages in order (0 is opening), items in order, `nth` of an item. */
static uint64_t place_of(const check *c, const stage *s, int64_t item, int nth)
{
    return (uint64_t)(s - c->stages + 1) << 56 | (uint64_t)item << 8 | (uint64_t)nth;
}

/* One item was looked at: bad data and unreadable bytes are findings, anything else ends the check.
 */
static fc_status note(worker *w, const stage *s, int64_t item, int nth, fc_status status)
{
    if (status == FC_DATA || status == FC_RUNTIME) {
        fc_findings_add(&w->found, place_of(w->check, s, item, nth), fc_error_message());
        fc_error_clear();
        return FC_OK;
    }
    return status;
}

/* ---- Boxes and scores ---- */

static fc_status look_at_boxes(worker *w, const stage *st, int64_t first, int64_t end)
{
    const fc_store *s = w->check->store;
    for (int64_t i = first; i < end; i++) {
        uint64_t last = s->region_of[i + 1];
        last = last < (uint64_t)s->regions ? last : (uint64_t)s->regions; /* may be wrong here */
        for (uint64_t r = s->region_of[i]; r < last; r++) {
            FC_TRY(note(w, st, (int64_t)r, 0, fc_store_check_box(s, (int64_t)r, i)));
            if (s->has_score && !isfinite(s->score[r])) {
                fc_status status = FC_FAIL(FC_DATA, "score %lld is %g in %s:/regions/score",
                                           (long long)r, (double)s->score[r], s->path);
                FC_TRY(note(w, st, (int64_t)r, 1, status));
            }
        }
    }
    return FC_OK;
}

/* ---- Tokens ---- */

/* The start and end ids that CLIP's tokenizer puts around every row. */
static fc_status check_ends(const check *c, fc_token_set set, int64_t item, const int32_t *ids,
                            int64_t count)
{
    const char *where = c->store->files->tokens[set].where;
    if (c->start_id < 0) {
        return FC_OK;
    }
    if (ids[0] != c->start_id) {
        return FC_FAIL(FC_DATA,
                       "item %lld begins with token %d, not with the start token %d, in %s",
                       (long long)item, ids[0], c->start_id, where);
    }
    for (int64_t i = 0; i < count; i++) {
        if ((ids[i] == c->end_id) != (i == count - 1)) {
            return FC_FAIL(
                FC_DATA, "item %lld of %lld ids has %s, in %s", (long long)item, (long long)count,
                i < count - 1 ? "an end token in its midst" : "no end token at its end", where);
        }
    }
    return FC_OK;
}

static fc_status look_at_row(const check *c, fc_token_set set, int64_t item, const int32_t *ids,
                             int64_t count)
{
    FC_TRY(fci_store_check_count(c->store, set, item, count, c->most_ids));
    if (count == 0) {
        return FC_OK;
    }
    FC_TRY(fci_store_check_ids(c->store, set, item, c->vocab, ids, count));
    return check_ends(c, set, item, ids, count);
}

static void reserve(worker *w, size_t ids)
{
    if (ids > w->room) {
        w->room = ids;
        w->ids = fc_realloc(w->ids, ids, sizeof *w->ids);
    }
}

/* Rows one by one, where their offsets are wrong or they cannot be read together. */
static fc_status look_at_single_rows(worker *w, const stage *st, int64_t first, int64_t end)
{
    const check *c = w->check;
    fc_token_set set = (fc_token_set)st->what;
    reserve(w, MOST_IDS);
    for (int64_t i = first; i < end; i++) {
        int count;
        fc_status status = fc_store_tokens(c->store, set, i, c->vocab, c->most_ids, w->ids, &count);
        if (status == FC_OK && count > 0) {
            status = check_ends(c, set, i, w->ids, count);
        }
        FC_TRY(note(w, st, i, 0, status));
    }
    return FC_OK;
}

static fc_status look_at_tokens(worker *w, const stage *st, int64_t first, int64_t end)
{
    check *c = w->check;
    fc_token_set set = (fc_token_set)st->what;
    const struct fci_store_files *f = c->store->files;
    const uint64_t *offsets = f->offsets[set];
    if (f->tokens[set].where == NULL) { /* no region has a caption */
        return FC_OK;
    }
    bool sound = offsets[end] <= (uint64_t)f->tokens[set].rows;
    for (int64_t i = first; i < end && sound; i++) {
        sound = offsets[i] <= offsets[i + 1];
    }
    uint64_t begin = offsets[first], count = offsets[end] - begin;
    if (!sound || count > (uint64_t)st->block * 256) {
        return look_at_single_rows(w, st, first, end);
    }
    reserve(w, (size_t)count + 1);
    fc_status status = fci_h5_read_direct(&f->tokens[set], (int64_t)begin, (int64_t)count, w->ids);
    if (status != FC_OK) { /* which of them cannot be read? */
        fc_error_clear();
        return look_at_single_rows(w, st, first, end);
    }
    for (int64_t i = first; i < end; i++) {
        status = look_at_row(c, set, i, w->ids + (offsets[i] - begin),
                             (int64_t)(offsets[i + 1] - offsets[i]));
        FC_TRY(note(w, st, i, 0, status));
    }
    return FC_OK;
}

/* ---- Sentences ---- */

static fc_status look_at_sentences(worker *w, const stage *st, int64_t first, int64_t end)
{
    const fci_h5_dataset *d;
    FC_TRY(fci_store_sentences(w->check->store, st->what, &d));
    char **texts = fc_alloc((size_t)(end - first), sizeof *texts);
    fci_h5_lock();
    fc_status status = fci_h5_read_strings(d, first, end - first, texts);
    fci_h5_unlock();
    bool read = status == FC_OK;
    status = note(w, st, first, 0, status);
    for (int64_t i = first; read && i < end; i++) {
        char **text = &texts[i - first];
        if (status == FC_OK && u8_check((const uint8_t *)*text, strlen(*text)) != NULL) {
            status = note(w, st, i, 0,
                          FC_FAIL(FC_DATA, "text %lld is not UTF-8 in %s", (long long)i, d->where));
        }
        fc_free(text);
    }
    fc_free(&texts);
    return status;
}

/* ---- Pictures and crops ---- */

static fc_status look_at_pictures(worker *w, const stage *st, int64_t first, int64_t end)
{
    for (int64_t i = first; i < end; i++) {
        fc_picture picture;
        fc_status status = fc_store_picture(w->check->store, i, &picture);
        if (status == FC_OK) {
            fc_picture_free(&picture);
        }
        FC_TRY(note(w, st, i, 0, status));
    }
    return FC_OK;
}

/* Whether the hash belongs to the picture only its source can tell; that it was filled in shows. */
static fc_status look_at_hashes(worker *w, const stage *st, int64_t first, int64_t end)
{
    static const uint8_t none[FC_HASH_BYTES];
    const fc_store *s = w->check->store;
    for (int64_t i = first; i < end; i++) {
        if (memcmp(s->image_hash[i], none, sizeof none) == 0) {
            FC_TRY(note(w, st, i, 0,
                        FC_FAIL(FC_DATA, "hash %lld is all zeros in %s:/images/hash", (long long)i,
                                s->path)));
        }
    }
    return FC_OK;
}

static fc_status look_at_crops(worker *w, const stage *st, int64_t first, int64_t end)
{
    fc_store *s = w->check->store;
    for (int64_t i = first; i < end; i++) {
        fc_picture crop;
        fc_status status = fc_store_crop(s, i, &crop);
        if (status == FC_OK) {
            fc_picture_free(&crop);
        }
        if (status == FC_OK &&
            (s->crop_width[i] != s->crop_size || s->crop_height[i] != s->crop_size)) {
            status =
                FC_FAIL(FC_DATA, "crop %lld is %d x %d, crop_size is %d, in %s:/regions",
                        (long long)i, s->crop_width[i], s->crop_height[i], s->crop_size, s->path);
        }
        FC_TRY(note(w, st, i, 0, status));
    }
    return FC_OK;
}

/* ---- What concerns the whole file ---- */

static fc_status check_attributes(const fc_store *s)
{
    const struct {
        const char *name;
        bool needed;
    } attributes[] = {
        {"context_length", true},    {"vocab_size", true},         {"tokenizer", true},
        {"crop_size", s->has_crops}, {"crop_scale", s->has_crops},
    };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        fci_h5_lock();
        bool there = fci_h5_has_attribute(s->files->file, attributes[i].name);
        fci_h5_unlock();
        if (attributes[i].needed && !there) {
            FC_TRY(
                fci_store_found(s, "attribute %s of %s is missing", attributes[i].name, s->path));
        }
    }
    for (int64_t k = 0; s->category_isthing != NULL && k < s->categories; k++) {
        if (s->category_isthing[k] > 1) {
            FC_TRY(fci_store_found(s, "isthing %lld is %d, want 0 or 1, in %s:/categories/isthing",
                                   (long long)k, s->category_isthing[k], s->path));
        }
    }
    return FC_OK;
}

/* Sentences must be as many as what they belong to; where they are not, they are left at that. */
static fc_status count_sentences(fc_store *s, int slot, int64_t want, int64_t *items)
{
    const fci_h5_dataset *d;
    *items = 0;
    fc_status status = fci_store_sentences(s, slot, &d);
    if (status == FC_DATA) {
        return fci_store_found(s, "%s", fc_error_message());
    }
    FC_TRY(status);
    if (d != NULL && d->rows != want) {
        return fci_store_found(s, "%s has %lld rows, want %lld", d->where, (long long)d->rows,
                               (long long)want);
    }
    *items = d == NULL ? 0 : want;
    return FC_OK;
}

/* ---- Blocks, threads ---- */

typedef fc_status (*look_fn)(worker *w, const stage *s, int64_t first, int64_t end);

static void add_stage(check *c, int64_t items, int64_t block, int weight, int what, look_fn look)
{
    FC_ASSERT(c->stage_count < MOST_STAGES);
    int64_t blocks = (items + block - 1) / block;
    c->stages[c->stage_count++] = (stage){items, block, weight, what, look, c->blocks, blocks};
    c->blocks += blocks;
}

static fc_status plan(check *c)
{
    fc_store *s = c->store;
    int64_t texts[FCI_STORE_TEXTS];
    FC_TRY(check_attributes(s));
    FC_TRY(count_sentences(s, 0, s->images, &texts[0]));
    FC_TRY(count_sentences(s, 1, s->captions, &texts[1]));
    FC_TRY(count_sentences(s, 2, s->regions, &texts[2]));
    c->vocab = s->vocab_size > 0 ? s->vocab_size : INT32_MAX;
    c->most_ids =
        s->context_length > 0 && s->context_length < MOST_IDS ? s->context_length : MOST_IDS;
    bool clip = s->tokenizer != NULL && strcmp(s->tokenizer, "clip-bpe") == 0;
    c->start_id = clip && s->vocab_size >= 2 ? s->vocab_size - 2 : -1;
    c->end_id = s->vocab_size - 1;
    add_stage(c, s->region_of == NULL ? 0 : s->images, 4096, 1, 0, look_at_boxes);
    add_stage(c, s->captions, 8192, 4, FC_CAPTION_TOKENS, look_at_tokens);
    add_stage(c, s->regions, 8192, 4, FC_REGION_TOKENS, look_at_tokens);
    add_stage(c, s->prompts, 8192, 4, FC_PROMPT_TOKENS, look_at_tokens);
    for (int slot = 0; slot < FCI_STORE_TEXTS; slot++) {
        add_stage(c, texts[slot], 4096, 4, slot, look_at_sentences);
    }
    add_stage(c, s->image_hash == NULL ? 0 : s->images, 65536, 1, 0, look_at_hashes);
    add_stage(c, s->images, 16, 80, 0, look_at_pictures);
    add_stage(c, s->has_crops ? s->regions : 0, 64, 64, 0, look_at_crops);
    return FC_OK;
}

static const stage *stage_of(const check *c, int64_t block)
{
    const stage *s = c->stages;
    while (block >= s->first_block + s->blocks) {
        s++;
    }
    return s;
}

static void work(worker *w, bool tells)
{
    check *c = w->check;
    const fc_store_check_options *o = c->options;
    while (!atomic_load(&c->stop)) {
        int64_t block = atomic_fetch_add(&c->next, 1) * o->parts + o->part;
        if (block >= c->blocks) {
            return;
        }
        const stage *s = stage_of(c, block);
        int64_t first = (block - s->first_block) * s->block;
        int64_t end = first + s->block < s->items ? first + s->block : s->items;
        w->status = s->look(w, s, first, end);
        if (w->status != FC_OK) {
            w->message = fc_strdup(fc_error_message());
            w->trace = fc_strdup(fc_error_trace());
            atomic_store(&c->stop, true);
            return;
        }
        int64_t done = atomic_fetch_add(&c->done, s->weight) + s->weight;
        if (tells && o->progress != NULL) {
            o->progress(o->ctx, done, c->weight);
        }
    }
}

static void *thread_main(void *arg)
{
    FC_IGNORE(fc_crash_thread("check thread"));
    work(arg, false);
    return NULL;
}

/* Signals are for the main thread: workers start with all of them blocked. */
static fc_status start(pthread_t *threads, worker *workers, int count, int *started)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    for (*started = 0; *started < count && error == 0; *started += error == 0) {
        error = pthread_create(&threads[*started], NULL, thread_main, &workers[*started]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? FC_OK
                      : FC_FAIL(FC_RUNTIME, "cannot start thread %d of %d: %s", *started + 1, count,
                                strerror(error));
}

static fc_status run(check *c, fc_findings *found)
{
    int count = c->options->threads, started;
    worker *workers = fc_alloc((size_t)count, sizeof *workers);
    pthread_t *threads = fc_alloc((size_t)count, sizeof *threads);
    for (int i = 0; i < count; i++) {
        workers[i] = (worker){.check = c, .found = {.limit = found->limit}};
    }
    for (int64_t b = c->options->part; b < c->blocks; b += c->options->parts) {
        c->weight += stage_of(c, b)->weight;
    }
    fc_status status = start(threads, workers, count - 1, &started);
    if (status == FC_OK) {
        work(&workers[count - 1], true);
    } else {
        atomic_store(&c->stop, true);
    }
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < count; i++) {
        if (status == FC_OK && workers[i].status != FC_OK) {
            status = workers[i].status;
            fc_error_set(workers[i].message, workers[i].trace);
        }
        fc_findings_merge(found, &workers[i].found);
        fc_free(&workers[i].ids);
        fc_free(&workers[i].message);
        fc_free(&workers[i].trace);
    }
    if (status == FC_OK && c->options->progress != NULL) {
        c->options->progress(c->options->ctx, c->weight, c->weight);
    }
    fc_free(&workers);
    fc_free(&threads);
    return status;
}

fc_status fc_store_check(fc_findings *found, const char *path,
                         const fc_store_check_options *options)
{
    FC_ASSERT(options->parts >= 1 && options->part < options->parts && options->threads >= 1);
    check c = {.options = options};
    fc_findings opening = {.limit = found->limit};
    fc_status status;
    FC_TRY_GOTO(status, fci_store_open(&c.store, path, &opening), done);
    FC_TRY_GOTO(status, plan(&c), done);
    if (options->part == 0) { /* every part opens the file, one reports what it saw */
        fc_findings_merge(found, &opening);
    }
    FC_TRY_GOTO(status, run(&c, found), done);
    fc_findings_settle(found);
done:
    fc_store_close(&c.store);
    fc_findings_fini(&opening);
    return status;
}
